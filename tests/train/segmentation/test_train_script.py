"""The script that makes the shipped weights: it always asks for its fields."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[3] / "scripts" / "train_segmenter.py"


@pytest.fixture
def script():
    spec = importlib.util.spec_from_file_location("train_segmenter_script", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_folder_that_has_fields_is_asked_for_them_all_the_same(
    script, tmp_path, monkeypatch, capsys
):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "train.csv").touch()
    asked = []

    def run(command, **_):
        asked.append(command)
        return subprocess.CompletedProcess(command, 2)

    monkeypatch.setattr(subprocess, "run", run)
    monkeypatch.setattr(script, "prepare_fields", pytest.fail)
    monkeypatch.setattr(sys, "argv", ["train", "--work", str(tmp_path), "--fields", "3"])
    assert script.main() == 2
    assert "could not be made" in capsys.readouterr().err
    ((_, *words),) = asked
    assert words[:2] == ["simulate", str(tmp_path / "data")]
    options = dict(zip(words[2::2], words[3::2], strict=True))
    assert options == {
        "--fields": "3",
        "--seed": "1000",
        "--size": "768",
        "--pixel-size-um": "0.16",
        "--class-frequencies": "uniform",
        "--workers": "2",
    }

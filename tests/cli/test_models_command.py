"""``hpacells models`` from the command line."""

import hashlib

import pytest
import yaml
from typer.testing import CliRunner

from hpacells.cli import models
from hpacells.cli.app import main
from hpacells.cli.models import app

RUNNER = CliRunner()


def run_main(arguments):
    with pytest.raises(SystemExit) as stop:
        main(["models", *arguments])
    return stop.value.code


@pytest.fixture
def shipped(make_model_folder, monkeypatch):
    """Two tiny models take the place of the shipped ones."""
    folder = make_model_folder("nfnet-sim", description="good for tests").parent
    make_model_folder("second", crop_px=32)
    resolve = models.resolve_model
    monkeypatch.setattr(models, "list_models", lambda: ["nfnet-sim", "second"])
    monkeypatch.setattr(models, "resolve_model", lambda name: resolve(name, folder=folder))
    return folder


def test_help_ends_with_an_example():
    result = RUNNER.invoke(app, ["--help"])
    assert result.exit_code == 0
    assert "Example: hpacells models verify nfnet-sim" in result.output


@pytest.mark.parametrize("arguments", [[], ["list"]])
def test_models_are_listed_with_what_is_needed_to_choose(shipped, arguments):
    result = RUNNER.invoke(app, arguments)
    assert result.exit_code == 0
    for words in (
        "nfnet-sim (default): good for tests",
        "19 locations per cell, tiny",
        "32 px at 0.64 µm, outside zero",
        "MiB",
        "CC0-1.0",
        "second: for tests",
    ):
        assert words in result.output


def test_verify_one_or_all(shipped):
    assert "nfnet-sim-1@" in RUNNER.invoke(app, ["verify", "nfnet-sim"]).output
    assert "second-1@" in RUNNER.invoke(app, ["verify"]).output
    (shipped / "second" / "model.onnx").write_bytes(b"damaged")
    assert RUNNER.invoke(app, ["verify", "nfnet-sim"]).exit_code == 0
    assert "the file is damaged" in str(RUNNER.invoke(app, ["verify"]).exception)


def test_a_folder_can_be_verified(tiny_model_folder, capsys):
    assert run_main(["verify", str(tiny_model_folder)]) == 0
    assert "model.onnx are whole" in capsys.readouterr().out


def test_an_unknown_name_exits_2(capsys):
    assert run_main(["verify", "nowhere"]) == 2
    assert "'nowhere': expected a shipped model" in capsys.readouterr().err


def test_no_model_says_how_to_get_one(monkeypatch):
    monkeypatch.setattr(models, "list_models", list)
    assert "Train one: hpacells train" in RUNNER.invoke(app, []).output


@pytest.fixture
def published(monkeypatch, tmp_path):
    """An own entry, a segmenter whose address is a local file."""
    monkeypatch.setenv("HPACELLS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HPACELLS_MODELS", str(tmp_path / "models.yaml"))
    (tmp_path / "a.pt").write_bytes(b"weights")
    entry = {
        "name": "mine",
        "task": "segmenter",
        "format": "as_published",
        "title": "Cells",
        "good_for": "tests",
        "stains": ["blue"],
        "pixel_size_um": 0.5,
        "classes": "cells",
        "size_mb": 3,
        "licence": "CC-BY-NC-4.0",
        "notice": "Not for sale.",
        "citation": "doi:10.1/2",
        "files": [
            {
                "url": (tmp_path / "a.pt").as_uri(),
                "sha256": hashlib.sha256(b"weights").hexdigest(),
            }
        ],
    }
    (tmp_path / "models.yaml").write_text(yaml.safe_dump({"models": [entry]}))
    return tmp_path / "cache" / "mine" / "a.pt"


def test_weights_of_a_segmenter_come_and_go(shipped, published):
    listed = RUNNER.invoke(app, []).output
    assert listed.index("Shipped:") < listed.index("Installed: none") < listed.index("Available")
    assert "installed no: hpacells models install mine" in listed
    output = RUNNER.invoke(app, ["install", "mine"]).output
    assert output.index("CC-BY-NC-4.0. Not for sale. Cite: doi:10.1/2.") < output.index("fetching")
    assert published.read_bytes() == b"weights"
    listed = RUNNER.invoke(app, []).output
    assert listed.index("Installed:") < listed.index("mine: Cells") < listed.index("Available")
    told = RUNNER.invoke(app, ["list", "mine"]).output
    for words in ("segmenter mine", "tests", "blue at 0.5 µm", "3 MB", "doi:10.1/2", "yes"):
        assert words in told
    assert "nothing to do" in RUNNER.invoke(app, ["install", "mine"]).output
    verified = RUNNER.invoke(app, ["verify"]).output
    assert "a.pt agrees with the sha256 known from its publisher" in verified
    published.write_bytes(b"damaged")
    assert "expected sha256" in str(RUNNER.invoke(app, ["verify", "mine"]).exception)
    assert "1 file(s) removed" in RUNNER.invoke(app, ["remove", "mine"]).output
    assert not published.exists()
    assert "it was not installed" in RUNNER.invoke(app, ["remove", "mine"]).output


@pytest.mark.parametrize("action", ["install", "remove"])
@pytest.mark.parametrize("name", [["something"], []])
def test_only_published_weights_are_fetched_or_removed(action, name, capsys):
    assert run_main([action, *name]) == 2
    told = f"models {action}: expected a published model (subcell, "
    assert told in capsys.readouterr().err

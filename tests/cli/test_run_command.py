"""``hpacells run`` from the command line: what it says, its exit codes."""

import errno
import json
import os
import signal
import subprocess
import sys
import time

import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from hpacells.cli.app import main
from hpacells.cli.run import app

RUNNER = CliRunner()
SCALE = ["--pixel-size-um", "0.64"]
RUN_FILES = (
    "cells.parquet",
    "embeddings.parquet",
    "fields.parquet",
    "report.html",
    "run.json",
    "submission.csv",
    "variation.parquet",
)


@pytest.fixture
def images(tmp_path, write_quadruplet):
    for seed, fov_id in enumerate("ab"):
        write_quadruplet(
            tmp_path / "images", fov_id, seed=seed, shape=(150, 200), pixel_size_um=0.64
        )
    return tmp_path / "images"


@pytest.fixture
def arguments(images, tmp_path, tiny_model_folder):
    return [str(images), str(tmp_path / "out"), "--model", str(tiny_model_folder), *SCALE]


def run_main(arguments):
    with pytest.raises(SystemExit) as stop:
        main(["run", *arguments])
    return stop.value.code


def test_help_names_the_options_and_ends_with_an_example():
    result = RUNNER.invoke(app, ["--help"])
    assert result.exit_code == 0
    for option in ("--model", "--segmenter", "--pixel-size-um", "--workers", "--threads"):
        assert option in result.output
    assert "Example: hpacells run images/ results/" in result.output


def test_a_run_says_its_plan_its_counts_and_where_the_report_is(arguments, tmp_path):
    result = RUNNER.invoke(app, [*arguments, "--workers", "2", "--threads", "1"])
    assert result.exit_code == 0
    assert "2 fields, model tiny, 2 worker(s) of 1 thread(s), onnx runtime" in result.output
    assert "2 fields: 2 done, 0 failed." in result.output
    assert "highest-scoring location" in result.output
    assert str(tmp_path / "out" / "report.html") in result.output
    out = tmp_path / "out"
    assert sorted(path.name for path in out.iterdir() if path.suffix)[:-1] == sorted(
        {*RUN_FILES, "settings.json"} - {"variation.parquet"}
    )
    written = {name: (out / name).stat().st_mtime_ns for name in RUN_FILES}
    assert max(written, key=lambda name: written[name]) == "run.json"
    again = RUNNER.invoke(app, arguments)
    assert again.exit_code == 0
    assert "nothing to do" in again.output
    assert written == {name: (out / name).stat().st_mtime_ns for name in RUN_FILES}


def test_a_bad_field_among_good_ones_is_listed_and_exits_1(arguments, images, tmp_path, capsys):
    (images / "b_blue.png").unlink()
    assert run_main(arguments) == 1
    captured = capsys.readouterr()
    assert "failed: b: " in captured.err
    assert "2 fields: 1 done, 1 failed." in captured.out
    status = pq.read_table(tmp_path / "out" / "fields.parquet")["status"].to_pylist()
    assert status == ["done", "failed"]


def test_many_failures_are_cut_short(arguments, images, capsys):
    for i in range(12):
        (images / f"bad{i:02d}_red.png").write_bytes(b"")
    assert run_main(arguments) == 1
    err = capsys.readouterr().err
    assert err.count("failed: bad") == 10
    assert "failed: 2 more, listed in fields.parquet" in err


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--model", "nowhere"], "'nowhere': expected a shipped model"),
        (["--segmenter", "nothing"], "--segmenter: expected one of"),
        (["--workers", "0"], "--workers: expected 1 to 256, got 0"),
        (["--pixel-size-um", "80"], "pixel"),
        (["--runtime", "tensorflow"], "'tensorflow' is not"),
        (["--runtime", "onnx", "--device", "cuda"], "--device cuda: expected --runtime torch"),
    ],
)
def test_a_request_that_cannot_be_carried_out_exits_2(arguments, tmp_path, capsys, more, message):
    assert run_main([*arguments, *more]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_another_run_s_folder_exits_2(arguments, make_model_folder, capsys):
    assert run_main(arguments) == 0
    other = str(make_model_folder("other", seed=2))
    assert run_main([*arguments[:2], "--model", other, *SCALE]) == 2
    assert "holds a run of another model_id" in capsys.readouterr().err


def test_a_full_disk_exits_2_and_says_what_to_do(arguments, tmp_path, capsys, monkeypatch):
    def fail(out, result):
        raise OSError(errno.ENOSPC, "No space left on device", str(out))

    monkeypatch.setattr("hpacells.predict.engine.commit_field", fail)
    assert run_main(arguments) == 2
    assert "the disk is full. Free some space and run the same command" in capsys.readouterr().err
    assert not (tmp_path / "out" / "run.json").exists()


def test_ctrl_c_exits_130_promptly_and_the_same_command_continues(
    arguments, images, tmp_path, write_quadruplet
):
    for i in range(14):
        write_quadruplet(images, f"c{i:02d}", seed=i, shape=(300, 400), pixel_size_um=0.32)
    code = "from hpacells.cli.app import main; main()"
    command = [sys.executable, "-c", code, "run", *arguments, "--workers", "2"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    parts = tmp_path / "out" / "parts"
    deadline = time.monotonic() + 30
    while not list(parts.glob("*.field.arrow")) and time.monotonic() < deadline:
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGINT)
    begun = time.monotonic()
    _, err = process.communicate(timeout=20)
    assert process.returncode == 130
    assert time.monotonic() - begun < 10
    assert "the same command continues" in err
    kept = len(list(parts.glob("*.field.arrow")))
    assert 1 <= kept < 16
    result = RUNNER.invoke(app, arguments)
    assert result.exit_code == 0
    assert "16 fields: 16 done, 0 failed." in result.output


def test_missing_stains_reach_the_settings_and_watershed_refuses_them(arguments, tmp_path, capsys):
    RUNNER.invoke(app, [*arguments, "--missing", "yellow"])
    settings = json.loads((tmp_path / "out" / "settings.json").read_text(encoding="utf-8"))
    assert settings["segmenter_settings"]["missing"] == ["yellow"]
    assert run_main(arguments) == 2
    assert "settings" in capsys.readouterr().err
    arguments[1] = str(tmp_path / "other")
    assert run_main([*arguments, "--missing", "yellow", "--segmenter", "watershed"]) == 2
    assert "Take --segmenter unet" in capsys.readouterr().err


def test_under_keep_no_cell_is_said_to_be_whole_that_may_be_cut(arguments):
    result = RUNNER.invoke(app, [*arguments, "--border", "keep"])
    assert " whole or cut by the frame, " in result.output

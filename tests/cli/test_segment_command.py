"""``hpacells segment`` from the command line."""

import json

import cv2
import numpy as np
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from hpacells.cli.app import main
from hpacells.cli.quality import tell_warnings
from hpacells.cli.segment import app

RUNNER = CliRunner()
OPTIONS = ["--pixel-size-um", "0.32"]


@pytest.fixture
def images(tmp_path, write_quadruplet):
    for seed, fov_id in enumerate("ab"):
        write_quadruplet(tmp_path / "images", fov_id, seed=seed, shape=(150, 200))
    return tmp_path / "images"


def run_main(arguments):
    with pytest.raises(SystemExit) as stop:
        main([str(a) for a in arguments])
    return stop.value.code


def test_help_ends_with_an_example():
    result = RUNNER.invoke(app, ["--help"])
    assert result.exit_code == 0
    assert "Example: hpacells segment" in result.output


def test_folder_is_segmented_and_said_so(images, tmp_path):
    out = tmp_path / "out"
    result = RUNNER.invoke(app, [str(images), str(out), *OPTIONS])
    assert result.exit_code == 0
    assert "2 fields:" in result.output
    assert "Next: hpacells crop" in result.output
    assert sorted(p.name for p in (out / "masks").iterdir()) == [
        f"{fov_id}_{part}.png" for fov_id in "ab" for part in ("cells", "nuclei")
    ]
    again = RUNNER.invoke(app, [str(images), str(out), *OPTIONS, "--workers", "2"])
    assert again.exit_code == 0
    assert "(2 were done before)" in again.output


def test_failed_field_is_listed_and_exits_1(images, tmp_path, capsys):
    (images / "b_blue.png").unlink()
    assert run_main(["segment", images, tmp_path / "out", *OPTIONS]) == 1
    captured = capsys.readouterr()
    assert "failed: b:" in captured.err
    assert "1 field:" in captured.out


def test_where_every_field_failed_there_is_no_next_step(images, tmp_path, capsys):
    for fov_id in "ab":
        (images / f"{fov_id}_blue.png").unlink()
    assert run_main(["segment", images, tmp_path / "out", *OPTIONS]) == 1
    captured = capsys.readouterr()
    assert "0 fields:" in captured.out
    assert "Next" not in captured.out


def test_a_blank_field_is_warned_of_and_exits_0(images, tmp_path, capsys):
    cv2.imwrite(str(images / "b_yellow.png"), np.zeros((150, 200), np.uint8))
    options = [*OPTIONS, "--border", "flag", "--segmenter", "watershed"]
    assert run_main(["segment", images, tmp_path / "out", *options]) == 0
    captured = capsys.readouterr()
    assert "warning: b: constant stain: yellow" in captured.err
    assert "0 rejected" in captured.out


def test_kept_cells_that_the_frame_cuts_are_counted(images, tmp_path):
    for border in ("keep", "flag"):
        arguments = [str(images), str(tmp_path / border), *OPTIONS, "--border", border]
        result = RUNNER.invoke(app, [*arguments, "--segmenter", "watershed"])
        cells = pq.read_table(tmp_path / border / "cells.parquet")
        n_cut = sum(cells["touches_border"].to_pylist())
        assert n_cut > 0
        how = "of them" if border == "keep" else "more"
        assert f"cells, {n_cut} {how} cut by the frame, " in result.output


def test_missing_stains_are_an_option_and_part_of_the_settings(images, tmp_path, capsys):
    out = tmp_path / "out"
    cv2.imwrite(str(images / "a_yellow.png"), np.zeros((150, 200), np.uint8))
    missing = ["--missing", "yellow", "--missing", "red"]
    assert run_main(["segment", images, out, *OPTIONS, *missing]) == 0
    settings = json.loads((out / "settings.json").read_text(encoding="utf-8"))
    assert settings["segmenter_settings"]["missing"] == ["red", "yellow"]
    assert run_main(["segment", images, out, *OPTIONS, "--missing", "red"]) == 2
    assert "made with other settings" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--missing", "green"], "expected some of blue, red, yellow, got green"),
        (["--missing", "pink"], "pink"),
        (["--missing", "red", "--segmenter", "watershed"], "Take --segmenter unet"),
    ],
)
def test_stains_that_cannot_be_missing_exit_2(images, tmp_path, capsys, options, told):
    assert run_main(["segment", images, tmp_path / "out", *options]) == 2
    assert told in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "out").exists()


def test_an_unknown_border_policy_exits_2(images, tmp_path, capsys):
    assert run_main(["segment", images, tmp_path / "out", "--border", "crop"]) == 2
    assert "--border" in capsys.readouterr().err


def test_many_warnings_are_cut_short(capsys):
    tell_warnings({f"f{i:02}": "no cells found" for i in range(13)})
    told = capsys.readouterr().err.splitlines()
    assert told[0] == "warning: f00: no cells found"
    assert told[-1] == "warning: 3 more, listed in fields.parquet"
    assert len(told) == 11


def test_unknown_segmenter_exits_2_before_anything_is_written(images, tmp_path, capsys):
    arguments = ["segment", images, tmp_path / "out", "--segmenter", "nothing"]
    assert run_main(arguments) == 2
    assert "--segmenter: expected one of" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()

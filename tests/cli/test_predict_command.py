"""``hpacells predict`` from the command line."""

import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from hpacells.cli.app import main
from hpacells.cli.predict import app
from hpacells.core.crop_spec import CropSpec
from hpacells.crops.build import build_store
from hpacells.images.discover import discover_fields
from hpacells.segment.measure import measure_cells
from hpacells.segment.registry import get_segmenter

RUNNER = CliRunner()


class Outlines:
    name = "watershed"

    def digest(self, fov_id):
        return ""

    def __call__(self, fov):
        masks = get_segmenter("watershed")(fov)
        return masks, measure_cells(fov, masks)


@pytest.fixture
def images(tmp_path, write_quadruplet):
    for seed, fov_id in enumerate("ab"):
        write_quadruplet(
            tmp_path / "images", fov_id, seed=seed, shape=(150, 200), pixel_size_um=0.64
        )
    return tmp_path / "images"


@pytest.fixture
def make_store(images, tmp_path):
    def make(crop_px=32):
        records = discover_fields(images, pixel_size_um=0.64)
        spec = CropSpec(crop_px, 0.64)
        return str(build_store(records, tmp_path / "store", spec, source=Outlines()).path)

    return make


def run_main(arguments):
    with pytest.raises(SystemExit) as stop:
        main(["predict", *arguments])
    return stop.value.code


def test_help_ends_with_an_example():
    result = RUNNER.invoke(app, ["--help"])
    assert result.exit_code == 0
    assert "Example: hpacells predict crops/" in result.output


def test_a_store_becomes_tables(make_store, tmp_path, tiny_model_folder):
    out = tmp_path / "scores"
    arguments = [make_store(), str(out), "--model", str(tiny_model_folder)]
    result = RUNNER.invoke(app, arguments)
    assert result.exit_code == 0
    assert "2 fields: 2 done, 0 failed" in result.output
    assert pq.read_table(out / "cells.parquet").num_rows > 5


def test_failed_fields_of_the_store_exit_1(make_store, images, tmp_path, tiny_model_folder):
    (images / "b_red.png").unlink()
    arguments = [make_store(), str(tmp_path / "scores"), "--model", str(tiny_model_folder)]
    assert run_main(arguments) == 1


def test_a_store_of_other_crops_exits_2(make_store, tmp_path, tiny_model_folder, capsys):
    arguments = [make_store(48), str(tmp_path / "scores"), "--model", str(tiny_model_folder)]
    assert run_main(arguments) == 2
    assert "expects crops of 32 px" in capsys.readouterr().err


def test_a_folder_that_is_no_store_exits_2(tmp_path, tiny_model_folder, capsys):
    arguments = [str(tmp_path), str(tmp_path / "scores"), "--model", str(tiny_model_folder)]
    assert run_main(arguments) == 2
    assert "expected a crop store" in capsys.readouterr().err

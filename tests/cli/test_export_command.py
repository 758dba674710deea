import csv

import pytest
from typer.testing import CliRunner

from hpacells.cli.app import main
from hpacells.cli.export import app as export_app
from hpacells.core.corrections import read_corrections
from hpacells.images.mask_files import read_label_image, write_label_image

FORMATS = ("kaggle", "csv", "geojson", "ome-zarr", "anndata", "coco", "profiles", "imagej")


def call(capsys, *arguments):
    with pytest.raises(SystemExit) as ended:
        main([str(argument) for argument in arguments])
    return ended.value.code, capsys.readouterr()


def test_every_format_of_a_real_run_and_again(run_folder, capsys):
    for name in FORMATS:
        code, told = call(capsys, "export", run_folder, "--to", name)
        assert code == 0, told.err
        assert f"exports/{name}" in told.out.replace("\n", "")
        assert any((run_folder / "exports" / name).iterdir())
        code, told = call(capsys, "export", run_folder, "--to", name)
        assert code == 0
        assert "nothing to do" in told.out


def test_exports_inside_a_run_do_not_disturb_it(run_folder, capsys):
    call(capsys, "export", run_folder, "--to", "csv")
    code, _ = call(capsys, "report", run_folder)
    assert code == 0


def test_a_wrong_option_or_folder_exits_2(run_folder, tmp_path, capsys):
    code, told = call(capsys, "export", run_folder, "--to", "csv", "--gz")
    assert code == 2
    assert "--gz belongs to '--to geojson'" in told.err
    code, told = call(capsys, "export", tmp_path / "none", "--to", "csv")
    assert code == 2
    assert "Expected a run folder" in told.err


def test_help_names_every_format():
    text = CliRunner().invoke(export_app, ["--help"]).output
    assert all(name in text for name in FORMATS)


def test_a_filled_in_table_is_imported_once(run_folder, tmp_path, capsys):
    call(capsys, "export", run_folder, "--to", "csv")
    with (run_folder / "exports" / "csv" / "cells.csv").open() as file:
        cell = next(csv.DictReader(file))
    table = tmp_path / "mine.csv"
    table.write_text(f"fov_id,cell_id,locations\none,{cell['cell_id']},Golgi apparatus\n")
    code, told = call(capsys, "import", run_folder, table, "--who", "anna")
    assert code == 0
    assert "1 correct" in told.out
    assert "1 of them are new" in told.out
    assert read_corrections(run_folder)[0].locations == (7,)
    code, told = call(capsys, "import", run_folder, table, "--who", "anna")
    assert code == 0
    assert "nothing to do" in told.out


def test_redrawn_outlines_are_told(run_folder, capsys):
    path = run_folder / "edited" / "one_cells.png"
    ids = read_label_image(run_folder / "masks" / "one_cells.png")
    ids[ids == ids.max()] = 0
    ids[:2, :5] = 900
    write_label_image(path, ids)
    code, told = call(capsys, "import", run_folder, path)
    assert code == 0
    assert "1 reject" in told.out
    assert "cells have other outlines" in told.out


def test_a_bundle_is_made_and_found_again(tmp_path, tiny_model_folder, capsys, monkeypatch):
    monkeypatch.setattr("hpacells.export.bundle._run_pip", lambda arguments: None)
    wheel = tmp_path / "hpacells-0.1.0-py3-none-any.whl"
    wheel.write_bytes(b"wheel")
    given = ("--model", tiny_model_folder, "--package", wheel)
    code, told = call(capsys, "bundle", tmp_path / "bundle", *given)
    assert code == 0
    assert "1 wheels" in told.out
    code, told = call(capsys, "bundle", tmp_path / "bundle", *given)
    assert code == 0
    assert "nothing to do" in told.out

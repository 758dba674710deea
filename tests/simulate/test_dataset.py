"""Dataset folders: files, tables, workers, resuming, refusing."""

import csv
import json

import numpy as np
import pytest

from hpacells.core.channels import CHANNELS
from hpacells.core.errors import ConfigError, OutputError
from hpacells.core.submission import encode_cells, parse_predictions, read_submission
from hpacells.images.mask_files import read_label_image
from hpacells.simulate.config import SimulateConfig
from hpacells.simulate.dataset import write_dataset

TINY = SimulateConfig(size_px=256, pixel_size_um=0.32)


def read_rows(path):
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def content_of(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != ".lock"
    }


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    out = tmp_path_factory.mktemp("dataset") / "out"
    return out, write_dataset(out, TINY, fields=4, seed=21)


def test_every_file_is_there(dataset):
    out, summary = dataset
    ids = [f"sim21_{i:06d}" for i in range(4)]
    images = {f"{i}_{c.value}.png" for i in ids for c in CHANNELS}
    assert {p.name for p in (out / "train").iterdir()} == images
    masks = {f"{i}_{part}.png" for i in ids for part in ("cells", "nuclei")}
    assert {p.name for p in (out / "truth").iterdir()} == masks | {"cells.csv", "fields.csv"}
    assert [row["ID"] for row in read_rows(out / "train.csv")] == ids
    assert summary.fields == summary.made == 4
    assert json.loads((out / "simulate.json").read_text())["finished"] is True


def test_cells_in_the_table_are_the_cells_in_the_masks(dataset):
    out, summary = dataset
    rows = read_rows(out / "truth" / "cells.csv")
    assert len(rows) == summary.cells
    assert sum(int(row["in_truth"]) for row in rows) == summary.cells_in_truth
    for image in read_rows(out / "train.csv"):
        cells = read_label_image(out / "truth" / f"{image['ID']}_cells.png")
        nuclei = read_label_image(out / "truth" / f"{image['ID']}_nuclei.png")
        listed = [int(row["cell_id"]) for row in rows if row["ID"] == image["ID"]]
        assert listed == [i for i in np.unique(cells).tolist() if i]
        assert (cells[nuclei > 0] == nuclei[nuclei > 0]).all()
        assert image["pixel_size_um"] == "0.32"


def test_the_truth_is_each_counted_cell_times_its_classes(dataset):
    out, summary = dataset
    truth = read_submission(out / "truth.csv")
    rows = read_rows(out / "truth" / "cells.csv")
    for fov_id, row in truth.items():
        assert (row.width, row.height) == (256, 256)
        texts = encode_cells(read_label_image(out / "truth" / f"{fov_id}_cells.png"))
        expected = {
            (int(location), 1.0, texts[int(cell["cell_id"])])
            for cell in rows
            if cell["ID"] == fov_id and cell["in_truth"] == "1"
            for location in cell["Label"].split("|")
        }
        assert set(parse_predictions(row.predictions, where=fov_id)) == expected
    triples = sum(len(parse_predictions(r.predictions, where="")) for r in truth.values())
    assert triples == sum(summary.cells_per_class)


def test_fields_carry_no_designed_variation(dataset):
    rows = read_rows(dataset[0] / "truth" / "fields.csv")
    assert [row["kind"] for row in rows] == ["none"] * 4


def test_workers_do_not_change_a_byte(dataset, tmp_path):
    write_dataset(tmp_path / "two", TINY, fields=4, seed=21, workers=2)
    assert content_of(tmp_path / "two") == content_of(dataset[0])


def test_a_field_that_is_not_whole_is_made_again(dataset, tmp_path):
    out = tmp_path / "out"
    seen = []
    write_dataset(out, TINY, fields=2, seed=21, progress=lambda *told: seen.append(told))
    assert seen == [(1, 2, "sim21_000000"), (2, 2, "sim21_000001")]
    (out / "train" / "sim21_000001_green.png").unlink()
    summary = write_dataset(out, TINY, fields=4, seed=21)
    assert summary.made == 3
    assert content_of(out) == content_of(dataset[0])


def test_a_finished_folder_has_nothing_to_do(dataset):
    out, before = dataset
    times = {path: path.stat().st_mtime_ns for path in (out / "train").iterdir()}
    after = write_dataset(out, TINY, fields=4, seed=21)
    assert after.made == 0
    assert after.cells_per_class == before.cells_per_class
    assert times == {path: path.stat().st_mtime_ns for path in (out / "train").iterdir()}


@pytest.mark.parametrize(
    ("config", "fields", "seed", "message"),
    [
        (TINY, 4, 22, "seed"),
        (TINY.model_copy(update={"size_px": 300}), 4, 21, "size_px"),
        (TINY, 3, 21, "made for 4 fields"),
    ],
)
def test_other_settings_are_refused(dataset, config, fields, seed, message):
    with pytest.raises(OutputError, match=message):
        write_dataset(dataset[0], config, fields=fields, seed=seed)


def test_foreign_and_damaged_folders_are_refused(tmp_path):
    (tmp_path / "foreign" / "train").mkdir(parents=True)
    with pytest.raises(OutputError, match="another origin"):
        write_dataset(tmp_path / "foreign", TINY, fields=1, seed=1)
    # a run folder was taken for a new dataset folder
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "run.json").touch()
    with pytest.raises(OutputError, match=r"another origin \(run\.json\)"):
        write_dataset(tmp_path / "run", TINY, fields=1, seed=1)
    (tmp_path / "damaged").mkdir()
    (tmp_path / "damaged" / "simulate.json").write_text("{")
    with pytest.raises(OutputError, match="cannot be read"):
        write_dataset(tmp_path / "damaged", TINY, fields=1, seed=1)


def test_an_interruption_leaves_whole_fields_only(tmp_path):
    def stop(done, total, what):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_dataset(tmp_path / "out", TINY, fields=4, seed=21, progress=stop)
    assert len(list((tmp_path / "out" / "train").iterdir())) == len(CHANNELS)
    assert not (tmp_path / "out" / "train.csv").exists()
    assert not list((tmp_path / "out").rglob("*.tmp*"))


def test_no_workers_are_refused(tmp_path):
    with pytest.raises(ConfigError, match="--workers"):
        write_dataset(tmp_path / "out", TINY, fields=1, seed=1, workers=0)

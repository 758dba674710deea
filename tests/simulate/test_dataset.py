"""Dataset folders: files, tables, workers, resuming, refusing."""

import csv
import dataclasses
import json
import shutil

import numpy as np
import pytest

from hpacells.core.channels import CHANNELS
from hpacells.core.errors import ConfigError, OutputError
from hpacells.core.submission import encode_cells, parse_predictions, read_submission
from hpacells.images.mask_files import mask_path, read_label_image, write_label_image
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
    out, _ = dataset
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
        told = parse_predictions(row.predictions, where=fov_id)
        assert set(told) == expected
        assert len(told) == len(expected)


def test_cells_tell_what_was_drawn_into_them(dataset):
    out, _ = dataset
    images = {row["ID"]: row for row in read_rows(out / "train.csv")}
    for row in read_rows(out / "truth" / "cells.csv"):
        image = images[row["ID"]]
        assert row["image_label"] == image["Label"]
        for column in ("gene", "sample", "cell_line"):
            assert row[column] == image[column]
        amounts = dict(part.split(":") for part in row["amounts"].split())
        assert "|".join(amounts) == ("" if row["Label"] == "18" else row["Label"])
        assert all(float(amount) >= 0 for amount in amounts.values())
        assert row["subpopulation"] in {"0", "1"}


def test_fields_tell_their_designed_variation(tmp_path):
    config = TINY.model_copy(update={"variation": "spatial"})
    write_dataset(tmp_path / "out", config, fields=3, seed=21)
    rows = read_rows(tmp_path / "out" / "truth" / "fields.csv")
    cells = read_rows(tmp_path / "out" / "truth" / "cells.csv")
    assert list(rows[0])[:4] == ["ID", "kind", "effect", "share"]
    assert [row["kind"] for row in rows] == ["spatial"] * 3
    for row in rows:
        own = [cell for cell in cells if cell["ID"] == row["ID"]]
        assert 0.2 <= float(row["share"]) <= 0.5
        assert 0.5 <= float(row["effect"]) <= 1.0
        assert set(row["group"].split("|")) < set(row["Label"].split("|"))
        assert int(row["n_cells"]) == len(own)
        assert int(row["n_in_truth"]) == sum(int(cell["in_truth"]) for cell in own)
        assert int(row["n_subpopulation"]) == sum(int(cell["subpopulation"]) for cell in own)
        assert {cell["variation"] for cell in own} == {"spatial"}


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
    assert dataclasses.replace(before, made=0) == after
    assert times == {path: path.stat().st_mtime_ns for path in (out / "train").iterdir()}


@pytest.mark.parametrize(
    ("config", "fields", "seed", "message"),
    [
        (TINY, 4, 22, "seed"),
        (TINY.model_copy(update={"size_px": 300}), 4, 21, "size_px"),
        (TINY.model_copy(update={"cell_lines": ("HeLa",)}), 4, 21, "cell_lines"),
        (TINY.model_copy(update={"variation": "spatial"}), 4, 21, "variation"),
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


def test_interrupted_before_the_tables_they_are_made_the_next_time(dataset, tmp_path, monkeypatch):
    # two fields asked for after one, interrupted after the last field: the tables of one stayed
    def stop(*_):
        raise KeyboardInterrupt

    out = tmp_path / "out"
    write_dataset(out, TINY, fields=2, seed=21)
    with monkeypatch.context() as patch:
        patch.setattr("hpacells.simulate.dataset._write_tables", stop)
        with pytest.raises(KeyboardInterrupt):
            write_dataset(out, TINY, fields=4, seed=21)
    assert json.loads((out / "simulate.json").read_text())["finished"] is False
    summary = write_dataset(out, TINY, fields=4, seed=21)
    assert (summary.fields, summary.made) == (4, 0)
    assert content_of(out) == content_of(dataset[0])


@pytest.mark.parametrize("table", ["train.csv", "truth/cells.csv", "truth/fields.csv", "truth.csv"])
def test_a_table_that_is_gone_is_made_again(dataset, tmp_path, table):
    out = tmp_path / "out"
    shutil.copytree(dataset[0], out)
    (out / table).unlink()
    assert write_dataset(out, TINY, fields=4, seed=21).made == 0
    assert content_of(out) == content_of(dataset[0])


def test_interrupted_within_a_field_nothing_of_it_stays(dataset, tmp_path, monkeypatch):
    def write_half(folder, fov_id, masks):
        write_label_image(mask_path(folder, fov_id, "nuclei"), masks.nuclei)
        if fov_id == "sim21_000001":
            raise KeyboardInterrupt
        write_label_image(mask_path(folder, fov_id, "cells"), masks.cells)

    out = tmp_path / "out"
    with monkeypatch.context() as patch:
        patch.setattr("hpacells.simulate.dataset.write_masks", write_half)
        with pytest.raises(KeyboardInterrupt):
            write_dataset(out, TINY, fields=4, seed=21)
    left = {name for name in content_of(out) if "sim21" in name}
    assert left == {name for name in content_of(dataset[0]) if "sim21_000000" in name}
    assert write_dataset(out, TINY, fields=4, seed=21).made == 3
    assert content_of(out) == content_of(dataset[0])


def test_fields_of_another_look_are_not_continued(dataset, tmp_path):
    out = tmp_path / "out"
    shutil.copytree(dataset[0], out)
    state = json.loads((out / "simulate.json").read_text())
    assert "look" in state
    assert "look" not in state["settings"]
    (out / "simulate.json").write_text(json.dumps({**state, "look": state["look"] - 1}))
    looks = rf"another look \(number {state['look'] - 1}, this one has {state['look']}\)"
    with pytest.raises(OutputError, match=looks):
        write_dataset(out, TINY, fields=4, seed=21)
    del state["look"]  # as folders had it before there was a number
    (out / "simulate.json").write_text(json.dumps(state))
    assert write_dataset(out, TINY, fields=4, seed=21).made == 0


def test_no_workers_are_refused(tmp_path):
    with pytest.raises(ConfigError, match="--workers"):
        write_dataset(tmp_path / "out", TINY, fields=1, seed=1, workers=0)

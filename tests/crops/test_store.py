import json

import numpy as np
import pytest

from hpacells.core.crop_spec import CropSpec
from hpacells.core.errors import InputError, OutputError
from hpacells.crops.field_crops import FieldCrops, read_part, write_part
from hpacells.crops.store import CropStore, part_path, prepare_store

SPEC = CropSpec(20, 0.25)


def test_a_part_is_read_back_as_it_was_written(tmp_path, make_part):
    part = make_part("a")
    write_part(tmp_path / "a.parquet", part)
    back = read_part(tmp_path / "a.parquet")
    np.testing.assert_array_equal(back.crops, part.crops)
    np.testing.assert_array_equal(back.cell_masks, part.cell_masks)
    assert back.cells.table.equals(part.cells.table)
    assert back.cell_ids.tolist() == [1, 5]
    assert (back.shape, back.pixel_size_um, back.digest) == ((60, 90), 0.1, "da")
    assert back.metadata == {"image_labels": "0|16"}


def test_order_is_that_of_the_table_and_rejected_cells_are_listed(tmp_path, make_part, make_store):
    parts = [make_part("b", seed=1), make_part("a"), make_part("c", rejected=(1, 2, 5), seed=2)]
    store = make_store(tmp_path / "s", parts)
    assert store.counts == {"fields": 3, "failed": 0, "cells": 9, "crops": 4}
    cells = store.cells_table()
    assert cells["fov_id"].to_pylist() == ["a"] * 3 + ["b"] * 3 + ["c"] * 3
    assert cells["cell_id"].to_pylist() == [1, 2, 5] * 3
    kept = [row["fov_id"] for row in cells.to_pylist() if row["status"] == "ok"]
    read = list(store.fields())
    assert [part.fov_id for part in read for _ in part.crops] == kept
    for part, written in zip(read, (parts[1], parts[0], parts[2]), strict=True):
        np.testing.assert_array_equal(part.crops, written.crops)
        np.testing.assert_array_equal(part.cell_masks, written.cell_masks)


def test_failed_fields_are_rows_without_crops(tmp_path, make_part, make_store):
    failure = {"fov_id": "aa", "reason": "no blue", "gene": "G"}
    store = make_store(tmp_path / "s", [make_part("b")], [failure])
    rows = store.fields_table().to_pylist()
    assert [(row["fov_id"], row["status"], row["n_crops"]) for row in rows] == [
        ("aa", "failed", 0),
        ("b", "done", 2),
    ]
    assert rows[0]["reason"] == "no blue"
    assert rows[0]["width"] == 0
    assert (rows[1]["width"], rows[1]["height"]) == (90, 60)
    assert [part.fov_id for part in store.fields()] == ["b"]
    assert sum(len(part.crops) for part in store.fields()) == 2


def test_a_store_without_fields_is_empty(tmp_path, make_store):
    store = make_store(tmp_path / "s", [])
    assert store.counts["crops"] == 0
    assert list(store.fields()) == []


def test_two_makings_give_the_same_bytes(tmp_path, make_part, make_store):
    for name in "xy":
        make_store(tmp_path / name, [make_part("a")])
    for file in ("cells.parquet", "fields.parquet", "store.json", "parts/a.parquet"):
        assert (tmp_path / "x" / file).read_bytes() == (tmp_path / "y" / file).read_bytes()


def test_unfinished_and_foreign_folders_are_not_opened(tmp_path):
    prepare_store(tmp_path / "s", SPEC, "drawn")
    with pytest.raises(InputError, match="unfinished"):
        CropStore.open(tmp_path / "s")
    with pytest.raises(InputError, match="this is none"):
        CropStore.open(tmp_path)


def test_another_spec_or_source_is_refused(tmp_path, make_part, make_store):
    make_store(tmp_path / "s", [make_part("a")])
    with pytest.raises(OutputError, match=r"20 px at 0.25 µm.*24 px at 0.25 µm"):
        prepare_store(tmp_path / "s", CropSpec(24, 0.25), "drawn")
    with pytest.raises(OutputError, match="masks by files"):
        prepare_store(tmp_path / "s", SPEC, "files")
    assert CropStore.open(tmp_path / "s").counts["crops"] == 2


def test_a_folder_with_other_things_is_refused(tmp_path):
    (tmp_path / "thesis.doc").write_text("x")
    with pytest.raises(OutputError, match="not a crop store"):
        prepare_store(tmp_path, SPEC, "drawn")


def test_a_damaged_part_is_named(tmp_path, make_part, make_store):
    store = make_store(tmp_path / "s", [make_part("a")])
    path = part_path(store.path, "a")
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(InputError, match=r"a\.parquet: missing or damaged"):
        list(store.fields())
    path.unlink()
    with pytest.raises(InputError, match=r"a\.parquet: missing or damaged"):
        list(store.fields())


def test_crops_must_be_one_per_kept_cell(make_part):
    part = make_part("a")
    with pytest.raises(InputError, match="expected 2 crops"):
        FieldCrops("a", "d", (60, 90), 0.1, part.cells, part.crops[:1], part.cell_masks[:1])


@pytest.mark.parametrize("content", ["{", "[]", '{"fields": 3}', "\xff"])
def test_a_damaged_manifest_is_named(tmp_path, make_part, make_store, content):
    store = make_store(tmp_path / "s", [make_part("a")])
    for name in ("store.json", "request.json"):
        (store.path / name).write_bytes(content.encode("latin-1"))
    with pytest.raises(InputError, match=r"store\.json: (damaged|not of a crop store)"):
        CropStore.open(store.path)
    with pytest.raises(InputError, match=r"request\.json: (damaged|not of a crop store)"):
        prepare_store(store.path, SPEC, "drawn")


@pytest.mark.parametrize("found", [1, 2])
def test_a_store_of_another_version_is_refused(tmp_path, make_part, make_store, found):
    store = make_store(tmp_path / "s", [make_part("a")])
    for name in ("store.json", "request.json"):
        content = json.loads((store.path / name).read_text())
        content = {**content, "format": found}
        if found == 1:
            del content["format"]
        (store.path / name).write_text(json.dumps(content))
    said = rf"store of format {found}, this version of hpacells has format 3\. Crop again"
    with pytest.raises(InputError, match=said):
        CropStore.open(store.path)
    with pytest.raises(InputError, match=said):
        prepare_store(store.path, SPEC, "drawn")


def test_a_flipped_bit_never_changes_what_is_read(tmp_path, make_part):
    path, part = tmp_path / "a.parquet", make_part("a")
    write_part(path, part)
    good = path.read_bytes()
    found = 0
    for at in range(0, len(good), len(good) // 60):
        path.write_bytes(good[:at] + bytes([good[at] ^ 16]) + good[at + 1 :])
        try:
            back = read_part(path)
        except InputError:
            found += 1
            continue
        np.testing.assert_array_equal(back.crops, part.crops)
        np.testing.assert_array_equal(back.cell_masks, part.cell_masks)
        assert back.cells.table.equals(part.cells.table)
        assert (back.digest, back.metadata) == (part.digest, part.metadata)
    assert found > 30


def test_masks_of_an_odd_side_survive_packing(tmp_path, make_part):
    """Masks are packed eight pixels to a byte: a side that eight does not divide stays whole."""
    part = make_part("a")
    side = 21
    rng = np.random.default_rng(0)
    odd = FieldCrops(
        "a",
        "d",
        (60, 90),
        0.1,
        part.cells,
        rng.integers(0, 256, (2, 4, side, side), dtype=np.uint8),
        rng.random((2, side, side)) < 0.5,
    )
    write_part(tmp_path / "a.parquet", odd)
    back = read_part(tmp_path / "a.parquet")
    np.testing.assert_array_equal(back.cell_masks, odd.cell_masks)
    np.testing.assert_array_equal(back.crops, odd.crops)
    assert back.metadata == {}

from dataclasses import replace

import numpy as np
import pytest

from hpacells.core.channels import Channel
from hpacells.core.crop_spec import CropSpec
from hpacells.core.errors import ConfigError, OutputError
from hpacells.crops.build import build_store
from hpacells.segment.registry import get_segmenter
from hpacells.train.prepare import SegmentedMasks

SPEC = CropSpec(20, 0.25)


def test_fields_become_a_store_with_their_labels(records, tmp_path, drawn_masks):
    told = []
    store = build_store(
        records, tmp_path / "s", SPEC, source=drawn_masks(), progress=lambda *a: told.append(a)
    )
    rows = store.fields_table().to_pylist()
    assert [(row["fov_id"], row["n_crops"]) for row in rows] == [("a", 2), ("b", 2), ("c", 2)]
    assert [row["image_labels"] for row in rows] == ["0|16", None, None]
    assert [row["gene"] for row in rows] == ["G1", None, None]
    assert told == [(1, 3, "a"), (2, 3, "b"), (3, 3, "c")]
    assert store.source == "drawn"


def test_asked_again_nothing_is_made_again_and_new_fields_are_added(records, tmp_path, drawn_masks):
    build_store(records[:2], tmp_path / "s", SPEC, source=drawn_masks())
    again = drawn_masks()
    store = build_store(records, tmp_path / "s", SPEC, source=again)
    assert again.calls == ["c"]
    assert store.counts["fields"] == 3


def test_a_field_that_failed_is_listed_and_tried_again(records, tmp_path, drawn_masks):
    store = build_store(records, tmp_path / "s", SPEC, source=drawn_masks(broken=("b",)))
    assert store.counts == {"fields": 3, "failed": 1, "cells": 6, "crops": 4}
    failed = store.fields_table().to_pylist()[1]
    assert (failed["status"], failed["reason"]) == ("failed", "field b: no masks")
    repaired = drawn_masks()
    assert build_store(records, tmp_path / "s", SPEC, source=repaired).counts["failed"] == 0
    assert repaired.calls == ["b"]


def test_a_missing_image_fails_alone(records, tmp_path, drawn_masks):
    records[0].paths[Channel.ER].unlink()
    store = build_store(records, tmp_path / "s", SPEC, source=drawn_masks())
    row = store.fields_table().to_pylist()[0]
    assert row["status"] == "failed"
    assert "yellow" in row["reason"]
    assert row["image_labels"] == "0|16"


@pytest.mark.parametrize("what", ["image", "masks", "label", "pixel size"])
def test_changed_input_is_refused(records, tmp_path, what, drawn_masks):
    build_store(records, tmp_path / "s", SPEC, source=drawn_masks())
    source = drawn_masks(salt="other" if what == "masks" else "")
    if what == "image":
        path = records[1].paths[Channel.ER]
        path.write_bytes(records[2].paths[Channel.ER].read_bytes())
    if what == "label":
        records[1] = replace(records[1], image_locations=(3,))
    if what == "pixel size":  # crops of the old scale were once kept, and nothing said so
        records[1] = replace(records[1], pixel_size_um=0.2)
    with pytest.raises(OutputError, match=r"field [ab]: .* changed"):
        build_store(records, tmp_path / "s", SPEC, source=source)


def test_two_processes_give_what_one_gives(records, tmp_path):
    records[1].paths[Channel.ER].unlink()
    source = SegmentedMasks(get_segmenter("watershed"))
    one = build_store(records, tmp_path / "one", SPEC, source=source)
    two = build_store(records, tmp_path / "two", SPEC, source=source, workers=2)
    for left, right in zip(one.fields(), two.fields(), strict=True):
        np.testing.assert_array_equal(left.crops, right.crops)
    for file in ("cells.parquet", "fields.parquet", "store.json"):
        assert (one.path / file).read_bytes() == (two.path / file).read_bytes()


def test_no_workers_is_an_error(records, tmp_path, drawn_masks):
    with pytest.raises(ConfigError, match="--workers"):
        build_store(records, tmp_path / "s", SPEC, source=drawn_masks(), workers=0)

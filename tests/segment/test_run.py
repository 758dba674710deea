"""Segmenting a folder: its files, resuming, refusals, failures, workers."""

import json
from pathlib import Path

import cv2
import numpy as np
import pyarrow.parquet as pq
import pytest

from hpacells.core.cell_table import CELL_MEASURE_SCHEMA, FIELD_SCHEMA
from hpacells.core.channels import Channel
from hpacells.core.errors import ConfigError, ImageError, ModelError, OutputError, TableError
from hpacells.images.discover import discover_fields
from hpacells.images.mask_files import read_label_image
from hpacells.segment.config import MeasureConfig, SegmentConfig
from hpacells.segment.registry import get_segmenter
from hpacells.segment.run import segment_fields
from hpacells.segment.unet import UnetSegmenter
from hpacells.segment.watershed import WatershedSegmenter

SEGMENTER = get_segmenter("watershed")
PIXEL_UM = 0.32


@pytest.fixture
def images(tmp_path, write_quadruplet):
    for seed, fov_id in enumerate(["b", "a", "c"]):
        write_quadruplet(tmp_path / "images", fov_id, seed=seed, shape=(200, 260))
    return tmp_path / "images"


def find_records(images, pixel_size_um=PIXEL_UM):
    return discover_fields(images, pixel_size_um=pixel_size_um)


def read_outputs(out: Path):
    names = ["cells.parquet", "fields.parquet", *(f"masks/{f}_cells.png" for f in "abc")]
    return {name: (out / name).read_bytes() for name in names}


def test_every_field_gets_masks_and_rows(images, tmp_path):
    out = tmp_path / "out"
    told = []
    summary = segment_fields(
        find_records(images), out, SEGMENTER, progress=lambda *what: told.append(what)
    )
    cells = pq.read_table(out / "cells.parquet")
    fields = pq.read_table(out / "fields.parquet")
    assert cells.schema.equals(CELL_MEASURE_SCHEMA)
    assert fields.schema.equals(FIELD_SCHEMA)
    assert fields["fov_id"].to_pylist() == ["a", "b", "c"]
    assert set(fields["status"].to_pylist()) == {"done"}
    keys = list(zip(cells["fov_id"].to_pylist(), cells["cell_id"].to_pylist(), strict=True))
    assert keys == sorted(keys)
    assert len(keys) == summary.n_ok + summary.n_border + summary.n_rejected > 10
    for row in fields.to_pylist():
        ids = read_label_image(out / "masks" / f"{row['fov_id']}_cells.png")
        assert ids.shape == (row["height"], row["width"]) == (200, 260)
        n_cells = row["n_ok"] + row["n_border"] + row["n_rejected"]
        assert ids.max() == n_cells == sum(fov == row["fov_id"] for fov, _ in keys)
        assert row["pixel_size_um"] == PIXEL_UM
        assert row["image_negative"] is None
    assert told[0] == (0, 3, "starting")
    assert told[-1] == (3, 3, "c")


def test_asked_again_nothing_is_done_and_new_fields_are_added(images, tmp_path, write_quadruplet):
    out = tmp_path / "out"
    segment_fields(find_records(images), out, SEGMENTER)
    before = read_outputs(out)
    stamp = (out / "parts" / "a.parquet").stat().st_mtime_ns
    again = segment_fields(find_records(images), out, SEGMENTER)
    assert (again.n_done, again.n_kept) == (3, 3)
    assert read_outputs(out) == before
    assert (out / "parts" / "a.parquet").stat().st_mtime_ns == stamp
    write_quadruplet(images, "d", seed=9, shape=(200, 260))
    more = segment_fields(find_records(images), out, SEGMENTER)
    assert (more.n_done, more.n_kept) == (4, 3)


def test_workers_do_not_change_the_result(images, tmp_path):
    for workers in (1, 2):
        segment_fields(find_records(images), tmp_path / str(workers), SEGMENTER, workers=workers)
    assert read_outputs(tmp_path / "1") == read_outputs(tmp_path / "2")


def test_bad_field_is_recorded_passed_over_and_tried_again(images, tmp_path):
    out = tmp_path / "out"
    bad = images / "b_red.png"
    good = bad.read_bytes()
    bad.write_bytes(good[: len(good) // 2])
    records = find_records(images)
    summary = segment_fields(records, out, SEGMENTER)
    assert [fov_id for fov_id, _ in summary.failed] == ["b"]
    row = pq.read_table(out / "fields.parquet").to_pylist()[1]
    assert (row["fov_id"], row["status"], row["width"], row["n_ok"]) == ("b", "failed", 0, 0)
    assert "b_red.png" in row["reason"]
    assert "b" not in pq.read_table(out / "cells.parquet")["fov_id"].to_pylist()
    segment_fields([r for r in records if r.fov_id == "a"], out, SEGMENTER)
    assert pq.read_table(out / "fields.parquet").num_rows == 3
    bad.write_bytes(good)
    mended = segment_fields(records, out, SEGMENTER)
    assert (mended.n_done, mended.n_kept, mended.failed) == (3, 2, ())


class OneFieldFails(WatershedSegmenter):
    def __call__(self, fov):
        if fov.fov_id == "b":
            raise self.error
        return super().__call__(fov)


@pytest.mark.parametrize("kind", [ImageError, ModelError])
def test_a_field_that_cannot_be_outlined_fails_alone(images, tmp_path, kind):
    failing = OneFieldFails()
    object.__setattr__(failing, "error", kind("expected less"))
    summary = segment_fields(find_records(images), tmp_path / "out", failing)
    assert summary.failed == (("b", "field b: expected less"),)
    assert summary.n_done == 2
    rows = pq.read_table(tmp_path / "out" / "fields.parquet").to_pylist()
    assert [row["status"] for row in rows] == ["done", "failed", "done"]
    assert segment_fields(find_records(images), tmp_path / "out", SEGMENTER).n_done == 3


def test_other_missing_stains_are_refused(images, tmp_path, make_segmenter_folder):
    folder = make_segmenter_folder()
    records = find_records(images)[:1]
    segment_fields(records, tmp_path / "out", UnetSegmenter(folder, missing=(Channel.ER,)))
    with pytest.raises(OutputError, match=r"other settings: segmenter_settings\.missing"):
        segment_fields(records, tmp_path / "out", UnetSegmenter(folder))


def test_field_whose_images_changed_is_refused(images, tmp_path, write_quadruplet):
    out = tmp_path / "out"
    segment_fields(find_records(images), out, SEGMENTER)
    write_quadruplet(images, "b", seed=77, shape=(200, 260))
    with pytest.raises(OutputError, match="field b is done, but its images changed"):
        segment_fields(find_records(images), out, SEGMENTER)


def test_other_pixel_size_or_settings_are_refused(images, tmp_path):
    out = tmp_path / "out"
    segment_fields(find_records(images), out, SEGMENTER)
    with pytest.raises(OutputError, match="its pixel size changed"):
        segment_fields(find_records(images, 0.16), out, SEGMENTER)
    other = WatershedSegmenter(SegmentConfig(max_reach_um=10))
    with pytest.raises(
        OutputError, match=r"other settings: segmenter_settings\.max_reach_um \(there"
    ):
        segment_fields(find_records(images), out, other)
    (out / "settings.json").write_text("{", encoding="utf-8")
    with pytest.raises(OutputError, match="damaged"):
        segment_fields(find_records(images), out, SEGMENTER)
    (out / "settings.json").write_text(json.dumps([1]), encoding="utf-8")
    with pytest.raises(OutputError, match="expected settings"):
        segment_fields(find_records(images), out, SEGMENTER)


def test_another_border_policy_is_refused(images, tmp_path):
    out = tmp_path / "out"
    kept = segment_fields(
        find_records(images), out, SEGMENTER, measure=MeasureConfig(border="keep")
    )
    assert kept.n_border == 0
    touches = pq.read_table(out / "cells.parquet")["touches_border"].to_pylist()
    assert kept.n_touching == sum(touches) > 0
    with pytest.raises(OutputError, match=r"border \(there keep, asked for reject\)\. Ask"):
        segment_fields(find_records(images), out, SEGMENTER)


def test_blank_and_swapped_fields_are_done_and_warned_of(images, tmp_path):
    for colour in ("red", "green", "blue", "yellow"):
        cv2.imwrite(str(images / f"b_{colour}.png"), np.zeros((200, 260), np.uint8))
    summary = segment_fields(find_records(images), tmp_path / "out", SEGMENTER)
    assert (summary.n_done, summary.failed) == (3, ())
    told = "no cells found; constant stain: red, green, blue, yellow"
    assert summary.warnings == (("b", told),)
    row = pq.read_table(tmp_path / "out" / "fields.parquet").to_pylist()[1]
    assert (row["status"], row["reason"], row["n_ok"]) == ("done", told, 0)
    assert row["qc_no_cells"]
    assert row["qc_constant_stain"]
    assert row["qc_swapped_stains"] is False
    cells = pq.read_table(tmp_path / "out" / "cells.parquet")
    assert "b" not in cells["fov_id"].to_pylist()
    again = segment_fields(find_records(images), tmp_path / "out", SEGMENTER)
    assert again.warnings == summary.warnings


def test_folder_of_something_else_is_refused_and_left_alone(images):
    with pytest.raises(OutputError, match="expected an empty folder"):
        segment_fields(find_records(images), images, SEGMENTER)
    assert not (images / "settings.json").exists()


def test_workers_below_one_are_refused(tmp_path):
    with pytest.raises(ConfigError, match="--workers: expected 1 or more, got 0"):
        segment_fields([], tmp_path, SEGMENTER, workers=0)


def test_interruption_keeps_finished_fields(images, tmp_path):
    out = tmp_path / "out"

    def stop(done, total, what):
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        segment_fields(find_records(images), out, SEGMENTER, progress=stop)
    whole = segment_fields(find_records(images), out, SEGMENTER)
    assert (whole.n_done, whole.n_kept) == (3, 2)
    segment_fields(find_records(images), tmp_path / "at_once", SEGMENTER)
    assert read_outputs(out) == read_outputs(tmp_path / "at_once")


def test_what_a_killed_process_left_is_no_part(images, tmp_path):
    # pathlib's "*.parquet" finds hidden files too: half a part was read as a finished field
    out = tmp_path / "out"
    segment_fields(find_records(images), out, SEGMENTER)
    leftover = out / "parts" / ".a.77.tmp.parquet"
    leftover.write_bytes(b"half")
    assert segment_fields(find_records(images), out, SEGMENTER).n_done == 3
    assert not leftover.exists()


def test_a_damaged_part_is_named(images, tmp_path):
    out = tmp_path / "out"
    segment_fields(find_records(images), out, SEGMENTER)
    (out / "parts" / "a.parquet").write_bytes(b"junk")
    with pytest.raises(TableError, match=r"a\.parquet.*Delete it and run again"):
        segment_fields(find_records(images), out, SEGMENTER)

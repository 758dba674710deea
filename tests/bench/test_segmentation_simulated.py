"""What the benchmark of segmenters asks, counts and composes."""

import numpy as np
import pytest
import segmentation_simulated as bench

from hpacells.core.fov import FieldOfView
from hpacells.core.masks import CellMasks
from hpacells.segment.watershed import WatershedSegmenter
from hpacells.simulate.cell_lines import CELL_LINES

NAMES = [line.name for line in CELL_LINES]
GOOD = {"fields": 2, "cells": 10, "matched": 10, "extra": 0, "missed": 0}
SECONDS = {"wall_s": 0.1, "cpu_s": 0.1}


def judged(names, **worst):
    return bench.Judged(
        counts={name: dict(GOOD) for name in names[:-1]} | {names[-1]: GOOD | worst},
        scales={factor: [1.0, 0.9] for factor in bench.FACTORS},
        times=[{"total": SECONDS, "post": SECONDS}, {"total": SECONDS, "post": SECONDS}],
    )


def rows(names=NAMES, *, true_cells=150, side=3072, **worst):
    dense = {"true_cells": true_cells, "height_px": side, "width_px": side, "gib": 1.0} | SECONDS
    result = bench.summarise(judged(names, **worst))
    return result, bench.rows_of("unet", result, dense)


def find(table, part):
    (row,) = [row for row in table if part in row["what"]]
    return row


def test_all_lines_are_asked_for():
    assert all(row["met"] is not False for row in rows()[1])
    result, fewer = rows(NAMES[:-1])
    assert not result["all_lines"]
    assert find(fewer, "mean of 16 of 17")["met"] is False
    assert find(fewer, "worst line")["met"] is False


def test_a_bad_line_is_the_worst_one():
    result, table = rows(missed=9)
    assert result["worst_f1"] == pytest.approx(20 / 29)
    assert find(table, "worst line")["met"] is False
    assert find(table, "mean of 17")["met"] is True


@pytest.mark.parametrize("short", [{"true_cells": 149}, {"side": 3000}])
def test_a_field_that_is_not_crowded_meets_nothing(short):
    _, table = rows(**short)
    assert find(table, "(asked: 150 in 3072²), seconds")["met"] is False
    assert find(table, "GiB")["met"] is False


def test_of_the_scales_the_mean_is_asked_of_half_and_twice_only():
    result, table = rows()
    assert result["scales"]["2.0"] == {"mean": 0.95, "worst": 0.9, "fields": [1.0, 0.9]}
    asked = {row["what"]: row["asked"] for row in table if "pixel size" in row["what"]}
    assert [text for text in asked.values() if text] == [">= 0.95"] * 2
    assert len(asked) == 6


def test_the_corner_with_most_cells_is_cut_out_and_slivers_do_not_count(monkeypatch):
    monkeypatch.setattr(bench, "DENSE_PX", 40)
    cells = np.zeros((30, 50), np.int32)
    cells[22:28, 32:36] = 1
    cells[22:28, 40:46] = 2
    cells[2:8, 25:34] = 3  # mostly outside any corner's 20 columns on the right
    found = bench.best_quarter(None, cells)
    assert found.n_cells == 2
    np.testing.assert_array_equal(np.unique(cells[found.rows, found.columns]), [0, 1, 2])
    assert bench.best_quarter(None, cells[:19]) is None


def test_cells_outside_the_frame_are_missed_by_nobody():
    pixels = np.zeros((4, 60, 90), np.uint8)
    true = np.zeros((60, 90), np.int32)
    true[:4, 10:20], true[20:50, 30:60] = 1, 2
    fov = FieldOfView("f", pixels, 0.3, 255)
    blank = WatershedSegmenter()(fov)
    truth = CellMasks(true, np.zeros_like(true), "true", 0.3)
    counts = bench.count(blank, truth, fov, {1})
    assert (counts["cells"], counts["missed"], counts["matched"], counts["extra"]) == (1, 1, 0, 0)
    assert bench.count(truth, truth, fov, {1})["matched"] == 2


def test_pixels_of_another_size_keep_the_field():
    fov = FieldOfView("f", np.full((4, 60, 90), 7, np.uint16), 0.08, 4095)
    other = bench.rescaled(fov, 4.0)
    assert other.pixels.shape == (4, 15, 22)
    assert (other.pixel_size_um, other.max_value) == (0.32, 4095)
    assert (other.pixels == 7).all()

import numpy as np
import pytest
from skimage.draw import polygon2mask

from hpacells.core.mask_parts import find_runs
from hpacells.images.outlines import (
    Outline,
    PathsOf,
    draw_paths,
    read_paths,
    svg_path,
    trace_outlines,
    write_paths,
)


def test_a_rectangle_is_outlined_through_the_middles_of_its_edge_pixels():
    cells = np.zeros((6, 9), np.uint16)
    cells[1:4, 2:7] = 5
    (outline,) = trace_outlines(cells, scale=(1.0, 1.0))
    assert outline.cell_id == 5
    (ring,) = outline.rings
    assert sorted(map(tuple, ring)) == [(2.5, 1.5), (2.5, 3.5), (6.5, 1.5), (6.5, 3.5)]
    assert outline.anchor[1] == 2.5  # the middle row is farthest from the edge


def test_scale_differs_between_x_and_y():
    cells = np.zeros((6, 9), np.int32)
    cells[1:4, 2:7] = 1
    (outline,) = trace_outlines(cells, scale=(2.0, 10.0))
    assert outline.rings[0].max(axis=0).tolist() == [13.0, 35.0]


def test_filling_the_outline_gives_the_cell_back():
    rows, columns = np.indices((60, 90))
    cells = (((rows - 30) / 20) ** 2 + ((columns - 40) / 33) ** 2 < 1).astype(np.int32)
    (outline,) = trace_outlines(cells, scale=(1.0, 1.0))
    filled = polygon2mask(cells.shape, outline.rings[0][:, ::-1] - 0.5)
    assert (filled != (cells == 1)).mean() < 0.03


def test_touching_cells_are_apart_by_the_inset():
    cells = np.ones((20, 40), np.int32)
    cells[:, 20:] = 2
    left, right = trace_outlines(cells, scale=(1.0, 1.0), inset_px=2.0)
    assert left.rings[0][:, 0].max() == 17.5
    assert right.rings[0][:, 0].min() == 22.5


@pytest.mark.parametrize("inset_px", [0.0, 3.0])
def test_a_single_pixel_gets_a_square(inset_px):
    cells = np.zeros((4, 7), np.int32)
    cells[2, 3] = 9
    (outline,) = trace_outlines(cells, scale=(1.0, 1.0), inset_px=inset_px)
    assert outline.rings[0].min(axis=0).tolist() == [3.0, 2.0]
    assert outline.rings[0].max(axis=0).tolist() == [4.0, 3.0]


def test_a_hole_is_a_ring_of_its_own():
    cells = np.ones((20, 30), np.int32)
    cells[8:12, 10:20] = 0
    (outline,) = trace_outlines(cells, scale=(1.0, 1.0))
    assert len(outline.rings) == 2
    assert svg_path(outline).count("M") == 2


def test_no_cells_no_outlines_and_ids_ascend():
    assert list(trace_outlines(np.zeros((5, 8), np.int32), scale=(1.0, 1.0))) == []
    cells = np.array([[7, 7, 0, 3], [7, 7, 0, 3], [0, 0, 0, 3]], np.int32)
    assert [o.cell_id for o in trace_outlines(cells, scale=(1.0, 1.0))] == [3, 7]


def test_tolerance_drops_points():
    rows, columns = np.indices((200, 300))
    cells = ((rows - 100) ** 2 + (columns - 150) ** 2 < 80**2).astype(np.int32)
    (fine,) = trace_outlines(cells, scale=(0.5, 0.5))
    (coarse,) = trace_outlines(cells, scale=(0.5, 0.5), tolerance_px=0.8)
    assert len(coarse.rings[0]) < len(fine.rings[0]) / 3
    assert np.abs(coarse.rings[0].min(axis=0) - fine.rings[0].min(axis=0)).max() <= 0.8


def test_svg_path_rounds_to_a_tenth():
    ring = np.array([[0.04, 1.0], [10.0, 1.26], [3.0, 7.0]])
    assert svg_path(Outline(1, (ring,), (0.0, 0.0))) == "M0 1 10 1.3 3 7Z"


def test_a_name_lies_inside_a_cell_too_thin_for_the_target_s_pixels():
    cells = np.zeros((40, 50), np.int32)
    cells[5, 3:40] = 1  # one pixel of the target is eight of the mask
    cells[11:33, 9:30] = 2
    thin, wide = trace_outlines(cells, scale=(0.125, 0.125))
    for outline in (thin, wide):
        x, y = outline.anchor
        assert cells[int(y / 0.125), int(x / 0.125)] == outline.cell_id
    assert wide.anchor == pytest.approx((2.44, 2.75), abs=1.0)


def test_paths_are_the_outlines_on_a_picture_of_that_size():
    cells = np.zeros((40, 60), np.int32)
    cells[4:30, 5:25], cells[10:36, 30:58] = 3, 8
    drawn = draw_paths(cells, (20, 30), tolerance_px=0.2, inset_px=0.5)
    traced = trace_outlines(cells, scale=(0.5, 0.5), tolerance_px=0.2, inset_px=0.5)
    expected = [(o.cell_id, svg_path(o), o.anchor) for o in traced]
    assert [(path.cell_id, path.d, (path.x, path.y)) for path in drawn] == expected
    known = draw_paths(cells, (20, 30), tolerance_px=0.2, inset_px=0.5, runs=find_runs(cells))
    assert known == drawn
    assert draw_paths(0 * cells, (20, 30)) == []


def test_paths_come_back_as_they_were_written(tmp_path):
    cells = np.zeros((40, 60), np.int32)
    cells[4:30, 5:25], cells[10:36, 30:58] = 3, 8
    drawn, of = draw_paths(cells, (17, 25)), PathsOf(7, 17, 25)
    write_paths(tmp_path / "kept" / "a.json", drawn, of)
    assert read_paths(tmp_path / "kept" / "a.json", of) == drawn
    assert len(drawn) == 2


@pytest.mark.parametrize(
    "of",
    [PathsOf(8, 17, 25), PathsOf(7, 18, 25), PathsOf(7, 17, 25, 0.5), PathsOf(7, 17, 25, 0.6, 0)],
)
def test_paths_of_something_else_are_not_taken(tmp_path, of):
    write_paths(tmp_path / "a.json", [], PathsOf(7, 17, 25))
    assert read_paths(tmp_path / "a.json", PathsOf(7, 17, 25)) == []
    assert read_paths(tmp_path / "a.json", of) is None


@pytest.mark.parametrize(
    "content",
    [b"", b"[]", b"{}", b"\xff", b'{"of": {"mask": 1}, "cells": []}', b'{"of": null}', None],
)
def test_damaged_paths_are_not_taken(tmp_path, content):
    if content is not None:
        (tmp_path / "a.json").write_bytes(content)
    assert read_paths(tmp_path / "a.json", PathsOf(7, 17, 25)) is None

import numpy as np
import pytest

from hpacells.core.cell_table import CellStatus
from hpacells.core.errors import InputError
from hpacells.report.figure import choose_bar_um, draw_overlay, draw_scale_bar
from hpacells.report.marks import CellMark

RED = CellMark(CellStatus.OK, "#ff0000", "Here")


@pytest.fixture
def field():
    cells = np.zeros((120, 200), np.int32)
    cells[20:100, 40:160] = 4
    return np.zeros((60, 100, 3), np.uint8), cells


def test_the_outline_lies_on_the_edge_and_nowhere_else(field):
    rgb, cells = field
    drawn = draw_overlay(rgb, cells, {4: RED}, font_px=0)
    red = drawn[..., 0] > 128
    assert drawn[..., 1:].max() == 0
    rows, columns = np.nonzero(red)
    assert (rows.min(), rows.max()) == (pytest.approx(10, abs=2), pytest.approx(49, abs=2))
    assert (columns.min(), columns.max()) == (pytest.approx(20, abs=2), pytest.approx(79, abs=2))
    assert not red[16:44, 26:74].any()
    assert not rgb.any()  # the input stays


def test_the_name_is_written_inside(field):
    rgb, cells = field
    plain = draw_overlay(rgb, cells, {4: RED}, font_px=0)
    named = draw_overlay(rgb, cells, {4: RED})
    changed = np.argwhere((plain != named).any(axis=-1))
    assert len(changed) > 20
    assert changed.min(axis=0)[0] > 12
    assert changed.max(axis=0)[0] < 48


def test_a_rejected_cell_has_gaps(field):
    rgb, cells = field
    rejected = CellMark(CellStatus.REJECTED, "#ff0000", "")
    border = CellMark(CellStatus.BORDER, "#ff0000", "")
    whole = (draw_overlay(rgb, cells, {4: border}, font_px=0)[..., 0] > 128).sum()
    dashed = (draw_overlay(rgb, cells, {4: rejected}, font_px=0)[..., 0] > 128).sum()
    assert 0.2 * whole < dashed < 0.8 * whole


def test_names_at_the_edge_stay_inside_the_picture():
    cells = np.zeros((60, 200), np.int32)
    cells[20:40, :6] = 1
    drawn = draw_overlay(np.zeros((60, 200, 3), np.uint8), cells, {1: RED})
    assert drawn.shape == (60, 200, 3)
    assert (drawn[20:40, 10:40].max()) > 128


@pytest.mark.parametrize("shape", [(100, 60, 3), (60, 60, 3)])
def test_other_proportions_are_refused(field, shape):
    with pytest.raises(InputError, match="same proportions"):
        draw_overlay(np.zeros(shape, np.uint8), field[1], {4: RED})


def test_a_cell_without_a_mark_is_refused(field):
    with pytest.raises(InputError, match="cell 4"):
        draw_overlay(*field, {5: RED})


@pytest.mark.parametrize(
    ("width_um", "bar_um"), [(163.84, 20.0), (400, 100), (21, 5), (1.0, 0.2), (8.0, 2.0)]
)
def test_choose_bar(width_um, bar_um):
    assert choose_bar_um(width_um) == pytest.approx(bar_um)


def test_the_scale_bar_is_as_long_as_it_says():
    drawn = draw_scale_bar(np.full((120, 400, 3), 60, np.uint8), 0.25)  # 100 µm wide: 20 µm = 80 px
    row = drawn[120 - 14, :, 0]
    assert (row == 255).sum() == 80
    assert np.ptp(np.flatnonzero(row == 255)) == 79


@pytest.mark.parametrize("pixel_size_um", [0.0, -1.0, float("nan")])
def test_the_scale_bar_needs_a_pixel_size(pixel_size_um):
    with pytest.raises(InputError, match="pixel size"):
        draw_scale_bar(np.zeros((50, 80, 3), np.uint8), pixel_size_um)

"""The flags of cells, on drawn arrays and on areas with known answers."""

import numpy as np
import pytest
from pydantic import ValidationError

from hpacells.core.cell_table import CELL_QUALITY_COLUMNS
from hpacells.core.channels import Channel
from hpacells.core.fov import FieldOfView
from hpacells.core.masks import CellMasks
from hpacells.segment.config import QualityConfig
from hpacells.segment.measure import measure_cells
from hpacells.segment.quality import area_outliers

CONFIG = QualityConfig()


def judge(areas, *, whole=None, touches=None):
    areas = np.asarray(areas, float)
    touches = np.zeros(len(areas), np.bool_) if touches is None else np.asarray(touches)
    whole = ~touches if whole is None else np.asarray(whole)
    return area_outliers(areas, whole, touches, config=CONFIG).tolist()


EVEN = [500.0, 520, 480, 510, 490, 505, 495, 500]


def test_areas_far_from_the_fields_own_are_outliers():
    # the least spread, 0.25, times 3.5 is a factor of 2.4: 209 to 1199 µm² around 500
    assert judge([*EVEN, 215.0, 1150.0]) == [False] * 10
    assert judge([*EVEN, 200.0, 1250.0]) == [False] * 8 + [True, True]


def test_uneven_fields_allow_more():
    uneven = [200.0, 300, 400, 500, 600, 800, 1000, 1500]
    assert judge([*uneven, 2500.0]) == [False] * 9


def test_few_cells_are_compared_with_absolute_limits_only():
    assert judge([500.0, 1900, 79, 6001]) == [False, False, True, True]
    assert judge([]) == []


def test_a_cut_cell_is_never_too_small():
    touches = [False] * 8 + [True, True, True]
    areas = [*EVEN, 40.0, 200.0, 1250.0]
    assert judge(areas, touches=touches) == [False] * 10 + [True]


def draw_field(dtype=np.uint8, max_value=255):
    """Three cells at 1 µm: 1 whole, 2 without nucleus, 5 cut by the frame."""
    pixels = np.full((4, 60, 90), 10, dtype)
    cells, nuclei = np.zeros((60, 90), np.int32), np.zeros((60, 90), np.int32)
    cells[10:40, 10:40], nuclei[20:30, 20:30] = 1, 1
    cells[10:40, 50:80] = 2
    cells[45:60, 40:70], nuclei[50:60, 50:60] = 5, 5
    fov = FieldOfView("a", pixels, 1.0, max_value)
    return fov, CellMasks(cells, nuclei, "drawn", 1.0)


def flags_of(fov, masks, name):
    assert name in CELL_QUALITY_COLUMNS
    return measure_cells(fov, masks).table[name].to_pylist()


def test_border_and_nucleus_are_said():
    fov, masks = draw_field()
    assert flags_of(fov, masks, "qc_cut_by_border") == [False, False, True]
    assert flags_of(fov, masks, "qc_no_nucleus") == [False, True, False]
    for name in ("qc_area_outlier", "qc_out_of_focus", "qc_saturated", "qc_suspected_merge"):
        assert flags_of(fov, masks, name) == [False] * 3


@pytest.mark.parametrize("stain", [Channel.MICROTUBULES, Channel.PROTEIN, Channel.ER])
@pytest.mark.parametrize(
    ("dtype", "max_value"), [(np.uint8, 255), (np.uint16, 4095), (np.uint16, 65535)]
)
def test_more_than_a_twentieth_at_full_scale_is_saturated(stain, dtype, max_value):
    fov, masks = draw_field(dtype, max_value)
    plane = fov.channel(stain)
    plane[50:58, 0:30] = max_value  # outside of all cells
    plane[10:12, 10:32] = max_value  # 44 of 900 pixels
    plane[10:12, 50:73] = 0.99 * max_value  # 46 of 900
    assert flags_of(fov, masks, "qc_saturated") == [False, True, False]


def test_the_nucleus_stain_counts_inside_the_nucleus():
    fov, masks = draw_field()
    plane = fov.channel(Channel.NUCLEUS)
    plane[10:20] = 255  # much of the first two cells, none of their nuclei
    plane[50:53, 50:59] = 255  # 27 of 100 pixels
    assert flags_of(fov, masks, "qc_saturated") == [False, False, True]


@pytest.mark.parametrize("pixel_um", [0.005, 0.08, 5.0])
@pytest.mark.parametrize("shape", [(1, 1), (1, 7), (20_000, 3)])
def test_any_size_and_pixel_size_has_flags(shape, pixel_um):
    fov = FieldOfView("a", np.full((4, *shape), 255, np.uint8), pixel_um, 255)
    ids = np.ones(shape, np.int32)
    (row,) = measure_cells(fov, CellMasks(ids, ids, "drawn", pixel_um)).table.to_pylist()
    assert row["qc_cut_by_border"]
    assert row["qc_saturated"]
    assert not row["qc_no_nucleus"]
    assert not row["qc_out_of_focus"]
    assert not row["qc_suspected_merge"]


def test_ranges_must_rise():
    with pytest.raises(ValidationError, match="area_range_um2: expected 0 <= least < most"):
        QualityConfig(area_range_um2=(100, 50))
    with pytest.raises(ValidationError, match="nucleus_area_range_um2: expected"):
        QualityConfig(nucleus_area_range_um2=(700, 700))

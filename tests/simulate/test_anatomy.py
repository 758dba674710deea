"""Curves that a cell's anatomy gives."""

import numpy as np
import pytest


def test_light_falls_from_the_nucleus_by_a_factor_of_e_a_length(interphase):
    cell = interphase[0].anatomy
    fall = cell.fall_from_nucleus(2.0)
    assert fall.dtype == np.float32
    assert fall[cell.nucleus_depth_um >= 0].min() == 1.0
    outside = cell.nucleus_depth_um < 0
    assert fall[outside] == pytest.approx(np.exp(cell.nucleus_depth_um[outside] / 2), rel=1e-4)
    assert (cell.nucleus_depth_um[outside] < 0).all()  # the map itself is not changed

"""Specks go, unless the frame cuts them."""

import numpy as np
import pytest

from hpacells.segment.debris import drop_debris


def draw():
    ids = np.zeros((12, 20), np.int32)
    ids[3:6, 3:7] = 9  # 12 pixels
    ids[8:11, 3:6] = 2  # 9
    ids[4, 19] = 5  # 1, cut on the right
    ids[11, 10:12] = 7  # 2, cut below
    ids[0, 0], ids[6, 0] = 3, 4
    return ids


@pytest.mark.parametrize(
    ("least_px", "kept"),
    [(1, [2, 3, 4, 5, 7, 9]), (9.5, [3, 4, 5, 7, 9]), (100, [3, 4, 5, 7])],
)
def test_small_ones_inside_the_frame_go(least_px, kept):
    ids = draw()
    found = drop_debris(ids, least_px)
    assert found.dtype == np.int32
    np.testing.assert_array_equal(found, np.where(np.isin(ids, kept), ids, 0))


def test_turned_the_same_go():
    np.testing.assert_array_equal(drop_debris(draw().T, 10), drop_debris(draw(), 10).T)


@pytest.mark.parametrize("shape", [(1, 1), (1, 7), (6, 4)])
def test_no_ids_stay_none(shape):
    assert not drop_debris(np.zeros(shape, np.int32), 5).any()

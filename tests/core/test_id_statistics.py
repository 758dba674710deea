"""Against counting pixels, id by id."""

import numpy as np
import pytest

from hpacells.core.id_statistics import (
    boxes_of_ids,
    centroids_of_ids,
    pixels_of_ids,
    sum_over_ids,
)
from hpacells.core.mask_parts import find_runs


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("seed", range(6))
def test_against_counting_pixels(seed, dtype):
    rng = np.random.default_rng(seed)
    shape, filled = (13 + seed, 29), rng.choice([0.3, 0.9, 1.0])
    ids = (rng.integers(1, 5, shape) * (rng.random(shape) < filled)).astype(np.int32)
    ids[ids == 3] = 6  # 3 and 5 are not there
    grey = rng.integers(0, np.iinfo(dtype).max, shape, dtype=dtype, endpoint=True)
    runs, n = find_runs(ids), 8
    for i in range(1, n):
        rows, columns = np.nonzero(ids == i)
        assert pixels_of_ids(runs, n)[i] == rows.size
        assert sum_over_ids(runs, grey, n)[i] == grey[ids == i].sum(dtype=np.int64)
        if rows.size == 0:
            assert boxes_of_ids(runs, n)[i].tolist() == [0, 0, 0, 0]
            assert np.isnan(centroids_of_ids(runs, n)[i]).all()
            continue
        box = [rows.min(), columns.min(), rows.max() + 1, columns.max() + 1]
        assert boxes_of_ids(runs, n)[i].tolist() == box
        middle = [rows.mean() + 0.5, columns.mean() + 0.5]
        assert centroids_of_ids(runs, n)[i].tolist() == pytest.approx(middle, abs=1e-12)


def test_bright_rows_of_sixteen_bits_do_not_wrap_around():
    ids = np.ones((3, 65536), np.int32)
    grey = np.full(ids.shape, 65535, np.uint16)
    assert sum_over_ids(find_runs(ids), grey, 2)[1] == 3 * 65536 * 65535


@pytest.mark.parametrize("shape", [(0, 0), (1, 1), (3, 7)])
def test_an_image_without_ids(shape):
    runs = find_runs(np.zeros(shape, np.int32))
    assert pixels_of_ids(runs, 2).tolist() == [0, 0]
    assert sum_over_ids(runs, np.zeros(shape, np.uint8), 2).tolist() == [0, 0]
    assert not boxes_of_ids(runs, 2).any()
    assert np.isnan(centroids_of_ids(runs, 2)).all()

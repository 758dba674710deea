"""Parts of label images from runs."""

import cv2
import numpy as np
import pytest

from hpacells.core.mask_parts import find_runs, first_in_parts, keep_largest_parts


def test_drawn_runs_and_parts():
    ids = np.array(
        [
            [1, 1, 0, 2, 2],
            [0, 0, 1, 0, 2],
            [3, 0, 0, 0, 2],
            [0, 0, 3, 1, 0],
        ]
    )
    runs = find_runs(ids)
    assert runs.ids.tolist() == [1, 2, 1, 2, 3, 2, 3, 1]
    assert runs.start.tolist() == [0, 3, 7, 9, 10, 14, 17, 18]
    assert (runs.stop - runs.start).tolist() == [2, 2, 1, 1, 1, 1, 1, 1]
    groups = {}
    for part, cell_id in zip(runs.part.tolist(), runs.ids.tolist(), strict=True):
        groups.setdefault(cell_id, set()).add(part)
    # 1: corners join two runs, the third is apart; 2: one part; 3: two columns apart
    assert {cell_id: len(parts) for cell_id, parts in groups.items()} == {1: 2, 2: 1, 3: 2}
    assert first_in_parts(find_runs(ids)) == 1
    kept = keep_largest_parts(ids)
    assert kept[3, 3] == 0
    assert (kept[2, 0], kept[3, 2]) == (3, 0)  # of equals the first
    assert first_in_parts(find_runs(kept)) is None


def test_rows_do_not_run_into_each_other():
    ids = np.array([[0, 0, 4], [4, 0, 0], [0, 0, 0]])
    assert find_runs(ids).start.tolist() == [2, 3]
    assert first_in_parts(find_runs(ids)) == 4


@pytest.mark.parametrize("seed", range(6))
def test_against_labelling_pixels(seed):
    rng = np.random.default_rng(seed)
    ids = (rng.integers(1, 4, (17, 23)) * (rng.random((17, 23)) < 0.6)).astype(np.int32)
    kept = keep_largest_parts(ids)
    broken = []
    for cell_id in range(1, 4):
        mask = (ids == cell_id).astype(np.uint8)
        count, parts, stats, _ = cv2.connectedComponentsWithStats(mask, connectivity=8)
        if count > 2:
            broken.append(cell_id)
        sizes = stats[1:, cv2.CC_STAT_AREA]
        assert (kept == cell_id).sum() == sizes.max()
        part = parts[kept == cell_id]
        assert part.min() == part.max()
    assert first_in_parts(find_runs(ids)) == min(broken, default=None)
    assert first_in_parts(find_runs(kept)) is None


@pytest.mark.parametrize("shape", [(0, 0), (1, 1), (1, 7), (7, 1)])
def test_next_to_nothing(shape):
    empty, full = np.zeros(shape, np.int32), np.ones(shape, np.int32)
    assert find_runs(empty).ids.size == 0
    assert first_in_parts(find_runs(empty)) is first_in_parts(find_runs(full)) is None
    assert keep_largest_parts(empty) is empty
    assert keep_largest_parts(full) is full

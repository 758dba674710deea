"""Overlaps of two label images."""

import numpy as np
import pytest

from hpacells.core.errors import ImageError
from hpacells.evaluate.label_overlap import overlap_labels


def test_a_drawn_overlap():
    found = np.array([[5, 5, 0, 9], [5, 0, 0, 9]])
    true = np.array([[2, 2, 2, 0], [0, 0, 0, 7]])
    overlap = overlap_labels(found, true, "here")
    assert overlap.found_ids.tolist() == [5, 9]
    assert overlap.true_ids.tolist() == [2, 7]
    assert overlap.found_areas.tolist() == [3, 2]
    assert overlap.true_areas.tolist() == [3, 1]
    pairs = zip(overlap.found_at, overlap.true_at, overlap.shared, strict=True)
    assert [tuple(map(int, pair)) for pair in pairs] == [(0, 0, 2), (1, 1, 1)]
    assert overlap.iou.tolist() == [0.5, 0.5]
    assert overlap.match(0.5).tolist() == [0, 1]
    assert overlap.match(0.55).size == 0


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int32, np.int64])
def test_against_counting_pixels(dtype):
    rng = np.random.default_rng(3)
    found = rng.integers(0, 5, (13, 17)).repeat(3, axis=1).astype(dtype)
    true = rng.integers(0, 4, (13, 51)).astype(dtype)
    overlap = overlap_labels(found, true, "here")
    expected = [
        (f, t, int(((found == f) & (true == t)).sum())) for f in range(1, 5) for t in range(1, 4)
    ]
    got = zip(
        overlap.found_ids[overlap.found_at],
        overlap.true_ids[overlap.true_at],
        overlap.shared,
        strict=True,
    )
    assert [tuple(map(int, pair)) for pair in got] == [pair for pair in expected if pair[2]]
    assert overlap.found_areas.tolist() == [int((found == f).sum()) for f in range(1, 5)]


def test_large_ids_cost_no_memory():
    ids = np.array([[2**31 - 1, 0, 65535]], np.int64)
    overlap = overlap_labels(ids, ids, "here")
    assert overlap.found_ids.tolist() == [65535, 2**31 - 1]
    assert overlap.match(1.0).tolist() == [0, 1]


def test_empty_images_and_other_shapes():
    nothing = overlap_labels(np.zeros((3, 4), int), np.zeros((3, 4), int), "here")
    assert nothing.found_ids.size == nothing.shared.size == nothing.match(0.5).size == 0
    with pytest.raises(ImageError, match=r"field a: .* one shape"):
        overlap_labels(np.zeros((3, 4), int), np.zeros((4, 3), int), "field a")

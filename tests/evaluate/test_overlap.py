import numpy as np
import pytest

from hpacells.core.mask_text import decode_masks, encode_mask
from hpacells.evaluate.overlap import intersection_areas


def runs_of(masks, shape):
    texts = [encode_mask(mask) for mask in masks]
    return decode_masks(texts, height=shape[0], width=shape[1], where=str)


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("overlapping", [False, True])
def test_shared_pixels_are_those_of_full_masks(seed, overlapping):
    rng = np.random.default_rng(seed)
    shape = (int(rng.integers(1, 30)), int(rng.integers(1, 30)))
    found = [rng.random(shape) < rng.random() for _ in range(5)]
    labels = np.repeat(rng.integers(0, 4, shape), 1, 0)
    truths = [labels == k for k in range(5)]  # the fifth is empty
    if overlapping:
        truths += [rng.random(shape) < 0.5 for _ in range(3)] + truths[:1]
    shared = intersection_areas(runs_of(found, shape), runs_of(truths, shape))
    expected = [[int((f & t).sum()) for t in truths] for f in found]
    np.testing.assert_array_equal(shared, expected)


def test_no_masks_share_nothing():
    some, none = runs_of([np.ones((3, 4), bool)], (3, 4)), runs_of([], (3, 4))
    assert intersection_areas(some, none).shape == (1, 0)
    assert intersection_areas(none, some).shape == (0, 1)
    empty = runs_of([np.zeros((3, 4), bool)], (3, 4))
    assert intersection_areas(some, empty).tolist() == [[0]]

"""Averages over areas: drawn ones, and OpenCV's as the reference."""

import cv2
import numpy as np
import pytest

from hpacells.core.shrink import shrink


def test_drawn_averages():
    image = np.array([[0, 4, 8], [0, 4, 8]], np.uint8)
    assert shrink(image, (1, 1)).tolist() == [[4]]
    halves = shrink(image, (2, 2))  # the middle column belongs to both, by half
    assert halves == pytest.approx(np.array([[4 / 3, 20 / 3]] * 2))
    assert shrink(image, (2, 3)).tolist() == image.tolist()


@pytest.mark.parametrize("kind", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize(
    ("before", "after"),
    [
        ((64, 96), (16, 24)),
        ((64, 96), (4, 6)),
        ((64, 64), (2, 2)),
        ((60, 36), (10, 6)),
        ((64, 48), (32, 16)),
        ((101, 67), (33, 40)),
        ((101, 67), (101, 21)),
        ((50, 1), (7, 1)),
        ((9, 400), (1, 3)),
    ],
)
def test_it_is_opencvs_area_average(kind, before, after):
    top = 255 if kind == np.uint8 else 65535
    image = np.random.default_rng(0).integers(0, top, before, endpoint=True).astype(kind)
    exact = cv2.resize(image.astype(np.float64), after[::-1], interpolation=cv2.INTER_AREA)
    found = shrink(image, after)
    assert found.dtype == np.float32
    assert found.shape == after
    assert found == pytest.approx(exact.reshape(after), abs=2e-6 * top)


@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
def test_halving_loses_nothing(kind):
    top = np.iinfo(kind).max
    image = np.random.default_rng(1).integers(top - 9, top, (64, 32), kind, endpoint=True)
    blocks = image.reshape(4, 16, 2, 16).astype(np.float64)
    assert np.array_equal(shrink(image, (4, 2)), blocks.mean(axis=(1, 3)).astype(np.float32))

"""Images brought down by averaging over areas, in half the time that OpenCV takes.

By twos an image is halved again and again, which OpenCV does fast. By anything else it is
multiplied by two sparse matrices of shares, rows first: OpenCV's ``INTER_AREA`` is this very sum,
columns first and pixel by pixel. The two agree but for the rounding of float32.
"""

import math
from functools import lru_cache
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_array

__all__ = ["shrink"]

_MOST_EXACT = 4
"""Halvings: the sum of so many times four pixels of one byte fits into two."""

_LEAST_OVERLAP = 1e-3
"""Of a pixel: OpenCV leaves out less, and so does this."""

_STRIP_PX = 128
"""Columns that are shrunk at a time: few enough to stay in a core's cache."""


def shrink(image: npt.NDArray[np.generic], shape: tuple[int, int]) -> npt.NDArray[np.float32]:
    """Average an image over areas.

    Parameters
    ----------
    image
        ``(H, W)`` of any unit.
    shape
        Rows and columns wanted, neither more than the image has.

    Returns
    -------
    ndarray
        ``shape`` float32, not rounded to whole grey values; may be ``image`` itself.
    """
    halvings = _count_halvings(image.shape, shape)
    grey: npt.NDArray[Any] = image
    if halvings and image.dtype == np.uint8 and halvings <= _MOST_EXACT:
        # sums in two bytes stay whole numbers; four bytes for each pixel take twice the time
        sums = _halve(np.multiply(image, 4**halvings, dtype=np.uint16), halvings)
        grey = sums.astype(np.float32) / np.float32(4**halvings)
    elif halvings or image.shape == shape:
        grey = _halve(image.astype(np.float32, copy=False), halvings)
    if grey.shape == shape:
        return grey
    rows, columns = map(_shares, grey.shape, shape)
    upright = np.empty((grey.shape[1], shape[0]), np.float32)
    for first in range(0, grey.shape[1], _STRIP_PX):
        strip = slice(first, first + _STRIP_PX)
        upright[strip] = _transpose(rows @ grey[:, strip].astype(np.float32))
    return _transpose(columns @ upright)


def _count_halvings(before: tuple[int, ...], after: tuple[int, int]) -> int:
    """Say how often both sides can be halved on the way; 0 where that does not lead there."""
    if any(long % short for long, short in zip(before, after, strict=True)):
        return 0
    fold = math.gcd(before[0] // after[0], before[1] // after[1])
    return (fold & -fold).bit_length() - 1  # the twos in it


def _halve(image: npt.NDArray[Any], times: int) -> npt.NDArray[Any]:
    for _ in range(times):
        half = (image.shape[0] // 2, image.shape[1] // 2)
        image = cv2.resize(image, half[::-1], interpolation=cv2.INTER_AREA).reshape(half)
    return image


@lru_cache(maxsize=16)
def _shares(before: int, after: int) -> csr_array:
    """Give the share of every pixel in the averages along one axis, ``(after, before)``."""
    step = before / after
    start = np.arange(after)[:, None] * step
    pixel = start.astype(np.int64) + np.arange(int(step) + 2)
    overlap = np.minimum(pixel + 1, start + step) - np.maximum(pixel, start)
    counts = (overlap > _LEAST_OVERLAP) & (pixel < before)
    place = np.nonzero(counts)[0], pixel[counts]
    shares = (overlap[counts] / step).astype(np.float32)
    return csr_array((shares, place), shape=(after, before))


def _transpose(image: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    turned = cv2.transpose(image)  # numpy's copy takes longer
    return turned.reshape(image.shape[::-1]).astype(np.float32, copy=False)

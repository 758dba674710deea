"""What is done to every stain on the working grid: smoothing, stretching, closing gaps."""

from collections.abc import Sequence

import cv2
import numpy as np
import numpy.typing as npt

__all__ = [
    "blur",
    "bright_end",
    "brightest_level",
    "close_gaps",
    "cut_threads",
    "percentiles",
    "stretch",
]

_SPARSE = 4.0
"""How many times brighter than the bright end something is that a sparse field is about."""

_NOISE = 4.0
"""A bright end this many times farther from the median than the dark end is no background."""

_SAMPLE_STEP = 16


def blur(image: npt.NDArray[np.floating], sigma_px: float) -> npt.NDArray[np.float32]:
    """Smooth by a Gaussian; the frame is continued by its mirror image."""
    image = image.astype(np.float32, copy=False)
    if sigma_px < 0.2:
        return image
    smooth: npt.NDArray[np.float32] = cv2.GaussianBlur(
        image, (0, 0), sigma_px, borderType=cv2.BORDER_REFLECT
    ).astype(np.float32, copy=False)
    return smooth.reshape(image.shape)


def stretch(
    image: npt.NDArray[np.float32], min_contrast: float, *, least_px: float
) -> npt.NDArray[np.float32] | None:
    """Bring a stain to 0 (background) … 1 (its bright end), or None where it is blank.

    The bright end is what one pixel of 200 exceeds. In a large field with a single cell those are
    background too; then the end is that of the brightest ``least_px``.

    Parameters
    ----------
    image
        ``(h, w)`` float32, shares of the full scale.
    min_contrast
        Least span between background and bright end, share of the full scale.
    least_px
        Pixels of the smallest thing that is to be seen.
    """
    low, middle, high = percentiles(image, (2.0, 50.0, 99.5))
    brightest = brightest_level(image, least_px / 2)  # its brighter half: the edges are blurred
    high = bright_end(low, middle, high, brightest=brightest, min_contrast=min_contrast)
    if high - low < min_contrast:
        return None
    return np.clip((image - np.float32(low)) / np.float32(high - low), 0.0, 1.0)


def percentiles(image: npt.NDArray[np.float32], shares: Sequence[float]) -> list[float]:
    """Give percentiles of grey values, as ``numpy.percentile``.

    All values are sorted: a third of the time that picking out a few places takes.
    """
    values = np.sort(image, axis=None)
    found = []
    for share in shares:
        place = share / 100 * (values.size - 1)
        below = int(place)
        low, high = values[below], values[min(below + 1, values.size - 1)]
        part, step = place - below, float(high - low)
        found.append(float(low) + part * step if part < 0.5 else float(high) - (1 - part) * step)
    return found


def brightest_level(image: npt.NDArray[np.float32], area_px: float) -> float:
    """Give the grey value that this many pixels reach or exceed."""
    n = max(1, round(area_px))
    values = image.ravel()
    sample = np.sort(values[::_SAMPLE_STEP])
    bright = values[values >= sample[-1 - min(2 * n // _SAMPLE_STEP, sample.size - 1)]]
    if bright.size >= n:  # else the sample was of brighter pixels than most
        values = bright
    place = max(0, values.size - n)
    # with a single place numpy takes another way, thirty times slower where many values are equal
    return float(np.partition(values, [max(0, place - 1), place])[place])


def bright_end(
    low: float, middle: float, high: float, *, brightest: float, min_contrast: float
) -> float:
    """Choose the bright end of a stain: ``high``, or ``brightest`` where a field is sparse.

    Parameters
    ----------
    low, middle, high
        Percentiles of the stain: its dark end, its median and its bright end as a rule.
    brightest
        Level of the smallest thing that is to be seen.
    min_contrast
        Least span that isn't noise, in the same unit.

    Returns
    -------
    float
        ``brightest`` where all up to ``high`` is background and it is far brighter than that.
    """
    is_background = high - middle <= _NOISE * max(middle - low, min_contrast / 2)
    return brightest if is_background and brightest - low > _SPARSE * (high - low) else high


def _disk(radius_px: float) -> npt.NDArray[np.uint8]:
    """Make a disk of this radius as a structuring element of odd side."""
    side = 2 * max(0, round(radius_px)) + 1
    disk: npt.NDArray[np.uint8] = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side)).astype(
        np.uint8
    )
    return disk


def close_gaps(mask: npt.NDArray[np.bool_], radius_px: float) -> npt.NDArray[np.bool_]:
    """Close gaps up to twice the radius; the frame closes nothing."""
    closed = cv2.morphologyEx(mask.astype(np.uint8), cv2.MORPH_CLOSE, _disk(radius_px))
    return closed.reshape(mask.shape) > 0


def cut_threads(mask: npt.NDArray[np.bool_], radius_px: float) -> npt.NDArray[np.bool_]:
    """Cut what is thinner than twice the radius; the frame cuts nothing."""
    opened = cv2.morphologyEx(mask.astype(np.uint8), cv2.MORPH_OPEN, _disk(radius_px))
    return opened.reshape(mask.shape) > 0

"""Whether a stain shows anything of the size of cells, or is a camera's noise."""

from functools import lru_cache

import cv2
import numpy as np
import numpy.typing as npt

from hpacells.core.shrink import shrink
from hpacells.segment.stains import blur, brightest_level

__all__ = ["has_structure"]

_COARSE_UM = 1.0
"""Structure is looked for on pixels of about this size."""

_BAND_UM = (2.0, 20.0)
"""Standard deviations of the two Gaussians whose difference is the band of cells and nuclei."""

_FAR_STEP = 4

_LEAST_SHARE = 0.12
"""White noise has 0.04 to 0.07 of its deviation in the band, stains of real and simulated fields
0.5 to 0.8, a field with a single cell 0.3 and more."""

_LEAST_SHARE_PER_UM = 0.28
"""In coarse fields more of the noise is in the band: twice sqrt(1 / pi) / (2 * 2 µm), the share of
white noise that passes a Gaussian of 2 µm, per µm of a pixel."""

_SMALLEST_SHARE, _SMALLEST_UM2 = 0.002, 50.0
"""What is smaller, as a share of the field and in µm², may be as bright as it likes."""

_LEAST_SIDE_UM = 40.0
"""A smaller field may be all within one cell."""

_ROUNDING = 1e-6


def has_structure(
    image: npt.NDArray[np.float32],
    pixel_um: float,
    *,
    source_um: float,
    least: float = _LEAST_SHARE,
) -> bool:
    """Say whether a stain varies at the scale of cells more than noise of its contrast would.

    Uneven light doesn't count: a cubic surface is taken off first, then what varies over more
    than 20 µm.

    Parameters
    ----------
    image
        ``(h, w)`` float32, any unit.
    pixel_um
        µm per pixel of it.
    source_um
        µm per pixel that it was taken at; larger where it was enlarged.
    least
        Share of the deviation that has to be in the band.

    Returns
    -------
    bool
        True for all but a constant one where that cannot be told: a side below 40 µm, or more than
        2 µm per pixel.
    """
    too_small = min(image.shape) * pixel_um < _LEAST_SIDE_UM
    if too_small or source_um > _BAND_UM[0]:
        return bool(np.ptp(image) > 0)
    ratio = max(1.0, _COARSE_UM / pixel_um)
    fine_px, wide_px = (sigma_um / (ratio * pixel_um) for sigma_um in _BAND_UM)
    coarse_shape = (max(1, round(image.shape[0] / ratio)), max(1, round(image.shape[1] / ratio)))
    coarse = shrink(image, coarse_shape)
    surface = _fit_surface(coarse)
    # what varies so slowly is smoothed on pixels four times as large, next to nothing of the work
    far_shape = (max(1, coarse_shape[0] // _FAR_STEP), max(1, coarse_shape[1] // _FAR_STEP))
    far = shrink(coarse - _draw_surface(surface, coarse_shape), far_shape)
    wide = blur(far, wide_px / _FAR_STEP)
    flat = image - _draw_surface(surface, image.shape) - _enlarge(wide, image.shape)
    # hot pixels are no structure, a lone cell is
    smallest_px = min(_SMALLEST_SHARE * flat.size, _SMALLEST_UM2 / pixel_um**2)
    flat = np.minimum(flat, np.float32(brightest_level(flat, smallest_px)))
    band = blur(shrink(flat, coarse_shape), fine_px)
    least = max(least, _LEAST_SHARE_PER_UM * source_um)
    return float(band.std()) > max(least * float(flat.std()), _ROUNDING)


def _enlarge(image: npt.NDArray[np.float32], shape: tuple[int, ...]) -> npt.NDArray[np.float32]:
    enlarged = cv2.resize(image, shape[::-1], interpolation=cv2.INTER_LINEAR)
    return enlarged.astype(np.float32, copy=False).reshape(shape)


def _fit_surface(image: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    """Fit a polynomial by least squares; ``(4, 4)``, by powers of row and column, up to the third.

    The powers are taken one axis after the other: cheap, and exact on a full grid.
    """
    down, across = (_inverse_powers(side) for side in image.shape)
    coefficients: npt.NDArray[np.float64] = down @ image @ across.T
    return coefficients


def _draw_surface(
    coefficients: npt.NDArray[np.float64], shape: tuple[int, ...]
) -> npt.NDArray[np.float32]:
    down, across = (_powers(side) for side in shape)
    return (down @ coefficients @ across.T).astype(np.float32)


@lru_cache(maxsize=16)
def _powers(side: int) -> npt.NDArray[np.float64]:
    """Give the powers 0 to 3 of the places of pixels, from -1 to 1: ``(side, 4)``."""
    powers: npt.NDArray[np.float64] = np.vander((2 * np.arange(side) + 1) / side - 1, 4)
    powers.setflags(write=False)
    return powers


@lru_cache(maxsize=16)
def _inverse_powers(side: int) -> npt.NDArray[np.float64]:
    inverse = np.asarray(np.linalg.pinv(_powers(side)), np.float64)
    inverse.setflags(write=False)
    return inverse

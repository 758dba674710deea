"""Lines and spots with their sizes in µm, and places to put them, at any pixel size."""

from collections.abc import Sequence

import cv2
import numpy as np
import numpy.typing as npt

from hpacells.simulate.texture import FloatImage

__all__ = ["draw_spots", "draw_strokes", "pick_places"]

_FRACTION_BITS = 4
_LAYERS = 4
_SMALLEST_SPOT_PX = 0.5  # standard deviation below which pixels would miss a spot
_SPOT_REACH = 3.5  # standard deviations at which a spot is cut off


def draw_strokes(
    shape: tuple[int, int],
    paths: Sequence[npt.NDArray[np.float64]],
    *,
    levels: npt.NDArray[np.float64],
    width_um: float,
    pixel_um: float,
) -> FloatImage:
    """Draw bending lines that add up where they cross.

    Parameters
    ----------
    shape
        Rows and columns of the result.
    paths
        Each ``(n, 2)``, row and column in pixels.
    levels
        ``(len(paths),)`` brightness 0-1 of each.
    width_um
        Width of a line; at least one pixel is drawn, with its brightness lowered for it.
    pixel_um
        µm per pixel.

    Returns
    -------
    ndarray
        ``shape`` float32; a single line of level 1 and of at least a pixel's width has about 1.
    """
    total = np.zeros(shape, np.float32)
    thickness = max(1, round(width_um / pixel_um))
    gain = min(1.0, width_um / (thickness * pixel_um))
    if len(paths) == 0:
        return total
    ends = np.cumsum([0, *(len(path) for path in paths)]).tolist()
    points = np.rint(np.concatenate(paths)[:, ::-1] * (1 << _FRACTION_BITS)).astype(np.int32)
    points = np.ascontiguousarray(points)
    greys = (255 * np.clip(levels, 0.0, 1.0)).astype(int).tolist()
    for layer in range(_LAYERS):
        canvas = np.zeros(shape, np.uint8)
        for k in range(layer, len(paths), _LAYERS):
            if ends[k + 1] - ends[k] < 2:
                continue
            cv2.polylines(
                canvas,
                [points[ends[k] : ends[k + 1]]],
                isClosed=False,
                color=greys[k],
                thickness=thickness,
                lineType=cv2.LINE_AA,
                shift=_FRACTION_BITS,
            )
        cv2.accumulate(canvas, total)
    total *= np.float32(gain / 255.0)
    return total


def draw_spots(
    shape: tuple[int, int],
    centres: npt.NDArray[np.float64],
    *,
    sigmas_um: npt.NDArray[np.float64],
    levels: npt.NDArray[np.float64],
    pixel_um: float,
) -> FloatImage:
    """Draw round Gaussian spots of a given peak brightness.

    Parameters
    ----------
    shape
        Rows and columns of the result.
    centres
        ``(n, 2)`` row and column in pixels; those outside are left out.
    sigmas_um
        ``(n,)`` radius at which a spot has 61 % of its peak; at least half a pixel is drawn, with
        the peak lowered for it, so that the amount of light stays.
    levels
        ``(n,)`` peak brightness.
    pixel_um
        µm per pixel.
    """
    if len(centres) == 0:
        return np.zeros(shape, np.float32)
    sigmas = np.maximum(sigmas_um / pixel_um, _SMALLEST_SPOT_PX)
    peaks = (levels * np.minimum(1.0, sigmas_um / pixel_um / sigmas) ** 2).astype(np.float32)
    reaches = np.ceil(_SPOT_REACH * sigmas).astype(int)
    middles = centres.astype(int)
    shown = (middles + reaches[:, None] >= 0) & (middles - reaches[:, None] < shape)
    margin = 2 * int(reaches.max()) + 1
    wide = np.zeros((shape[0] + 2 * margin, shape[1] + 2 * margin), np.float32)
    for reach in np.unique(reaches).tolist():  # spots of a size share their arithmetic
        group = np.flatnonzero((reaches == reach) & shown.all(axis=1))
        apart = (middles[group] - centres[group])[..., None] + np.arange(-reach, reach + 1)
        apart /= sigmas[group, None, None]
        profiles = np.exp(-0.5 * np.square(apart.astype(np.float32)))
        profiles[:, 0] *= peaks[group, None]
        corners = (middles[group] - reach + margin).tolist()
        side = 2 * reach + 1
        for (r0, c0), (down, right) in zip(corners, profiles, strict=True):
            wide[r0 : r0 + side, c0 : c0 + side] += down[:, None] * right
    return wide[margin:-margin, margin:-margin]


def pick_places(
    weights: FloatImage, count: int, rng: np.random.Generator, *, step: int = 1
) -> npt.NDArray[np.float64]:
    """Draw places in proportion to a map.

    Parameters
    ----------
    weights
        ``(h, w)``, none negative.
    count
        How many; none are given where the map is empty.
    rng
        Source of the places.
    step
        Look at every so many pixels only, and spread the places evenly in between: faster.

    Returns
    -------
    ndarray
        ``(count, 2)`` or ``(0, 2)`` float64, row and column in pixels.
    """
    coarse = weights[::step, ::step]
    cumulated = np.cumsum(coarse, dtype=np.float64)
    if cumulated.size == 0 or cumulated[-1] <= 0:
        return np.zeros((0, 2))
    picks = np.searchsorted(cumulated, rng.random(count) * cumulated[-1], side="right")
    picks = np.minimum(picks, cumulated.size - 1)
    corners = np.stack(np.unravel_index(picks, coarse.shape), axis=1)
    return (corners + rng.random((count, 2)) - 0.5) * step

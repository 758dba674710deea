"""Whether the nuclei are where they should be, or stand in another stain.

Nuclei are compact shapes of one size, and hardly any of their stain lies outside them. A stain is
taken for the nucleus stain in place of the one that should be it when

- its shapes are like nuclei by far more often than those of the nucleus stain, or
- both look like nuclei (a nuclear protein), but part of the supposed nucleus stain lies outside of
  the nuclei of both, and of the other stain nothing does.

What this cannot see: microtubules, ER and a protein of the cytoplasm exchanged among each other,
and the nucleus stain exchanged with a protein that is in the nucleus and nowhere else.
"""

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt
from skimage.filters import threshold_otsu

from hpacells.core.channels import CHANNELS, Channel
from hpacells.core.fov import FieldOfView
from hpacells.core.shrink import shrink
from hpacells.segment.config import QualityConfig
from hpacells.segment.resolution import WorkingScale
from hpacells.segment.stain_input import stain_on_grid
from hpacells.segment.stains import blur, cut_threads, percentiles

__all__ = ["find_misplaced_nuclei"]

_BLUR_UM = 0.8
_LEVEL = 0.6
"""Edge of a shape, as a share of Otsu's threshold."""
_THREAD_UM = 2.0
"""Shapes are parted where they are thinner than twice this."""
_MIN_SOLIDITY = 0.9
_MAX_AXIS_RATIO = 2.5
_MIN_CONTRAST = 0.004
"""A stain that spans less of the full scale has no shapes."""
_HALO_UM = 2.0
"""Light within this distance of a shape belongs to it."""

_MUCH_MORE = 0.3
_LIKE_NUCLEI = 0.5
_OUTSIDE = 0.03
_OUTSIDE_RATIO = 5.0
"""The decision; on the fields it was made with, the nucleus stain has 0.37 to 1 of its area in
shapes like nuclei and less than 0.003 of its light outside them; other stains reach 0.7 and have
0.003 to 0.15 outside."""


@dataclass(frozen=True)
class _Shapes:
    """What a stain shows: its foreground, its light above the background, how nuclear it looks."""

    foreground: npt.NDArray[np.bool_]
    light: npt.NDArray[np.float32]
    n_like: int
    share_like: float

    def outside(self, place: npt.NDArray[np.bool_]) -> float:
        """Share of the light that is outside ``place``."""
        return float(self.light[~place].sum()) / max(float(self.light.sum()), 1e-9)


def find_misplaced_nuclei(fov: FieldOfView, config: QualityConfig | None = None) -> Channel | None:
    """Find the stain that the nuclei stand in, if it isn't the nucleus stain.

    Parameters
    ----------
    fov
        The field.
    config
        Sizes of pixels and nuclei.

    Returns
    -------
    Channel or None
        The other stain; None where all is well, where no stain looks more nuclear, and in fields
        too coarse or too empty to tell.
    """
    config = config or QualityConfig()
    if fov.pixel_size_um > config.max_stain_pixel_um:
        return None
    grid = WorkingScale.of_field((fov.height, fov.width), fov.pixel_size_um, config.stain_pixel_um)
    supposed = _find_shapes(_reduce(fov, Channel.NUCLEUS, grid), grid, config)
    around = supposed.outside(_with_halo(supposed.foreground, grid))
    if 1 - supposed.share_like < _MUCH_MORE and around < _OUTSIDE:
        return None  # no other stain could be told from it by either rule
    found: list[tuple[float, Channel]] = []
    for stain in CHANNELS:
        if stain is Channel.NUCLEUS:
            continue
        other = _find_shapes(_reduce(fov, stain, grid), grid, config)
        if other.n_like < config.min_like_nuclei:
            continue
        place = _with_halo(supposed.foreground | other.foreground, grid)
        left, right = supposed.outside(place), other.outside(place)
        is_more_nuclear = other.share_like - supposed.share_like >= _MUCH_MORE
        is_more_confined = left >= _OUTSIDE and right <= left / _OUTSIDE_RATIO
        if is_more_nuclear or (is_more_confined and other.share_like >= _LIKE_NUCLEI):
            found.append((other.outside(_with_halo(other.foreground, grid)), stain))
    return min(found)[1] if found else None


def _reduce(fov: FieldOfView, stain: Channel, grid: WorkingScale) -> npt.NDArray[np.float32]:
    """Bring a stain to the grid by way of pixels half as large: the segmenter's, as a rule."""
    shape = (fov.height, fov.width)
    finer = WorkingScale.of_field(shape, fov.pixel_size_um, grid.pixel_um / 2)
    return shrink(stain_on_grid(fov, stain, finer), grid.shape)


def _find_shapes(
    stain: npt.NDArray[np.float32], grid: WorkingScale, config: QualityConfig
) -> _Shapes:
    smooth = blur(stain, grid.px(_BLUR_UM))
    low, high = percentiles(smooth, (2.0, 99.5))
    light = np.maximum(stain - np.float32(low), 0)
    if high - low < _MIN_CONTRAST:
        return _Shapes(np.zeros(grid.shape, np.bool_), light, 0, 0.0)
    bright = np.clip((smooth - low) / (high - low), 0, 1)
    foreground = bright > _LEVEL * threshold_otsu(bright)
    areas = _areas_like_nuclei(cut_threads(foreground, grid.px(_THREAD_UM)), grid, config)
    return _Shapes(foreground, light, len(areas), sum(areas) / max(int(foreground.sum()), 1))


def _areas_like_nuclei(
    foreground: npt.NDArray[np.bool_], grid: WorkingScale, config: QualityConfig
) -> list[int]:
    """Give the pixels of every shape that is as large, as convex and as round as a nucleus."""
    least, most = (grid.px2(area) for area in config.nucleus_area_range_um2)
    count, labels, stats, _ = cv2.connectedComponentsWithStats(
        foreground.astype(np.uint8), connectivity=4
    )
    labels = np.asarray(labels).reshape(foreground.shape)
    areas = []
    for number in range(1, count):
        left, top, width, height, area = (int(value) for value in stats[number])
        if not least <= area <= most:
            continue
        shape = (labels[top : top + height, left : left + width] == number).astype(np.uint8)
        outlines, _ = cv2.findContours(shape, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
        outline = max(outlines, key=len)
        hull = np.zeros_like(shape)
        cv2.drawContours(hull, [cv2.convexHull(outline)], -1, 1, cv2.FILLED)
        # sides run between pixel centres: a pixel more
        short, long = sorted(side + 1 for side in cv2.minAreaRect(outline)[1])
        if area >= _MIN_SOLIDITY * int(hull.sum()) and long <= _MAX_AXIS_RATIO * short:
            areas.append(area)
    return areas


def _with_halo(foreground: npt.NDArray[np.bool_], grid: WorkingScale) -> npt.NDArray[np.bool_]:
    side = 2 * max(0, round(grid.px(_HALO_UM))) + 1
    disk = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side))
    return cv2.dilate(foreground.astype(np.uint8), disk).reshape(foreground.shape) > 0

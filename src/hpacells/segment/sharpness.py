"""How sharp each cell is: fine structure against coarse structure of its microtubules and ER.

Both are band-passed at fixed lengths in µm, so brightness, contrast and pixel size cancel out. The
protein's stain is never looked at: a diffuse protein isn't out of focus. The nucleus stain isn't
either: chromatin is smooth in many lines.
"""

import cv2
import numpy as np
import numpy.typing as npt

from hpacells.core.channels import Channel
from hpacells.core.fov import FieldOfView
from hpacells.core.id_statistics import pixels_of_ids, sum_over_ids
from hpacells.core.mask_parts import IdRuns, find_runs
from hpacells.core.masks import CellMasks, sample_ids
from hpacells.segment.config import QualityConfig
from hpacells.segment.resolution import WorkingScale
from hpacells.segment.stains import blur

__all__ = ["measure_sharpness", "reduce_stain"]

_FINE_UM = (0.3, 0.6)
_COARSE_UM = (1.2, 2.4)
"""Standard deviations of the two Gaussians whose difference is the band."""

_COARSE_STEP = 3.0
"""Coarse structure is measured on pixels this much larger, averages of the fine ones."""

_STAINS = (Channel.MICROTUBULES, Channel.ER)

_Image = npt.NDArray[np.float32]


def measure_sharpness(
    fov: FieldOfView, masks: CellMasks, config: QualityConfig, *, enough: float = np.inf
) -> npt.NDArray[np.float64]:
    """Measure every cell's sharpness.

    Parameters
    ----------
    fov
        The field.
    masks
        Of the field's size.
    config
        Pixel sizes, and the least structure that counts.
    enough
        Where one stain shows every cell at least this sharp, the other isn't looked at.

    Returns
    -------
    ndarray
        ``(M,)`` float64, position = cell id: root mean square of the fine band over that of the
        coarse one, of the sharper stain; NaN where no stain has structure, where there is no such
        cell, and everywhere in a field too coarse to tell.
    """
    n = int(masks.cells.max(initial=0)) + 1
    best = np.full(n, np.nan)
    if n == 1 or fov.pixel_size_um > config.max_focus_pixel_um:
        return best
    pixel_um, shape = config.focus_pixel_um, (fov.height, fov.width)
    grids = [
        WorkingScale.of_field(shape, fov.pixel_size_um, step * pixel_um)
        for step in (1.0, _COARSE_STEP)
    ]
    runs = [find_runs(sample_ids(masks.cells, grid.shape)) for grid in grids]
    for stain in _STAINS:
        image = reduce_stain(fov, stain, grids[0])
        fine = _structure(image, runs[0], n, grids[0], _FINE_UM)
        coarse = _structure(_shrink(image, grids[1].shape), runs[1], n, grids[1], _COARSE_UM)
        counts = coarse >= config.min_structure
        best[counts] = np.fmax(best[counts], fine[counts] / coarse[counts])
        if (best[masks.cell_ids] >= enough).all():  # NaN, not judged yet, is not
            break
    return best


def reduce_stain(fov: FieldOfView, stain: Channel, grid: WorkingScale) -> npt.NDArray[np.float32]:
    """Bring a stain to the grid as shares of the full scale ``(h, w)``, in the stored dtype.

    Grey values are rounded to whole ones on the way, which ``WorkingScale.reduce`` doesn't do; in
    return no copy of the whole stain in float32 is made.
    """
    reduced = fov.channel(stain)
    if grid.shape != reduced.shape:
        resized = cv2.resize(reduced, grid.shape[::-1], interpolation=cv2.INTER_AREA)
        reduced = resized.reshape(grid.shape)  # type: ignore[assignment]
    return reduced.astype(np.float32) / np.float32(fov.max_value)


def _shrink(image: _Image, shape: tuple[int, int]) -> _Image:
    small = cv2.resize(image, shape[::-1], interpolation=cv2.INTER_AREA)
    return small.reshape(shape).astype(np.float32, copy=False)


def _structure(
    image: _Image, runs: IdRuns, n: int, grid: WorkingScale, band_um: tuple[float, float]
) -> npt.NDArray[np.float64]:
    """Give the root mean square of the band in every cell ``(n,)``; 0 for none."""
    areas = np.maximum(pixels_of_ids(runs, n), 1)
    narrow, wide = (blur(image, grid.px(sigma_um)) for sigma_um in band_um)
    mean: npt.NDArray[np.float64] = sum_over_ids(runs, np.square(narrow - wide), n) / areas
    return np.sqrt(mean)

"""How sharp each cell is: fine structure against coarse structure of its microtubules and ER.

Both are band-passed at fixed lengths in µm, so brightness, contrast and pixel size cancel out. The
protein's stain is never looked at: a diffuse protein isn't out of focus. The nucleus stain isn't
either: chromatin is smooth in many lines.
"""

import numpy as np
import numpy.typing as npt

from hpacells.core.channels import Channel
from hpacells.core.fov import FieldOfView
from hpacells.core.id_statistics import pixels_of_ids, sum_over_ids
from hpacells.core.mask_parts import IdRuns, find_runs
from hpacells.core.masks import CellMasks, sample_ids
from hpacells.core.shrink import shrink
from hpacells.segment.config import QualityConfig
from hpacells.segment.resolution import WorkingScale
from hpacells.segment.stain_input import stain_on_grid
from hpacells.segment.stains import blur

__all__ = ["measure_sharpness"]

_FINE_UM = (0.3055, 0.6028)
_COARSE_UM = (1.2124, 2.4062)
"""Standard deviations of the two smoothings whose difference is the band, averaging over a pixel
included. They are Gaussians of 0.3, 0.6, 1.2 and 2.4 µm on the pixels of 0.2 and 0.6 µm that
``QualityConfig.min_sharpness`` was chosen on."""

_COARSE_STEP = 2.0
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
    n = int(masks.cell_ids.max(initial=0)) + 1
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
        image = stain_on_grid(fov, stain, grids[0])
        fine = _structure(image, runs[0], n, grids[0], _FINE_UM)
        coarse = _structure(shrink(image, grids[1].shape), runs[1], n, grids[1], _COARSE_UM)
        counts = coarse >= config.min_structure
        best[counts] = np.fmax(best[counts], fine[counts] / coarse[counts])
        if (best[masks.cell_ids] >= enough).all():  # NaN, not judged yet, is not
            break
    return best


def _structure(
    image: _Image, runs: IdRuns, n: int, grid: WorkingScale, band_um: tuple[float, float]
) -> npt.NDArray[np.float64]:
    """Give the root mean square of the band in every cell ``(n,)``; 0 for none."""
    areas = np.maximum(pixels_of_ids(runs, n), 1)
    of_pixel = grid.pixel_um**2 / 12  # variance of a square's place
    narrow, wide = (blur(image, grid.px(max(sd**2 - of_pixel, 0) ** 0.5)) for sd in band_um)
    mean: npt.NDArray[np.float64] = sum_over_ids(runs, np.square(narrow - wide), n) / areas
    return np.sqrt(mean)

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
from hpacells.core.masks import CellMasks, sample_ids
from hpacells.segment.config import QualityConfig
from hpacells.segment.resolution import WorkingScale
from hpacells.segment.stains import blur

__all__ = ["measure_sharpness", "reduce_stain"]

_FINE_UM = (0.3, 0.6)
_COARSE_UM = (1.2, 2.4)
"""Standard deviations of the two Gaussians whose difference is the band."""

_COARSE_STEP = 3.0
"""Coarse structure is measured on pixels this much larger."""

_STAINS = (Channel.MICROTUBULES, Channel.ER)


def measure_sharpness(
    fov: FieldOfView, masks: CellMasks, config: QualityConfig
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
    pixel_um = config.focus_pixel_um
    small = _structure(fov, masks.cells, n, pixel_um, _FINE_UM)
    large = _structure(fov, masks.cells, n, _COARSE_STEP * pixel_um, _COARSE_UM)
    for fine, coarse in zip(small, large, strict=True):
        counts = coarse >= config.min_structure
        best[counts] = np.fmax(best[counts], fine[counts] / coarse[counts])
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


def _structure(
    fov: FieldOfView,
    cells: npt.NDArray[np.int32],
    n: int,
    pixel_um: float,
    band_um: tuple[float, float],
) -> list[npt.NDArray[np.float64]]:
    """Give per stain the root mean square of the band in every cell ``(n,)``; 0 for none."""
    grid = WorkingScale.of_field((fov.height, fov.width), fov.pixel_size_um, pixel_um)
    owners = sample_ids(cells, grid.shape).ravel()
    areas = np.maximum(np.bincount(owners, minlength=n), 1)
    found = []
    for stain in _STAINS:
        image = reduce_stain(fov, stain, grid)
        narrow, wide = (blur(image, grid.px(sigma_um)) for sigma_um in band_um)
        found.append(np.sqrt(np.bincount(owners, np.square(narrow - wide).ravel(), n) / areas))
    return found

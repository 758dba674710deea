"""Cell bodies from the microtubule and ER stains, grown from the nuclei.

The protein's stain is never looked at: what a cell looks like must not decide where it ends.
"""

import cv2
import numpy as np
import numpy.typing as npt
from skimage.filters import threshold_otsu
from skimage.segmentation import watershed

from hpacells.segment.config import SegmentConfig
from hpacells.segment.resolution import WorkingScale
from hpacells.segment.stains import blur, close_gaps, cut_threads, stretch

__all__ = ["body_intensity", "grow_bodies"]

_LOG_OFFSET = 0.01


def body_intensity(
    microtubules: npt.NDArray[np.float32],
    er: npt.NDArray[np.float32],
    grid: WorkingScale,
    config: SegmentConfig,
) -> npt.NDArray[np.float32]:
    """Combine both stains: the brighter of the two, each stretched by itself.

    Returns
    -------
    ndarray
        ``(h, w)`` float32 in [0, 1]; zero everywhere when both stains are blank.
    """
    combined = np.zeros(grid.shape, np.float32)
    for stain in (microtubules, er):
        stretched = stretch(stain, config.min_contrast, least_px=grid.px2(config.min_cell_um2))
        if stretched is not None:
            combined = np.maximum(combined, stretched)
    return blur(combined, grid.px(config.body_blur_um))


def grow_bodies(
    nuclei: npt.NDArray[np.int32],
    intensity: npt.NDArray[np.float32],
    grid: WorkingScale,
    config: SegmentConfig,
) -> npt.NDArray[np.int32]:
    """Give every nucleus its cell.

    Parameters
    ----------
    nuclei
        ``(h, w)`` int32 ids.
    intensity
        ``(h, w)`` float32 from ``body_intensity``.
    grid, config
        The working grid and the settings.

    Returns
    -------
    ndarray
        ``(h, w)`` int32; each id of ``nuclei`` covers at least its nucleus.
    """
    outside = (nuclei == 0).astype(np.uint8)
    way_px = cv2.distanceTransform(outside, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    way_um = way_px.reshape(nuclei.shape) * np.float32(grid.pixel_um)
    bodies = _foreground(intensity, grid, config)
    bodies &= way_um <= config.max_reach_um
    bodies |= way_um <= config.min_body_ring_um
    bright = np.sqrt(blur(intensity, grid.px(config.valley_blur_um)))
    landscape = way_um - config.valley_weight_um * bright
    cells: npt.NDArray[np.int32] = watershed(landscape, nuclei, mask=bodies).astype(np.int32)
    return cells


def _foreground(
    intensity: npt.NDArray[np.float32], grid: WorkingScale, config: SegmentConfig
) -> npt.NDArray[np.bool_]:
    """Say where cells are: above a share of Otsu's threshold of the log intensities."""
    if not intensity.any():
        return np.zeros(intensity.shape, np.bool_)
    logs = np.log(intensity + _LOG_OFFSET)
    otsu = float(np.exp(threshold_otsu(logs)) - _LOG_OFFSET)
    least, most = config.body_level_range
    level = min(max(config.body_level * otsu, least), most)
    bodies = close_gaps(intensity > level, grid.px(config.body_gap_um))
    return cut_threads(bodies, grid.px(config.body_thin_um))

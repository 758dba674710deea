"""Nuclei from the nucleus stain: where they are, and where two of them touch.

Works on the working grid. A threshold of the whole field finds candidates; touching ones are split
where the neck between them is narrow for their width; the edge of each is then drawn at a share of
its own brightness, so a dim nucleus beside a bright one keeps its size.
"""

import cv2
import numpy as np
import numpy.typing as npt
from scipy import ndimage
from skimage.filters import threshold_otsu
from skimage.morphology import reconstruction
from skimage.segmentation import watershed

from hpacells.segment.config import SegmentConfig
from hpacells.segment.resolution import WorkingScale
from hpacells.segment.stains import blur, stretch

__all__ = ["find_nuclei"]


def find_nuclei(
    stain: npt.NDArray[np.float32], grid: WorkingScale, config: SegmentConfig
) -> npt.NDArray[np.int32]:
    """Outline the nuclei.

    Parameters
    ----------
    stain
        ``(h, w)`` float32 nucleus stain as shares of the full scale, on the grid.
    grid
        The working grid.
    config
        Settings.

    Returns
    -------
    ndarray
        ``(h, w)`` int32 ids, 0 = background; none where the stain is blank.
    """
    smooth = blur(stain, grid.px(config.nucleus_blur_um))
    bright = stretch(smooth, config.min_contrast, least_px=grid.px2(config.min_nucleus_um2))
    if bright is None:
        return np.zeros(grid.shape, np.int32)
    candidates = ndimage.binary_fill_holes(bright > _candidate_level(bright))
    even = _fill_dark_spots(blur(bright, grid.px(config.nucleus_even_um)))
    ids = _split_touching(candidates, even, config.nucleus_neck)
    ids = _rejoin_fragments(ids, grid.px2(config.min_split_um2))
    ids = _trim_to_own_brightness(ids, bright, config.nucleus_level)
    return _drop_debris(ids, grid, config)


def _candidate_level(bright: npt.NDArray[np.float32]) -> float:
    """Take a level low enough for nuclei a fifth as bright as the typical one."""
    return 0.35 * float(threshold_otsu(bright))


def _fill_dark_spots(bright: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Raise spots that brighter pixels enclose, nucleoli above all, to the level of their rim.

    The dark line between two nuclei is open to the background and stays.
    """
    start = np.full_like(bright, bright.max())
    for edge in (np.s_[0], np.s_[-1], np.s_[:, 0], np.s_[:, -1]):
        start[edge] = bright[edge]
    filled: npt.NDArray[np.float32] = reconstruction(start, bright, method="erosion")
    return filled.astype(np.float32, copy=False)


def _split_touching(
    candidates: npt.NDArray[np.bool_], bright: npt.NDArray[np.float32], neck: float
) -> npt.NDArray[np.int32]:
    """Split where depth times brightness dips below ``neck`` times the smaller peak's.

    The depth (distance to the edge) finds the narrow neck of two nuclei that touch, the brightness
    the dark line between two that lie side by side; a notch or a dim lobe alone splits nothing.
    """
    inside = candidates.astype(np.uint8)
    depth = cv2.distanceTransform(inside, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    height = blur(depth.astype(np.float32).reshape(bright.shape), 1.0) * bright
    logs = np.where(candidates, np.log(np.maximum(height, 1e-3)), np.log(1e-3))
    domes = reconstruction(logs + np.log(neck), logs, method="dilation")
    peaks = (logs - domes > -np.log(neck) - 1e-6) & candidates
    seeds, _ = ndimage.label(peaks, np.ones((3, 3)))
    parts: npt.NDArray[np.int32] = watershed(-height, seeds, mask=candidates).astype(np.int32)
    return parts


def _rejoin_fragments(ids: npt.NDArray[np.int32], least_px: float) -> npt.NDArray[np.int32]:
    """Give parts smaller than ``least_px``, smallest first, to the one they touch most."""
    sizes = np.bincount(ids.ravel()).astype(np.int64)
    sizes[0] = 0
    boxes = ndimage.find_objects(ids)
    ids = ids.copy()
    for part in np.argsort(sizes, kind="stable"):
        if sizes[part] == 0 or sizes[part] >= least_px:
            continue
        rows, columns = (slice(max(0, s.start - 1), s.stop + 1) for s in boxes[part - 1])
        window = ids[rows, columns]
        mine = window == part
        around = window[ndimage.binary_dilation(mine, np.ones((3, 3))) & ~mine]
        touching = np.bincount(around[around > 0], minlength=1)
        if touching.any():
            window[mine] = touching.argmax()
    return ids


def _trim_to_own_brightness(
    ids: npt.NDArray[np.int32], bright: npt.NDArray[np.float32], level: float
) -> npt.NDArray[np.int32]:
    """Keep of each nucleus what is brighter than ``level`` times its own upper quartile."""
    trimmed = np.zeros_like(ids)
    for nucleus_id, box in enumerate(ndimage.find_objects(ids), start=1):
        if box is None:
            continue
        mine = ids[box] == nucleus_id
        own = np.percentile(bright[box][mine], 75)
        kept = ndimage.binary_fill_holes(mine & (bright[box] > level * own))
        trimmed[box][kept & mine] = nucleus_id
    return trimmed


def _drop_debris(
    ids: npt.NDArray[np.int32], grid: WorkingScale, config: SegmentConfig
) -> npt.NDArray[np.int32]:
    """Keep the largest part of each nucleus, if that is large enough."""
    kept = np.zeros_like(ids)
    rows, columns = ids.shape
    number = 0
    for nucleus_id, box in enumerate(ndimage.find_objects(ids), start=1):
        if box is None:
            continue
        parts, n_parts = ndimage.label(ids[box] == nucleus_id)
        sizes = np.bincount(parts.ravel(), minlength=n_parts + 1)[1:]
        largest = int(sizes.argmax()) + 1
        cut = (
            box[0].start == 0 or box[1].start == 0 or box[0].stop == rows or box[1].stop == columns
        )
        least = config.min_border_nucleus_um2 if cut else config.min_nucleus_um2
        if sizes[largest - 1] < grid.px2(least):
            continue
        number += 1
        kept[box][parts == largest] = number
    return kept

"""From true masks to what the network has to draw: four maps and a weight per pixel.

=========  ========================================================================================
cell       Pixels of any cell.
border     Pixels of a cell within ``border_um`` of what isn't that cell: a rim where it lies free,
           a ridge of twice the width where cells touch. The frame is no border.
nucleus    Pixels of any nucleus.
seed       One connected region per cell: the convex hull of its nuclei together, kept inside the
           cell and drawn in from its edge. Nuclei of a multinucleated cell, and the two halves of
           an anaphase, are one seed. A cell whose nucleus isn't seen has its own core instead.
=========  ========================================================================================
"""

import cv2
import numpy as np
import numpy.typing as npt
from scipy import ndimage

from hpacells.core.masks import largest_part
from hpacells.runtime.segmenter_folder import MAPS

__all__ = ["TARGETS_VERSION", "build_targets", "pixel_weights"]

TARGETS_VERSION = 1
"""Raise it with every change of the maps or weights that the same masks give."""

_SEED_EDGE_UM = 1.2
"""A seed keeps this far from the edge of its hull, so that seeds of touching nuclei are apart."""

_SEED_DEPTH = 0.5
"""But no farther than this share of the hull's greatest depth: small nuclei keep a seed."""

_WEIGHT_RANGE = (0.6, 3.0)
_TYPICAL_CELL_UM2 = 600.0
_BETWEEN_UM = 0.8
_BETWEEN_EXTRA = 2.0
_Mask = npt.NDArray[np.bool_]
_Box = tuple[slice, slice]


def build_targets(
    cells: npt.NDArray[np.int32],
    nuclei: npt.NDArray[np.int32],
    pixel_um: float,
    *,
    border_um: float = 0.64,
) -> npt.NDArray[np.bool_]:
    """Draw the four maps.

    Parameters
    ----------
    cells, nuclei
        ``(h, w)`` int32 with matched ids, 0 = background.
    pixel_um
        µm per pixel.
    border_um
        Width of the rim inside a cell.

    Returns
    -------
    ndarray
        ``(4, h, w)`` bool in the order of ``MAPS``.
    """
    targets = np.zeros((len(MAPS), *cells.shape), np.bool_)
    cell, border, nucleus, seed = targets
    cell[:] = cells > 0
    nucleus[:] = nuclei > 0
    for cell_id, box in enumerate(ndimage.find_objects(cells), start=1):
        if box is None:
            continue
        mine = cells[box] == cell_id
        depth_um = _depth_px(mine, box, cells.shape) * np.float32(pixel_um)
        border[box] |= mine & (depth_um <= border_um)
        seed[box] |= _draw_seed(mine, nuclei[box] == cell_id, depth_um, pixel_um)
    return targets


def pixel_weights(cells: npt.NDArray[np.int32], pixel_um: float) -> npt.NDArray[np.float32]:
    """Say how much each pixel counts: small cells more per pixel, places between cells most.

    Returns
    -------
    ndarray
        ``(h, w)`` float32: in a cell the root of a typical cell's area over its own, within
        0.6-3; 1 in the background; 2 more within 0.8 µm of two different cells.
    """
    area_um2 = np.maximum(np.bincount(cells.ravel()), 1) * pixel_um**2
    each = np.clip(np.sqrt(_TYPICAL_CELL_UM2 / area_um2), *_WEIGHT_RANGE)
    each[0] = 1.0
    side = 2 * max(1, round(_BETWEEN_UM / pixel_um)) + 1
    disk = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side))
    ids = cells.astype(np.float32)  # exact: ids are below 2**24
    highest = cv2.dilate(ids, disk).reshape(cells.shape)
    lowest = -cv2.dilate(np.where(cells > 0, -ids, np.float32(-np.inf)), disk)
    between = (highest > 0) & (highest != lowest.reshape(cells.shape))
    weights: npt.NDArray[np.float32] = (each[cells] + _BETWEEN_EXTRA * between).astype(np.float32)
    return weights


def _depth_px(mask: _Mask, box: _Box, shape: tuple[int, ...]) -> npt.NDArray[np.float32]:
    """Measure how deep in the mask each of its pixels lies; beyond the frame it goes on."""
    pads = [
        (int(side.start > 0), int(side.stop < limit))
        for side, limit in zip(box, shape, strict=True)
    ]
    padded = np.pad(mask, pads).astype(np.uint8)
    if padded.all():  # no edge in sight
        return np.full(mask.shape, max(mask.shape), np.float32)
    depth = cv2.distanceTransform(padded, cv2.DIST_L2, cv2.DIST_MASK_PRECISE).reshape(padded.shape)
    (top, _), (left, _) = pads
    rows, columns = mask.shape
    return depth[top : top + rows, left : left + columns].astype(np.float32, copy=False)


def _draw_seed(
    mine: _Mask, nucleus: _Mask, depth_um: npt.NDArray[np.float32], pixel_um: float
) -> _Mask:
    """Draw one cell's seed inside the cell's box."""
    if not nucleus.any():
        return largest_part(mine & (depth_um >= _SEED_DEPTH * depth_um.max()))
    whole = largest_part(_hull(nucleus) & mine)
    # inside the box is enough: where the box cuts the hull, so does the cell's edge or the frame
    inside = cv2.distanceTransform(
        np.pad(whole, 1, mode="edge").astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE
    )[1:-1, 1:-1]
    hull_depth_um = np.minimum(inside.reshape(mine.shape) * pixel_um, depth_um)
    edge_um = min(_SEED_EDGE_UM, _SEED_DEPTH * float(hull_depth_um[whole].max()))
    return largest_part(whole & (hull_depth_um >= edge_um))


def _hull(mask: _Mask) -> _Mask:
    """Fill the convex hull of all parts of a mask together."""
    points = cv2.findNonZero(mask.astype(np.uint8))
    filled = np.zeros(mask.shape, np.uint8)
    cv2.fillConvexPoly(filled, cv2.convexHull(points), 1)
    return filled > 0

"""Which cells look like two: nuclei far apart, or with a waist between them.

A multinucleated cell has its nuclei side by side in one rounded body; two cells taken for one keep
the waist where they touch. A merge whose nuclei were merged too shows one nucleus and isn't seen.
"""

from itertools import combinations

import cv2
import numpy as np
import numpy.typing as npt
from scipy import ndimage

from hpacells.core.masks import CellMasks, sample_ids
from hpacells.segment.config import QualityConfig
from hpacells.segment.resolution import WorkingScale

__all__ = ["find_merges"]

_FRAGMENT_UM2 = 20.0
"""Smaller parts of nucleus (micronuclei, lobes) say nothing of how large a nucleus is."""

_STEPS = 8
"""Halvings in the search of the neck's width: to 0.4 % of the widest place."""

_Mask = npt.NDArray[np.bool_]


def find_merges(masks: CellMasks, config: QualityConfig) -> npt.NDArray[np.bool_]:
    """Say which cells are suspected to be two.

    Parameters
    ----------
    masks
        Cells and nuclei.
    config
        Sizes in µm, and how narrow a neck is.

    Returns
    -------
    ndarray
        ``(M,)`` bool, position = cell id.
    """
    grid = WorkingScale.of_field(masks.cells.shape, masks.pixel_size_um, config.merge_pixel_um)
    cells, nuclei = (sample_ids(ids, grid.shape) for ids in (masks.cells, masks.nuclei))
    found = np.zeros(int(masks.cell_ids.max(initial=0)) + 1, np.bool_)
    boxes = ndimage.find_objects(cells)
    parts = {
        cell_id: _nuclear_parts(nuclei[box] == cell_id)
        for cell_id, box in enumerate(boxes, start=1)
        if box is not None
    }
    sizes = np.concatenate([areas for _, areas in parts.values()] or [np.zeros(0)])
    sizes = sizes[sizes >= grid.px2(_FRAGMENT_UM2)]
    if not sizes.size:
        return found
    least = config.min_second_nucleus * float(np.median(sizes))
    for cell_id, (labels, areas) in parts.items():
        numbers = 1 + np.flatnonzero(areas >= max(least, 1.0))
        if len(numbers) < 2:
            continue
        depth = _depth(cells[boxes[cell_id - 1]] == cell_id)
        found[cell_id] = any(
            _are_apart(labels == one, labels == other, depth, grid, config)
            for one, other in combinations(numbers, 2)
        )
    return found


def _nuclear_parts(mask: _Mask) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.float64]]:
    """Label the connected parts of a nucleus and count their pixels."""
    count, labels, stats, _ = cv2.connectedComponentsWithStats(
        mask.astype(np.uint8), connectivity=8
    )
    areas = stats[1:count, cv2.CC_STAT_AREA].astype(np.float64)
    return np.asarray(labels, np.int32).reshape(mask.shape), areas


def _depth(cell: _Mask) -> npt.NDArray[np.float32]:
    """Give each pixel's distance to the cell's edge; the frame counts as an edge."""
    padded = np.pad(cell, 1).astype(np.uint8)
    depth = cv2.distanceTransform(padded, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    return depth.reshape(padded.shape)[1:-1, 1:-1].astype(np.float32, copy=False)


def _are_apart(
    one: _Mask,
    other: _Mask,
    depth: npt.NDArray[np.float32],
    grid: WorkingScale,
    config: QualityConfig,
) -> bool:
    """Say whether two nuclei of a cell lie far apart or have a neck between them."""
    away = cv2.distanceTransform((~one).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    gap = float(away.reshape(one.shape)[other].min())
    if gap > grid.px(config.max_nuclei_gap_um):
        return True
    narrower = min(float(depth[one].max()), float(depth[other].max()))
    return _neck(one, other, depth) < config.min_neck * narrower


def _neck(one: _Mask, other: _Mask, depth: npt.NDArray[np.float32]) -> float:
    """Find the greatest depth at which the two nuclei are still in one part of the cell."""
    low, high = 0.0, float(depth.max())
    for _ in range(_STEPS):
        middle = (low + high) / 2
        _, parts = cv2.connectedComponents((depth > middle).astype(np.uint8), connectivity=8)
        parts = np.asarray(parts).reshape(depth.shape)
        shared = np.intersect1d(parts[one], parts[other])
        if (shared > 0).any():
            low = middle
        else:
            high = middle
    return low

"""How likely at least half of a cell at the frame is inside it, judged from what is seen of it.

A cell lies about evenly around its nucleus, so most of it is outside when the middle of its nucleus
is. Little of the nucleus is seen then, the nucleus is widest at the frame itself (of all lines
parallel to an edge, the longest through a convex, centrally symmetric shape is the one through its
middle), and the frame cuts the cell over a length that is large for what is seen of it. A logistic
function weighs these signs.

The weights were fitted (``scripts/fit_frame.py``) on simulated cells as ``unet`` outlines them, and
serve for all segmenters. ``bench/shipped_model_borders.py`` says what they are worth on others.
"""

import numpy as np
import numpy.typing as npt
from scipy.special import expit

from hpacells.core.id_statistics import boxes_of_ids, pixels_of_ids
from hpacells.core.masks import CellMasks

__all__ = ["chance_inside", "signs_at_frame"]

_WIDEST = 0.95
"""Width at the frame over the greatest width, from which on a nucleus is widest at the frame."""

_START, _HAS_NUCLEUS, _NUCLEUS_SHARE, _NUCLEUS_WIDEST, _CUT = -1.08, 4.58, 2.54, -2.17, -2.07
"""Weights in a field with nuclei: of 1, and of the signs in the order of ``signs_at_frame``."""

_START_BARE, _CELL_SHARE, _CUT_BARE = 1.50, 3.96, -2.52
"""Weights in a field without any: of 1, the cell's share of a whole cell, the length of the cut."""


def chance_inside(masks: CellMasks) -> npt.NDArray[np.float64]:
    """Estimate for each cell the chance that at least half of it is inside the frame.

    Parameters
    ----------
    masks
        Cells and nuclei.

    Returns
    -------
    ndarray
        ``(M,)`` in [0, 1], position = cell id; 1 for cells that do not touch the frame. In a field
        where no cell has a nucleus, the cells' areas are compared instead.
    """
    signs = signs_at_frame(masks)
    chance = np.ones(len(signs))
    has_nucleus, nucleus_share, widest, cell_share, cut = signs.T
    ids = np.flatnonzero(cut)
    if masks.nucleus_runs.ids.size:
        known = _START + _HAS_NUCLEUS * has_nucleus + _NUCLEUS_SHARE * nucleus_share
        known = known + _NUCLEUS_WIDEST * widest + _CUT * cut
    else:
        known = _START_BARE + _CELL_SHARE * cell_share + _CUT_BARE * cut
    chance[ids] = expit(known[ids])
    return chance


def signs_at_frame(masks: CellMasks) -> npt.NDArray[np.float64]:
    """Measure what tells how much of a cell lies outside the frame.

    Parameters
    ----------
    masks
        Cells and nuclei.

    Returns
    -------
    ndarray
        ``(M, 5)``, position = cell id. Whether a nucleus is seen (0 or 1); its area over that of
        the field's median whole nucleus, at most 1; whether it is widest at the frame (0 or 1); the
        cell's area over that of the median whole cell, at most 1; the length over which the frame
        cuts the cell, over the root of its area. All 0 for cells that do not touch the frame, the
        last one above 0 for all others.
    """
    n = int(masks.cell_ids.max(initial=0)) + 1
    cell_px, nucleus_px = (pixels_of_ids(r, n) for r in (masks.cell_runs, masks.nucleus_runs))
    cut_px, nucleus_cut_px = (_at_frame(ids, n) for ids in (masks.cells, masks.nuclei))
    ids = np.flatnonzero((cut_px > 0) & (cell_px > 0))  # not the background
    signs = np.zeros((n, 5))
    signs[ids, 0] = nucleus_px[ids] > 0
    signs[ids, 1] = np.minimum(nucleus_px[ids] / _typical(nucleus_px, nucleus_cut_px == 0), 1)
    boxes = boxes_of_ids(masks.nucleus_runs, n)
    for cell_id in ids[nucleus_cut_px[ids] > 0]:
        r0, c0, r1, c1 = boxes[cell_id].tolist()
        box = (slice(r0, r1), slice(c0, c1))
        signs[cell_id, 2] = _widest_at_frame(masks.nuclei[box] == cell_id, box, masks.nuclei.shape)
    signs[ids, 3] = np.minimum(cell_px[ids] / _typical(cell_px, cut_px == 0), 1)
    signs[ids, 4] = cut_px[ids] / np.sqrt(cell_px[ids])
    return signs


def _at_frame(ids: npt.NDArray[np.integer], n: int) -> npt.NDArray[np.int64]:
    """Count each id's pixels along the four edges: ``(n,)``."""
    edges = np.concatenate([ids[0], ids[-1], ids[:, 0], ids[:, -1]])
    return np.bincount(edges, minlength=n)[:n]


def _typical(pixels: npt.NDArray[np.int64], whole: npt.NDArray[np.bool_]) -> float:
    """Give the median size of the whole ones; of the largest where none is whole; at least 1."""
    known = pixels[whole & (pixels > 0)]
    return float(np.median(known)) if known.size else float(max(pixels.max(initial=0), 1))


def _widest_at_frame(
    mask: npt.NDArray[np.bool_], box: tuple[slice, slice], shape: tuple[int, ...]
) -> bool:
    """Say whether the mask is widest along an edge of the frame that it touches."""
    for axis in (0, 1):
        widths = mask.sum(axis=1 - axis)
        edge = 0
        if box[axis].start == 0:
            edge = max(edge, int(widths[0]))
        if box[axis].stop == shape[axis]:
            edge = max(edge, int(widths[-1]))
        if edge >= _WIDEST * int(widths.max()):
            return True
    return False

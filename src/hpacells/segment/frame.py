"""Which cells at the frame are more than half outside it, judged from what is seen of them.

A cell lies about evenly around its nucleus, so a cell is taken to be more than half outside when
the middle of its nucleus is. Where that middle is follows from the shape of what is visible: of
all lines parallel to an edge, the longest through a convex, centrally symmetric shape is the one
through its middle. When a nucleus is widest at the frame itself, its middle is not inside.
"""

import numpy as np
import numpy.typing as npt

from hpacells.core.id_statistics import boxes_of_ids, pixels_of_ids
from hpacells.core.masks import CellMasks

__all__ = ["mostly_outside"]

_WIDEST = 0.95
"""Width at the frame over the greatest width, from which on a nucleus is widest at the frame."""

_SLIVER = 0.2
_WHOLE = 0.6
"""Shares of the field's median whole nucleus: with less than the first, the middle is outside
whatever the shape; with more than the second, it is inside."""


def mostly_outside(masks: CellMasks, touches: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """Estimate which cells are more than half outside the frame.

    Parameters
    ----------
    masks
        Cells and nuclei.
    touches
        ``(M,)`` bool, position = cell id: cells that touch the frame.

    Returns
    -------
    ndarray
        ``(M,)`` bool. A cell that touches the frame without a visible nucleus is outside; in a
        field where no cell has a nucleus, one is that shows less than half the median area of the
        cells inside.
    """
    n = len(touches)
    nuclei = masks.nuclei
    nucleus_px = pixels_of_ids(masks.nucleus_runs, n)
    if not nucleus_px.any():
        cell_px = pixels_of_ids(masks.cell_runs, n)
        whole = cell_px[(cell_px > 0) & ~touches]
        least = 0.5 * float(np.median(whole)) if whole.size else 0.0
        return touches & (cell_px < least)
    boxes = boxes_of_ids(masks.nucleus_runs, n)
    cut = np.zeros(n, np.bool_)
    for edge in (nuclei[0], nuclei[-1], nuclei[:, 0], nuclei[:, -1]):
        cut[edge] = True
    cut[0] = False
    whole = nucleus_px[(nucleus_px > 0) & ~cut]
    typical = float(np.median(whole)) if whole.size else float(nucleus_px.max())
    outside: npt.NDArray[np.bool_] = touches & (nucleus_px == 0)
    for cell_id in np.flatnonzero(cut & touches):
        r0, c0, r1, c1 = boxes[cell_id].tolist()
        box = (slice(r0, r1), slice(c0, c1))
        share = nucleus_px[cell_id] / typical
        widest = _widest_at_frame(nuclei[box] == cell_id, box, nuclei.shape)
        outside[cell_id] = share < _SLIVER or (widest and share < _WHOLE)
    return outside


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

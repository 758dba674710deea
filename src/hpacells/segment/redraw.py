"""Cells of the working grid redrawn at the field's own resolution, with smooth outlines.

Each cell's working mask is smoothed and enlarged by itself, linearly, in its own box; a pixel of
the foreground belongs to the cell that covers it most.
"""

import cv2
import numpy as np
import numpy.typing as npt
from scipy import ndimage

from hpacells.core.fov import FieldOfView
from hpacells.core.mask_parts import keep_largest_parts
from hpacells.core.masks import sample_ids
from hpacells.segment.debris import drop_debris
from hpacells.segment.resolution import WorkingScale, keep_inside, renumber

__all__ = ["finish_cells", "redraw"]

_PAD_PX = 2
_SMOOTH_PX = 0.8
_HALF = 128
_LEAST = 64
"""Of 255: where three or four cells meet, one that covers a pixel most covers this much of it."""
_Ids = npt.NDArray[np.int32]
_Levels = npt.NDArray[np.uint8]
_Box = tuple[slice, slice]


def finish_cells(
    cells: _Ids, nuclei: _Ids, *, grid: WorkingScale, fov: FieldOfView, least_um2: float
) -> tuple[_Ids, _Ids]:
    """Make matched cells and nuclei of the working grid whole, and redraw them on the field.

    Returns
    -------
    cells, nuclei
        ``(H, W)`` int32 as ``CellMasks`` wants them; ids in reading order on the working grid.
        Cells smaller than ``least_um2`` that the frame does not cut are gone.
    """
    cells, nuclei = keep_inside(cells, nuclei)
    cells = drop_debris(cells, grid.px2(least_um2))
    cells, nuclei = renumber(cells, np.where(cells > 0, nuclei, 0).astype(np.int32))
    return redraw(cells, nuclei, (fov.height, fov.width))


def redraw(cells: _Ids, nuclei: _Ids, shape: tuple[int, int]) -> tuple[_Ids, _Ids]:
    """Draw cells and nuclei at another resolution.

    Parameters
    ----------
    cells, nuclei
        ``(h, w)`` int32 with matched ids; each cell is one part without holes.
    shape
        Rows and columns wanted, finer or coarser.

    Returns
    -------
    cells, nuclei
        ``shape`` int32: each cell one connected part, nuclei inside their cells. Where two cells
        cover a pixel equally the one of the lower id has it. What is too thin to be drawn is gone.
    """
    if cells.shape == shape:
        return keep_inside(cells, nuclei)
    if shape[0] < cells.shape[0] or shape[1] < cells.shape[1]:
        return keep_inside(sample_ids(cells, shape), sample_ids(nuclei, shape))
    drawn = np.zeros(shape, np.int32)
    best = np.full(shape, _LEAST, np.uint8)
    for cell_id, box in enumerate(ndimage.find_objects(cells), start=1):
        if box is not None:
            at, level = _enlarge(cells, box, cell_id, shape)
            np.copyto(drawn[at], cell_id, where=level > best[at])
            np.maximum(best[at], level, out=best[at])
    whole = (slice(0, cells.shape[0]), slice(0, cells.shape[1]))
    _, covered = _enlarge((cells > 0).astype(np.int32), whole, 1, shape)
    drawn *= covered >= _HALF
    drawn = keep_largest_parts(drawn)
    inside = np.zeros(shape, np.int32)
    for cell_id, box in enumerate(ndimage.find_objects(nuclei), start=1):
        if box is not None:
            at, level = _enlarge(nuclei, box, cell_id, shape)
            np.copyto(inside[at], cell_id, where=(level >= _HALF) & (drawn[at] == cell_id))
    return drawn, inside


def _enlarge(ids: _Ids, box: _Box, cell_id: int, shape: tuple[int, int]) -> tuple[_Box, _Levels]:
    """Give how far each pixel of the large image is covered by one id, 0-255, and where that is."""
    small, large = [], []
    for side, before, after in zip(box, ids.shape, shape, strict=True):
        first, last = max(0, side.start - _PAD_PX), min(before, side.stop + _PAD_PX)
        small.append(slice(first, last))
        large.append(slice(round(first * after / before), round(last * after / before)))
    mask = np.where(ids[small[0], small[1]] == cell_id, np.uint8(255), np.uint8(0))
    smooth = cv2.GaussianBlur(mask, (3, 3), _SMOOTH_PX, borderType=cv2.BORDER_REPLICATE)
    at = (large[0], large[1])
    size = (at[1].stop - at[1].start, at[0].stop - at[0].start)
    level = cv2.resize(smooth, size, interpolation=cv2.INTER_LINEAR)
    return at, np.asarray(level, np.uint8).reshape(size[::-1])

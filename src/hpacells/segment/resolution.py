"""Between a field's own pixels and the working resolution that segmentation looks at.

Stains go down by area averaging. Ids come back up as smooth outlines: each cell's working mask is
enlarged by itself, linearly, in its own box, and a pixel belongs to the cell that covers it most.
"""

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt
from scipy import ndimage

from hpacells.core.masks import largest_part

__all__ = ["WorkingScale", "enlarge_ids", "keep_inside", "renumber", "sample_ids"]

_PAD_PX = 2


@dataclass(frozen=True)
class WorkingScale:
    """The grid that one field is worked on.

    Parameters
    ----------
    shape
        Rows and columns of the working image.
    pixel_um
        µm per working pixel.
    """

    shape: tuple[int, int]
    pixel_um: float

    @classmethod
    def of_field(
        cls, shape: tuple[int, int], pixel_size_um: float, working_pixel_um: float
    ) -> "WorkingScale":
        """Choose the grid: ``working_pixel_um``, or the field's own pixels where coarser."""
        ratio = min(1.0, pixel_size_um / working_pixel_um)
        rows, columns = (max(1, round(side * ratio)) for side in shape)
        return cls((rows, columns), pixel_size_um / ratio)

    def px(self, length_um: float) -> float:
        """Convert a length from µm to working pixels."""
        return length_um / self.pixel_um

    def px2(self, area_um2: float) -> float:
        """Convert an area from µm² to working pixels."""
        return area_um2 / self.pixel_um**2

    def reduce(self, stain: npt.NDArray[np.generic], max_value: int) -> npt.NDArray[np.float32]:
        """Bring a stain ``(H, W)`` to this grid as shares of the full scale, float32."""
        full = stain.astype(np.float32) / np.float32(max_value)
        if full.shape == self.shape:
            return full
        rows, columns = self.shape
        reduced: npt.NDArray[np.float32] = cv2.resize(
            full, (columns, rows), interpolation=cv2.INTER_AREA
        ).astype(np.float32, copy=False)
        return reduced.reshape(self.shape)


def enlarge_ids(ids: npt.NDArray[np.int32], shape: tuple[int, int]) -> npt.NDArray[np.int32]:
    """Enlarge a label image with smooth outlines.

    Parameters
    ----------
    ids
        ``(h, w)`` int32 working ids, 0 = background.
    shape
        Rows and columns wanted, not smaller than those of ``ids``.

    Returns
    -------
    ndarray
        ``shape`` int32. Each id is one connected part without holes of background; where two ids
        cover a pixel equally the smaller one has it. Ids too thin to survive are gone.
    """
    best = np.zeros(shape, np.float32)
    enlarged = np.zeros(shape, np.int32)
    scale = (shape[0] / ids.shape[0], shape[1] / ids.shape[1])
    for cell_id, box in enumerate(ndimage.find_objects(ids), start=1):
        if box is None:
            continue
        r0, r1 = _pad(box[0], ids.shape[0])
        c0, c1 = _pad(box[1], ids.shape[1])
        rows = slice(round(r0 * scale[0]), round(r1 * scale[0]))
        columns = slice(round(c0 * scale[1]), round(c1 * scale[1]))
        mask = (ids[r0:r1, c0:c1] == cell_id).astype(np.float32)
        if scale != (1.0, 1.0):
            mask = cv2.GaussianBlur(mask, (3, 3), 0.8, borderType=cv2.BORDER_REPLICATE)
            size = (columns.stop - columns.start, rows.stop - rows.start)
            mask = cv2.resize(mask, size, interpolation=cv2.INTER_LINEAR)
        wins = mask > np.maximum(best[rows, columns], np.float32(0.3))
        best[rows, columns][wins] = mask[wins]
        enlarged[rows, columns][wins] = cell_id
    covered: cv2.typing.MatLike = best
    if scale != (1.0, 1.0):
        foreground = cv2.GaussianBlur(
            (ids > 0).astype(np.float32), (3, 3), 0.8, borderType=cv2.BORDER_REPLICATE
        )
        covered = cv2.resize(foreground, shape[::-1], interpolation=cv2.INTER_LINEAR)
    enlarged[covered < 0.5] = 0
    return enlarged


def sample_ids(ids: npt.NDArray[np.int32], shape: tuple[int, int]) -> npt.NDArray[np.int32]:
    """Bring a label image to ``shape`` by taking the id at the centre of each new pixel.

    Returns
    -------
    ndarray
        ``shape`` int32; connected parts can fall apart (``keep_inside`` mends them).
    """
    rows, columns = (
        np.minimum(((np.arange(n) + 0.5) * side / n).astype(np.intp), side - 1)
        for n, side in zip(shape, ids.shape, strict=True)
    )
    return ids[np.ix_(rows, columns)]


def _pad(extent: slice, limit: int) -> tuple[int, int]:
    return max(0, extent.start - _PAD_PX), min(limit, extent.stop + _PAD_PX)


def keep_inside(
    cells: npt.NDArray[np.int32], nuclei: npt.NDArray[np.int32]
) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int32]]:
    """Make cells whole and nuclei lie inside them.

    Parameters
    ----------
    cells, nuclei
        ``(H, W)`` int32 with matched ids.

    Returns
    -------
    tuple of ndarray
        Each cell's largest connected part (8-neighbourhood) with its holes filled, and the part of
        each nucleus that lies in its own cell.
    """
    whole = np.zeros_like(cells)
    for cell_id, box in enumerate(ndimage.find_objects(cells), start=1):
        if box is not None:
            whole[box][largest_part(cells[box] == cell_id)] = cell_id
    boxes = {i: box for i, box in enumerate(ndimage.find_objects(whole), start=1) if box}
    # the smallest box first: a cell that lies inside another one keeps its own holes
    for cell_id in sorted(boxes, key=lambda i: (_box_area(boxes[i]), i)):
        view = whole[boxes[cell_id]]
        view[_filled(view == cell_id) & (view == 0)] = cell_id
    return whole, np.where(nuclei == whole, nuclei, 0).astype(np.int32)


def _filled(mask: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """Fill the holes of a mask in one part; scipy's way takes ten times longer."""
    filled = np.zeros(mask.shape, np.uint8)
    outlines, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    cv2.drawContours(filled, outlines, -1, 1, cv2.FILLED)
    return filled > 0


def _box_area(box: tuple[slice, ...]) -> int:
    return int(np.prod([side.stop - side.start for side in box]))


def renumber(
    cells: npt.NDArray[np.int32], nuclei: npt.NDArray[np.int32]
) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int32]]:
    """Renumber cells 1…N by their first pixel in reading order, and nuclei with them."""
    boxes = ndimage.find_objects(cells)
    first = {
        cell_id: (
            box[0].start,
            int((cells[box[0].start, box[1]] == cell_id).argmax()) + box[1].start,
        )
        for cell_id, box in enumerate(boxes, start=1)
        if box is not None
    }
    new = np.zeros(len(boxes) + 1, np.int32)
    for number, cell_id in enumerate(sorted(first, key=first.__getitem__), start=1):
        new[cell_id] = number
    return new[cells], new[nuclei]

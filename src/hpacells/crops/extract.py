"""Cut cells out of a field: a window of fixed physical size, centred on the nucleus.

Enters: a field, its masks, the ids wanted. Leaves: crops on the 8-bit scale and each cell's own
mask in its crop. Neighbours stay in the crop: zeroing what lies outside the cell is the
classifier's affair. Knows nothing of classes or of files.

Shrinking averages over the area of a crop pixel; it is done once for the whole field, so crop
pixels of one field share a grid and a window's centre is rounded to that grid (at most half a crop
pixel off). Masks take the cell id at the centre of a crop pixel. Enlarging interpolates linearly,
window by window, around the exact centre.
"""

from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from hpacells.core.crop_spec import CropSpec
from hpacells.core.errors import InputError
from hpacells.core.fov import FieldOfView, to_8bit
from hpacells.core.id_statistics import centroids_of_ids
from hpacells.core.masks import CellMasks, sample_ids
from hpacells.core.shrink import shrink

__all__ = ["cell_centres", "extract_crops"]

_Crops = tuple[npt.NDArray[np.uint8], npt.NDArray[np.bool_]]


def extract_crops(
    fov: FieldOfView, masks: CellMasks, cell_ids: npt.ArrayLike, spec: CropSpec
) -> _Crops:
    """Cut one crop per cell.

    Parameters
    ----------
    fov
        Pixels ``(C, H, W)``; its pixel size sets the scale.
    masks
        Of the same ``(H, W)``.
    cell_ids
        ``(N,)`` ids in ``masks``, in the order wanted; may be empty.
    spec
        Side ``S`` and µm per pixel of the crops.

    Returns
    -------
    crops
        ``(N, C, S, S)`` uint8, 0 outside the frame, pixels outside the cell kept.
    cell_masks
        ``(N, S, S)`` bool, the cell itself.

    Raises
    ------
    InputError
        When masks and field differ in size, or an id is not in the masks.
    """
    if masks.cells.shape != fov.pixels.shape[1:]:
        raise InputError(
            f"field {fov.fov_id}: the image is {fov.pixels.shape[1:]} (rows, columns), its masks "
            f"are {masks.cells.shape}. Segment this image again."
        )
    wanted = np.asarray(cell_ids, np.int64)
    centres = cell_centres(masks, wanted)
    if spec.pixel_size_um >= fov.pixel_size_um:
        return _cut_from_shrunk(fov, masks, wanted, centres, spec)
    return _cut_enlarged(fov, masks, wanted, centres, spec)


def cell_centres(masks: CellMasks, cell_ids: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """Find where the windows are centred.

    Parameters
    ----------
    masks
        Cells and nuclei.
    cell_ids
        ``(N,)`` ids.

    Returns
    -------
    ndarray
        ``(N, 2)`` float64 row and column in pixels, where 0.5 is the middle of the first pixel:
        the centroid of the cell's nucleus (of all its nuclei), of the cell where it has none.

    Raises
    ------
    InputError
        When an id is not in the masks.
    """
    n = int(max(masks.cell_ids.max(initial=0), cell_ids.max(initial=0))) + 1
    centres = centroids_of_ids(masks.nucleus_runs, n)[cell_ids]
    bare = np.isnan(centres[:, 0])
    if bare.any():
        centres[bare] = centroids_of_ids(masks.cell_runs, n)[cell_ids[bare]]
    missing = np.isnan(centres[:, 0])
    if missing.any():
        raise InputError(f"expected ids of cells in the masks, got {cell_ids[missing].tolist()}")
    return centres


def _cut_from_shrunk(
    fov: FieldOfView,
    masks: CellMasks,
    cell_ids: npt.NDArray[np.int64],
    centres: npt.NDArray[np.float64],
    spec: CropSpec,
) -> _Crops:
    """Shrink the field once, then slice windows out of it on its pixel grid."""
    ratio = spec.pixel_size_um / fov.pixel_size_um
    shape = (max(1, round(fov.height / ratio)), max(1, round(fov.width / ratio)))
    scale = np.array(shape) / np.array(masks.cells.shape)
    side = spec.crop_px
    pixels = np.zeros((len(fov.pixels), shape[0] + 2 * side, shape[1] + 2 * side), np.uint8)
    ids = np.zeros(pixels.shape[1:], np.int32)
    inner = (slice(side, side + shape[0]), slice(side, side + shape[1]))
    for plane, channel in zip(pixels, fov.pixels, strict=True):
        small: npt.NDArray[Any] = np.rint(shrink(channel, shape)).astype(channel.dtype)
        plane[inner] = to_8bit(small, fov.max_value)
    ids[inner] = sample_ids(masks.cells, shape)
    crops = np.empty((len(cell_ids), len(pixels), side, side), np.uint8)
    cell_masks = np.empty((len(cell_ids), side, side), np.bool_)
    corners = np.floor(centres * scale - side / 2 + 0.5).astype(np.int64) + side
    for i, (top, left) in enumerate(corners.tolist()):
        crops[i] = pixels[:, top : top + side, left : left + side]
        cell_masks[i] = ids[top : top + side, left : left + side] == cell_ids[i]
    return crops, cell_masks


def _cut_enlarged(
    fov: FieldOfView,
    masks: CellMasks,
    cell_ids: npt.NDArray[np.int64],
    centres: npt.NDArray[np.float64],
    spec: CropSpec,
) -> _Crops:
    """Interpolate each window by itself: enlarging a whole field costs too much memory."""
    ratio = spec.pixel_size_um / fov.pixel_size_um
    side = spec.crop_px
    crops = np.zeros((len(cell_ids), len(fov.pixels), side, side), np.uint8)
    cell_masks = np.zeros((len(cell_ids), side, side), np.bool_)
    steps = (np.arange(side) + 0.5 - side / 2) * ratio
    for i, (row, column) in enumerate(centres.tolist()):
        # cv2 counts from the middle of the first pixel, x before y
        offset = np.array([column, row]) + steps[0] - 0.5
        matrix = np.array([[ratio, 0.0, offset[0]], [0.0, ratio, offset[1]]])
        for position, channel in enumerate(fov.pixels):
            window: npt.NDArray[Any] = cv2.warpAffine(
                channel, matrix, (side, side), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
            )
            crops[i, position] = to_8bit(window, fov.max_value)
        rows, columns = np.floor(row + steps), np.floor(column + steps)
        inside = np.outer(
            (rows >= 0) & (rows < masks.cells.shape[0]),
            (columns >= 0) & (columns < masks.cells.shape[1]),
        )
        nearest = masks.cells[
            np.clip(rows, 0, masks.cells.shape[0] - 1).astype(np.int64)[:, None],
            np.clip(columns, 0, masks.cells.shape[1] - 1).astype(np.int64),
        ]
        cell_masks[i] = inside & (nearest == cell_ids[i])
    return crops, cell_masks

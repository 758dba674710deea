"""Instance masks on disk: ``<fov_id>_cells.png`` and ``<fov_id>_nuclei.png``, 16-bit grey ids.

A pixel's value is its cell's id, 0 is background; a nucleus has its cell's id. Masks have the
size of the field's images. Reading also takes 8-bit PNG and integer TIFF, as other tools write
them; never JPEG, whose values are not exact, and never colour.
"""

import zlib
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from hpacells.core.errors import ImageError, InputError
from hpacells.core.masks import MAX_CELL_ID, CellMasks
from hpacells.core.storage import atomic_path
from hpacells.images.decode import ImageFormat, decode_image, format_of_name, read_bytes

__all__ = [
    "find_mask",
    "mask_path",
    "read_label_image",
    "read_masks",
    "write_label_image",
    "write_masks",
]

_SUFFIXES = (".png", ".tif", ".tiff")


def mask_path(folder: Path, fov_id: str, part: str) -> Path:
    """Name the file that ``write_masks`` writes; ``part`` is ``cells`` or ``nuclei``."""
    return folder / f"{fov_id}_{part}.png"


def write_label_image(path: Path, ids: npt.NDArray[np.integer]) -> int:
    """Write ids as a 16-bit grey PNG, whole or not at all.

    Parameters
    ----------
    path
        Ends in ``.png``; its folder is made.
    ids
        ``(H, W)`` of any integer type, 0 to 65535.

    Returns
    -------
    int
        CRC-32 of the file.

    Raises
    ------
    InputError
        Not a plane of integers, or ids out of range.
    """
    if ids.ndim != 2 or ids.dtype.kind not in "iu" or ids.size == 0:
        raise InputError(
            f"{path}: expected ids (H, W) of an integer type, got {ids.dtype} {ids.shape}"
        )
    low, high = int(ids.min()), int(ids.max())
    if low < 0 or high > MAX_CELL_ID:
        raise InputError(f"{path}: expected ids 0-{MAX_CELL_ID}, got {low} to {high}")
    encoded = cv2.imencode(".png", ids.astype(np.uint16))[1].tobytes()
    with atomic_path(path) as temporary:
        temporary.write_bytes(encoded)
    return zlib.crc32(encoded)


def read_label_image(path: Path) -> npt.NDArray[np.int32]:
    """Read ids from a grey PNG or an integer TIFF.

    Parameters
    ----------
    path
        8- or 16-bit PNG, or TIFF of any integer type.

    Returns
    -------
    ndarray
        ``(H, W)`` int32, as stored.

    Raises
    ------
    ImageError
        Missing, unreadable, JPEG, colour, or ids below 0 or above 65535.
    """
    if format_of_name(path) is ImageFormat.JPEG:
        raise ImageError(f"{path}: JPEG does not keep ids exactly. Save masks as 16-bit PNG.")
    ids = decode_image(read_bytes(path), path)
    if ids.ndim != 2:
        raise ImageError(
            f"{path}: expected a grey image of cell ids, got {ids.shape[2]} colour planes. "
            "Save it as 16-bit grey PNG."
        )
    low, high = int(ids.min()), int(ids.max())
    if low < 0 or high > MAX_CELL_ID:
        raise ImageError(f"{path}: expected cell ids 0-{MAX_CELL_ID}, got {low} to {high}")
    return ids.astype(np.int32)


def write_masks(folder: Path, fov_id: str, masks: CellMasks) -> int:
    """Write a field's two mask files into a folder.

    Parameters
    ----------
    folder
        Made when it is not there.
    fov_id
        The field.
    masks
        Cells and nuclei.

    Returns
    -------
    int
        CRC-32 of the cells' file.
    """
    write_label_image(mask_path(folder, fov_id, "nuclei"), masks.nuclei)
    return write_label_image(mask_path(folder, fov_id, "cells"), masks.cells)


def read_masks(
    folder: Path, fov_id: str, *, pixel_size_um: float, segmenter: str = "file"
) -> CellMasks:
    """Read a field's two mask files.

    Parameters
    ----------
    folder
        Where they lie.
    fov_id
        The field.
    pixel_size_um
        µm per pixel of the field.
    segmenter
        Name of what made them.

    Returns
    -------
    CellMasks
        Checked.

    Raises
    ------
    ImageError
        A file is missing or not a mask, or the two do not fit each other.
    """
    planes = [read_label_image(find_mask(folder, fov_id, part)) for part in ("cells", "nuclei")]
    try:
        return CellMasks(planes[0], planes[1], segmenter, pixel_size_um)
    except InputError as error:
        raise ImageError(f"masks of field {fov_id} in {folder}: {error}") from error


def find_mask(folder: Path, fov_id: str, part: str) -> Path:
    """Find the file that ``read_masks`` reads; ``part`` is ``cells`` or ``nuclei``.

    Raises
    ------
    ImageError
        There is none.
    """
    for suffix in _SUFFIXES:
        path = folder / f"{fov_id}_{part}{suffix}"
        if path.is_file():
            return path
    raise ImageError(
        f"field {fov_id}: expected the mask {fov_id}_{part}.png in {folder}, there is none. "
        "Make it with 'hpacells segment'."
    )

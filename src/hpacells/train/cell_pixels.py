"""The pixels of all cells of a training: in memory, or, where they are many, mapped from a file.

A mapped file is written once, field by field, and read by all processes of a machine: the system
keeps in memory what there is room for, once for all of them. What a killed process left half
written is removed before the next one writes.
"""

from pathlib import Path

import numpy as np
import numpy.typing as npt
from filelock import FileLock

from hpacells.core.channels import CHANNELS
from hpacells.core.errors import OutputError
from hpacells.core.storage import atomic_path, remove_leftovers
from hpacells.crops.store import CropStore

__all__ = ["IN_MEMORY_BYTES", "read_cell_pixels"]

IN_MEMORY_BYTES = 8 * 2**30
"""Pixels of more bytes than this are mapped."""

Bytes = npt.NDArray[np.uint8]


def read_cell_pixels(
    store: CropStore, fov_ids: set[str], n_cells: int, mapped: Path
) -> tuple[Bytes, Bytes]:
    """Read the crops and cell masks of some fields of a store.

    Parameters
    ----------
    store
        Its fields come sorted by ``fov_id``.
    fov_ids
        The fields to read.
    n_cells
        Cells that these fields have.
    mapped
        Folder of the mapped file, which is made where it is needed and not there. It belongs to
        this choice of fields: another choice, another folder.

    Returns
    -------
    crops
        ``(N, C, S, S)`` uint8; not writeable where mapped.
    cell_masks
        ``(N, S, S)`` uint8, 0 or 1.

    Raises
    ------
    OutputError
        When the mapped file is needed, not there, and cannot be written.
    """
    side = store.spec.crop_px
    shape = (n_cells, len(CHANNELS) + 1, side, side)  # the mask lies behind its crop
    if np.prod(shape, dtype=np.int64) <= IN_MEMORY_BYTES:
        pixels = np.empty(shape, np.uint8)
        _fill(pixels, store, fov_ids)
    else:
        file = mapped / "cells.npy"
        if not file.is_file():  # whole once it is there
            _write_mapped(file, shape, store, fov_ids)
        pixels = np.load(file, mmap_mode="r")
    return pixels[:, :-1], pixels[:, -1]


def _write_mapped(file: Path, shape: tuple[int, ...], store: CropStore, fov_ids: set[str]) -> None:
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(file.parent / ".lock"):  # the processes of one machine share it
            if file.is_file():
                return
            remove_leftovers(file.parent)
            with atomic_path(file) as temporary:
                whole = np.lib.format.open_memmap(temporary, "w+", np.uint8, shape)
                _fill(whole, store, fov_ids)
                whole.flush()
    except OSError as error:
        raise OutputError(
            f"{file}: expected to write the cells' pixels here, {np.prod(shape) / 2**30:.1f} GiB, "
            f"to map them ({error.strerror or error}). Make the store's folder writable and the "
            "disk large enough, or train on a copy of the store where it is so."
        ) from error


def _fill(pixels: Bytes, store: CropStore, fov_ids: set[str]) -> None:
    start = 0
    for part in store.fields():
        if part.fov_id in fov_ids:
            stop = start + len(part.crops)
            pixels[start:stop, :-1], pixels[start:stop, -1] = part.crops, part.cell_masks
            start = stop

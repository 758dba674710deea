"""What every published segmenter ends with: matched ids, whole cells, the field's own pixels.

The same redrawing as for ``unet``: one connected part per cell, nuclei inside, ids in reading
order.
"""

from collections.abc import Collection, Sequence

import cv2
import numpy as np
import numpy.typing as npt

from hpacells.core.channels import Channel
from hpacells.core.errors import ModelError
from hpacells.core.fov import FieldOfView
from hpacells.core.masks import MAX_CELL_ID
from hpacells.segment.resolution import WorkingScale
from hpacells.segment.stain_input import stain_on_grid

__all__ = [
    "LEAST_SIDE_PX",
    "input_stack",
    "is_blank",
    "match_nuclei",
    "pad_to",
    "read_ids",
]

_Ids = npt.NDArray[np.int32]

LEAST_SIDE_PX = 64
"""Smaller working images are padded: libraries take the shortest axis for the channels."""


def is_blank(fov: FieldOfView, channels: Collection[Channel]) -> bool:
    """Say whether each of the stains has one grey value everywhere: there is nothing to see.

    Asked of the stored pixels: on a network's grid, where they are averaged, a constant stain
    differs by rounding, which a library that normalises would stretch to the full range.
    """
    return not any(np.ptp(fov.channel(stain)) for stain in channels)


def input_stack(
    fov: FieldOfView,
    grid: WorkingScale,
    channels: Sequence[Channel],
    *,
    missing: Collection[Channel] = (),
) -> npt.NDArray[np.float32]:
    """Bring stains to a network's grid, unnormalised.

    Returns
    -------
    ndarray
        ``(C, h, w)`` float32 shares of the full scale, in the order of ``channels``; 0 where a
        stain is missing.
    """
    zeros = np.zeros(grid.shape, np.float32)
    return np.stack(
        [zeros if stain in missing else stain_on_grid(fov, stain, grid) for stain in channels]
    )


def pad_to(stack: npt.NDArray[np.float32], least_px: int, multiple: int) -> npt.NDArray[np.float32]:
    """Repeat the last row and column of ``(C, h, w)`` up to a least side and a multiple."""
    down, across = (
        max(least_px, -(-side // multiple) * multiple) - side for side in stack.shape[1:]
    )
    if not (down or across):
        return stack
    planes = [
        cv2.copyMakeBorder(plane, 0, down, 0, across, cv2.BORDER_REPLICATE) for plane in stack
    ]
    return np.stack(planes).astype(np.float32, copy=False)


def read_ids(found: npt.NDArray[np.generic], shape: tuple[int, int], network: str) -> _Ids:
    """Check ids that a library gave, and crop them to the working image.

    Raises
    ------
    ModelError
        When they are not a label image that covers ``shape``: a version of the library that is
        not known here.
    """
    too_small = found.ndim != 2 or found.shape[0] < shape[0] or found.shape[1] < shape[1]
    if too_small or not np.isfinite(found).all() or found.min() < 0 or found.max() > MAX_CELL_ID:
        raise ModelError(
            f"{network}: expected ids 0-{MAX_CELL_ID} of at least {shape[0]} x {shape[1]} pixels, "
            f"got an array of shape {found.shape}. Install the version that pyproject.toml names."
        )
    return np.asarray(found[: shape[0], : shape[1]]).astype(np.int32)


def match_nuclei(nuclei: _Ids, cells: _Ids) -> _Ids:
    """Give each nucleus the id of the one cell that it lies in most.

    Parameters
    ----------
    nuclei, cells
        ``(h, w)`` int32 with ids of their own.

    Returns
    -------
    ndarray
        ``(h, w)`` int32 ids of cells. What lies outside its cell is gone, and so is a nucleus that
        lies mostly outside of all cells; of cells that share a nucleus equally the lower id has it.
    """
    n_cells = int(cells.max(initial=0)) + 1
    seen = nuclei > 0
    pairs, shared = np.unique(
        nuclei[seen].astype(np.int64) * n_cells + cells[seen], return_counts=True
    )
    which, cell = np.divmod(pairs, n_cells)
    order = np.lexsort((cell, -shared, which))  # of each nucleus, the cell with most of it first
    named, first = np.unique(which[order], return_index=True)
    owner = np.zeros(int(nuclei.max(initial=0)) + 1, np.int32)
    owner[named] = cell[order][first]
    return np.where(owner[nuclei] == cells, owner[nuclei], 0).astype(np.int32)

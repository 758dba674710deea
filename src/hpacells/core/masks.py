"""Instance masks of one field: cells and their nuclei, with matched ids."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from skimage.measure import label as connected_parts

from hpacells.core.errors import InputError

__all__ = ["MAX_CELL_ID", "CellMasks"]

MAX_CELL_ID = 65535
"""Masks are stored as 16-bit images."""


@dataclass(frozen=True)
class CellMasks:
    """Cells and nuclei of one field.

    Parameters
    ----------
    cells
        ``(H, W)`` int32; 0 = background, otherwise the cell id. One connected part
        (8-neighbourhood) per cell.
    nuclei
        ``(H, W)`` int32; a nucleus has its cell's id and lies inside that cell. A cell may have
        none; a multinucleated cell has several parts of one id.
    segmenter
        Name of what made them.
    pixel_size_um
        µm per pixel.

    Raises
    ------
    InputError
        When any of this does not hold; the message names the first cell at fault.
    """

    cells: npt.NDArray[np.int32]
    nuclei: npt.NDArray[np.int32]
    segmenter: str
    pixel_size_um: float

    def __post_init__(self) -> None:
        if self.cells.ndim != 2 or self.cells.shape != self.nuclei.shape:
            raise InputError(
                f"expected cells and nuclei of one (H, W) shape, got {self.cells.shape} "
                f"and {self.nuclei.shape}"
            )
        if self.cells.dtype != np.int32 or self.nuclei.dtype != np.int32:
            raise InputError(f"expected int32 ids, got {self.cells.dtype} and {self.nuclei.dtype}")
        if self.cells.size and (self.cells.min() < 0 or self.cells.max() > MAX_CELL_ID):
            raise InputError(f"expected cell ids 0-{MAX_CELL_ID}, got others")
        stray = (self.nuclei != 0) & (self.nuclei != self.cells)
        if stray.any():
            raise InputError(
                f"nucleus {int(self.nuclei[stray][0])} has pixels outside the cell of that id"
            )
        parts = connected_parts(self.cells, background=0, connectivity=2)
        part_of = np.zeros(int(parts.max(initial=0)) + 1, np.int32)
        part_of[parts] = self.cells
        ids, counts = np.unique(part_of[1:], return_counts=True)
        if (counts > 1).any():
            raise InputError(f"cell {int(ids[counts > 1][0])} has more than one connected part")

    @property
    def cell_ids(self) -> npt.NDArray[np.int32]:
        """Ids of the cells, ascending ``(N,)``."""
        ids = np.unique(self.cells)
        return ids[ids > 0]

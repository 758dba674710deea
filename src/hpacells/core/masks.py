"""Instance masks of one field: cells and their nuclei, with matched ids."""

from dataclasses import dataclass
from functools import cached_property
from typing import TypeVar

import cv2
import numpy as np
import numpy.typing as npt

from hpacells.core.errors import InputError
from hpacells.core.mask_parts import IdRuns, find_runs, first_in_parts

__all__ = ["MAX_CELL_ID", "CellMasks", "largest_part", "sample_ids"]

_Id = TypeVar("_Id", bound=np.generic)

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
        stray = (self.nuclei != self.cells) & (self.nuclei != 0)
        if stray.any():
            raise InputError(
                f"nucleus {int(self.nuclei[stray][0])} has pixels outside the cell of that id"
            )
        broken = first_in_parts(self.cell_runs)
        if broken is not None:
            raise InputError(f"cell {broken} has more than one connected part")

    @property
    def cell_ids(self) -> npt.NDArray[np.int32]:
        """Ids of the cells, ascending ``(N,)``."""
        return np.unique(self.cell_runs.ids).astype(np.int32)

    @cached_property
    def cell_runs(self) -> IdRuns:
        """The cells' runs of pixels: found once, asked for by all that is measured of cells."""
        return find_runs(self.cells)

    @cached_property
    def nucleus_runs(self) -> IdRuns:
        """The nuclei's runs of pixels."""
        return find_runs(self.nuclei)


def largest_part(mask: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """Keep the largest part (8-neighbourhood) of a mask ``(H, W)``; its holes stay.

    The first of equals is kept. A mask in one part, or without any, is given back itself.
    """
    count, parts, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
    if count <= 2:
        return mask
    largest = 1 + int(stats[1:, cv2.CC_STAT_AREA].argmax())
    return np.asarray(parts.reshape(mask.shape) == largest)


def sample_ids(ids: npt.NDArray[_Id], shape: tuple[int, int]) -> npt.NDArray[_Id]:
    """Bring a label image to ``shape`` by taking the id at the centre of each new pixel.

    Returns
    -------
    ndarray
        ``shape``, of the dtype of ``ids``; connected parts can fall apart.
    """
    if not (ids.shape[0] % shape[0] or ids.shape[1] % shape[1]):  # a third of the time
        steps = [side // n for n, side in zip(shape, ids.shape, strict=True)]
        return ids[steps[0] // 2 :: steps[0], steps[1] // 2 :: steps[1]].copy()
    rows, columns = (
        np.minimum(((np.arange(n) + 0.5) * side / n).astype(np.intp), side - 1)
        for n, side in zip(shape, ids.shape, strict=True)
    )
    return np.take(ids[rows], columns, axis=1)  # whole rows first: half the time of both at once

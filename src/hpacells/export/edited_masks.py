"""A field's masks as somebody has edited them, compared with the run's."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hpacells.core.errors import InputError
from hpacells.core.mask_parts import keep_largest_parts
from hpacells.core.masks import MAX_CELL_ID, CellMasks

__all__ = ["EditedMasks", "compare_masks"]

Ids = npt.NDArray[np.int32]


@dataclass(frozen=True)
class EditedMasks:
    """What editing has done to a field.

    Parameters
    ----------
    masks
        Now.
    redrawn
        Ids whose cell or nucleus has other pixels, new ones among them, ascending.
    removed
        Ids of the run that are gone, ascending.
    """

    masks: CellMasks
    redrawn: tuple[int, ...]
    removed: tuple[int, ...]

    @property
    def changed(self) -> bool:
        """Whether anything is other than in the run."""
        return bool(self.redrawn or self.removed)


def compare_masks(cells: Ids, nuclei: Ids | None, run_masks: CellMasks, where: str) -> EditedMasks:
    """Bring edited ids into the form of a run's masks and compare.

    Parameters
    ----------
    cells
        ``(H, W)`` int32, edited. Of a cell in several parts the largest is kept.
    nuclei
        ``(H, W)`` int32; None: the run's. What lies outside the cell of its id is cut away.
    run_masks
        Of the run.
    where
        Named in errors.

    Returns
    -------
    EditedMasks
        Whole and valid.

    Raises
    ------
    InputError
        When the size is another, or an id is out of range.
    """
    nuclei = run_masks.nuclei if nuclei is None else nuclei
    for plane in (cells, nuclei):
        if plane.shape != run_masks.cells.shape:
            raise InputError(
                f"{where}: expected masks of the run's size {run_masks.cells.shape} (rows, "
                f"columns), got {plane.shape}. Export them at full size, uncropped."
            )
        low, high = int(plane.min()), int(plane.max())
        if low < 0 or high > MAX_CELL_ID:
            raise InputError(
                f"{where}: expected cell ids 0-{MAX_CELL_ID}, got {low} to {high}. Give new cells "
                "smaller ids."
            )
    cells = keep_largest_parts(cells)
    nuclei = np.where(nuclei == cells, nuclei, np.int32(0))
    masks = CellMasks(cells, nuclei, "edited", run_masks.pixel_size_um)
    present = set(masks.cell_ids.tolist())
    touched: set[int] = set()
    for before, after in ((run_masks.cells, cells), (run_masks.nuclei, nuclei)):
        differs = before != after
        touched |= {*np.unique(before[differs]).tolist(), *np.unique(after[differs]).tolist()}
    removed = set(run_masks.cell_ids.tolist()) - present
    return EditedMasks(masks, tuple(sorted(touched & present)), tuple(sorted(removed)))

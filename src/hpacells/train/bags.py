"""Bags: a few cells of one image under that image's label.

Rare locations can be drawn more often: with repeat factors as for rare classes of LVIS (Gupta,
Dollár, Girshick 2019, https://arxiv.org/abs/1908.03195), but as many draws per epoch as fields.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hpacells.train.data import TrainingData

__all__ = ["BagBatch", "BagCells", "draw_epoch", "load_cells", "repeat_factors"]


@dataclass(frozen=True)
class BagBatch:
    """The cells of one step, as positions in the data.

    Parameters
    ----------
    cells
        ``(B, N)`` int64 positions of cells; 0 where padded.
    cell_present
        ``(B, N)`` bool; padded places are false. Every bag has at least one cell.
    fields
        ``(B,)`` int64 positions of the fields.
    """

    cells: npt.NDArray[np.int64]
    cell_present: npt.NDArray[np.bool_]
    fields: npt.NDArray[np.int64]


@dataclass(frozen=True)
class BagCells:
    """What a batch's cells and labels are: copies, which synthesis and mixing change in place.

    Parameters
    ----------
    crops
        ``(cells, C, S, S)`` uint8, bag by bag; padded places are left out.
    cell_masks
        ``(cells, S, S)`` uint8, 0 or 1.
    bag_of_cell
        ``(cells,)`` int64, ascending.
    image_targets
        ``(B, K)`` float32 in [0, 1].
    cell_targets
        ``(cells, K)`` float32 in [0, 1], a row of -1 where unknown; None when no cell has any.
    corrected
        The same, of what people said.
    """

    crops: npt.NDArray[np.uint8]
    cell_masks: npt.NDArray[np.uint8]
    bag_of_cell: npt.NDArray[np.int64]
    image_targets: npt.NDArray[np.float32]
    cell_targets: npt.NDArray[np.float32] | None
    corrected: npt.NDArray[np.float32] | None = None

    @property
    def n_bags(self) -> int:
        """Bags of the batch."""
        return len(self.image_targets)


def load_cells(data: TrainingData, batch: BagBatch) -> BagCells:
    """Copy a batch's cells out of the data."""
    cells = batch.cells[batch.cell_present]  # padded places are never computed
    return BagCells(
        crops=data.crops[cells],
        cell_masks=data.cell_masks[cells],
        bag_of_cell=np.nonzero(batch.cell_present)[0],
        image_targets=data.targets[batch.fields],
        cell_targets=None if data.cell_targets is None else data.cell_targets[cells],
        corrected=None if data.corrected is None else data.corrected[cells],
    )


def draw_epoch(
    data: TrainingData,
    fields: npt.NDArray[np.int64],
    *,
    bag_size: int,
    bags_per_batch: int,
    rng: np.random.Generator,
    rare_cap: float = 1.0,
) -> Iterator[BagBatch]:
    """Draw one bag from every field, in random order, or more from those with rare locations.

    Parameters
    ----------
    data
        Where the cells are.
    fields
        ``(F,)`` positions of the fields to draw from, all with a cell to learn from.
    bag_size
        Cells per bag ``N``; a field with fewer is padded.
    bags_per_batch
        Bags per batch ``B``; the last batch may have fewer.
    rng
        Decides order and cells.
    rare_cap
        See ``repeat_factors``. Above 1, a field is drawn ``F · factor / sum of factors`` times,
        rounded up or down at random; so fields without rare locations sit some epochs out.

    Yields
    ------
    BagBatch
        ``F`` bags in all.
    """
    order = rng.permutation(fields)
    if rare_cap > 1:
        share = np.cumsum(repeat_factors(data.targets[order], rare_cap))
        places = (rng.random() + np.arange(len(order))) / len(order) * share[-1]
        drawn = np.searchsorted(share, places, side="right").clip(max=len(order) - 1)
        order = rng.permutation(order[drawn])
    for start in range(0, len(order), bags_per_batch):
        batch = order[start : start + bags_per_batch]
        cells = np.zeros((len(batch), bag_size), np.int64)
        present = np.zeros((len(batch), bag_size), np.bool_)
        for row, field in enumerate(batch):
            first, stop = data.offsets[field], data.offsets[field + 1]
            usable = np.arange(first, stop)
            if data.left_out is not None:
                usable = usable[~data.left_out[first:stop]]
            n = min(bag_size, len(usable))
            cells[row, :n] = usable[rng.permutation(len(usable))[:n]]
            present[row, :n] = True
        yield BagBatch(cells, present, batch)


def repeat_factors(targets: npt.NDArray[np.float32], rare_cap: float) -> npt.NDArray[np.float64]:
    """Say how many times as often as others each field is to be drawn.

    Parameters
    ----------
    targets
        ``(F, K)`` 0 or 1, the image labels.
    rare_cap
        The largest factor, 1 or more.

    Returns
    -------
    ndarray
        ``(F,)`` float64, from 1 to ``rare_cap``: the largest, over a field's locations, of
        sqrt(t / share of the fields with that location), where t is the median of those shares
        (of locations that occur), so that the rarer half of the locations counts as rare.
    """
    shares = targets.mean(axis=0, dtype=np.float64)
    occur = shares > 0
    if not occur.any():
        return np.ones(len(targets))
    wanted = np.sqrt(np.median(shares[occur]) / np.where(occur, shares, np.inf))
    factors: npt.NDArray[np.float64] = (targets * wanted).max(axis=1).clip(1.0, rare_cap)
    return factors

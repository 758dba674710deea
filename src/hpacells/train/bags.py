"""Bags: a few cells of one image under that image's label."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hpacells.train.data import TrainingData

__all__ = ["BagBatch", "draw_epoch"]


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


def draw_epoch(
    data: TrainingData,
    fields: npt.NDArray[np.int64],
    *,
    bag_size: int,
    bags_per_batch: int,
    rng: np.random.Generator,
) -> Iterator[BagBatch]:
    """Draw one bag from every field, in random order.

    Parameters
    ----------
    data
        Where the cells are.
    fields
        ``(F,)`` positions of the fields to draw from.
    bag_size
        Cells per bag ``N``; a field with fewer is padded.
    bags_per_batch
        Bags per batch ``B``; the last batch may have fewer.
    rng
        Decides order and cells.

    Yields
    ------
    BagBatch
        Until every field was drawn once.
    """
    order = rng.permutation(fields)
    for start in range(0, len(order), bags_per_batch):
        batch = order[start : start + bags_per_batch]
        cells = np.zeros((len(batch), bag_size), np.int64)
        present = np.zeros((len(batch), bag_size), np.bool_)
        for row, field in enumerate(batch):
            first, stop = data.offsets[field], data.offsets[field + 1]
            n = min(bag_size, int(stop - first))
            cells[row, :n] = first + rng.permutation(int(stop - first))[:n]
            present[row, :n] = True
        yield BagBatch(cells, present, batch)

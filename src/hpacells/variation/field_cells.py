"""The cells of a field that variation is judged on, as arrays.

Whole cells (status ok) without a quality flag count. Saturated ones do: what is known of their
amount is that it is high, and leaving the brightest out would hide what is looked for.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from hpacells.core.cell_table import CELL_QUALITY_COLUMNS, PROBABILITY_COLUMNS, CellStatus
from hpacells.core.errors import TableError
from hpacells.core.locations import NEGATIVE

__all__ = ["CELL_COLUMNS", "EXCLUDING_FLAGS", "FieldCells", "fields_of", "select_cells"]

Floats = npt.NDArray[np.float64]

EXCLUDING_FLAGS = tuple(name for name in CELL_QUALITY_COLUMNS if name != "qc_saturated")
"""A cell with one of these is left out; tables of versions without flags have none."""

_MEASURES = ("protein_mean", "area_um2", "nucleus_area_um2", "dna_total", "doubt")
CELL_COLUMNS = ("fov_id", "cell_id", "status", *_MEASURES, *PROBABILITY_COLUMNS)
"""What is needed of ``cells.parquet``."""


@dataclass(frozen=True)
class FieldCells:
    """Cells of one field, in the order of their table.

    Parameters
    ----------
    cell_ids
        ``(N,)``.
    probabilities
        ``(N, 19)`` cell scores.
    protein, area_um2, nucleus_area_um2, dna_total, doubt
        ``(N,)`` as in ``cells.parquet``.
    embedding
        ``(N, E)``; E is 0 where the embeddings are not known.
    """

    cell_ids: npt.NDArray[np.int64]
    probabilities: Floats
    protein: Floats
    area_um2: Floats
    nucleus_area_um2: Floats
    dna_total: Floats
    doubt: Floats
    embedding: Floats

    def __len__(self) -> int:
        return len(self.cell_ids)

    def take(self, places: npt.NDArray[np.integer]) -> "FieldCells":
        """Give some of the cells."""
        return FieldCells(**{name: values[places] for name, values in vars(self).items()})

    @property
    def has_place(self) -> npt.NDArray[np.bool_]:
        """``(N,)`` whether a place scores above Negative."""
        places = np.delete(self.probabilities, NEGATIVE, axis=1)
        return np.asarray(places.max(axis=1, initial=0) > self.probabilities[:, NEGATIVE])


def select_cells(cells: pa.Table) -> FieldCells:
    """Pick the cells that count from rows of one field, which may have a column ``embedding``."""
    protein, area, nucleus, dna, doubt = (cells[n].to_numpy().astype(np.float64) for n in _MEASURES)
    columns = [cells[name].to_numpy().astype(np.float64) for name in PROBABILITY_COLUMNS]
    counts = pc.equal(cells["status"], CellStatus.OK.value)
    for name in EXCLUDING_FLAGS:
        if name in cells.column_names:
            counts = pc.and_(counts, pc.invert(cells[name]))
    every = FieldCells(
        cell_ids=cells["cell_id"].to_numpy().astype(np.int64),
        probabilities=np.stack(columns, axis=1),
        protein=protein,
        area_um2=area,
        nucleus_area_um2=nucleus,
        dna_total=dna,
        doubt=doubt,
        embedding=_embedding(cells),
    )
    return every.take(np.flatnonzero(counts.to_numpy()))


def _embedding(cells: pa.Table) -> Floats:
    if "embedding" not in cells.column_names or not len(cells):
        return np.zeros((len(cells), 0))
    values = cells["embedding"].combine_chunks().flatten().to_numpy()
    return np.asarray(values.reshape(len(cells), -1), np.float64)


def fields_of(batches: Iterable[pa.RecordBatch]) -> Iterator[tuple[str, FieldCells]]:
    """Cut batches sorted by fov_id into fields; a field may run over several batches.

    Raises
    ------
    TableError
        When they are not sorted.
    """
    current: str | None = None
    parts: list[pa.RecordBatch] = []
    for batch in batches:
        if not batch.num_rows:
            continue
        runs = pc.run_end_encode(batch["fov_id"])
        start = 0
        for end, fov_id in zip(runs.run_ends.to_pylist(), runs.values.to_pylist(), strict=True):
            if current is not None and fov_id != current:
                if fov_id < current:
                    raise TableError(
                        f"cells table: expected it sorted by fov_id, got {fov_id} after {current}"
                    )
                yield current, select_cells(pa.Table.from_batches(parts))
                parts = []
            current = fov_id
            parts.append(batch.slice(start, end - start))
            start = end
    if current is not None:
        yield current, select_cells(pa.Table.from_batches(parts))

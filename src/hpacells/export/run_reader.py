"""A finished run folder, read field by field: the rows, the embeddings, the masks on demand.

What is in memory is one field's. Fields come in the order of ``fields.parquet``, failed ones too.
"""

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from hpacells.core.cell_table import (
    CELL_SCHEMA,
    EMBEDDING_SCHEMA,
    FIELD_SCHEMA,
    PROBABILITY_COLUMNS,
    CellStatus,
    FieldStatus,
)
from hpacells.core.errors import InputError
from hpacells.core.masks import CellMasks
from hpacells.core.provenance import sha256_file
from hpacells.core.run_tables import iterate_by_field, open_table
from hpacells.images.mask_files import read_masks
from hpacells.predict.run_folder import (
    CELLS_FILE,
    EMBEDDINGS_FILE,
    FIELDS_FILE,
    MASKS,
    RUN_FILE,
    read_run,
)

__all__ = ["FieldSource", "FinishedRun", "RunField", "open_run"]


@dataclass(frozen=True)
class RunField:
    """One field of a run.

    Parameters
    ----------
    run
        The run folder.
    row
        Its row of ``fields.parquet``.
    cells
        Its rows of ``cells.parquet``, ids ascending; none for a failed field.
    embedding
        ``(N, D)`` float32, in the order of ``cells``; None where it was not asked for.
    """

    run: Path
    row: dict[str, Any]
    cells: pa.Table
    embedding: npt.NDArray[np.float32] | None = None

    @property
    def fov_id(self) -> str:
        """Of the field."""
        return str(self.row["fov_id"])

    @property
    def is_done(self) -> bool:
        """Whether the field could be used."""
        return bool(self.row["status"] == FieldStatus.DONE.value)

    @property
    def probabilities(self) -> npt.NDArray[np.float32]:
        """The cell scores, ``(N, K)``."""
        planes = [self.cells[name].to_numpy() for name in PROBABILITY_COLUMNS]
        return np.stack(planes, axis=1).astype(np.float32)

    @property
    def top_locations(self) -> list[int | None]:
        """Per cell the class of its highest score, None for a rejected one."""
        highest = self.probabilities.argmax(axis=1).tolist()
        rejected = CellStatus.REJECTED.value
        return [
            None if status == rejected else top
            for status, top in zip(self.cells["status"].to_pylist(), highest, strict=True)
        ]

    def read_masks(self) -> CellMasks:
        """Read the two label images.

        Raises
        ------
        ImageError
            When they are missing or damaged.
        InputError
            When their size or ids are not those of the tables.
        """
        masks = read_masks(
            self.run / MASKS, self.fov_id, pixel_size_um=self.row["pixel_size_um"] or 0.0
        )
        expected = (self.row["height"], self.row["width"])
        ids = self.cells["cell_id"].to_pylist()
        if masks.cells.shape != expected or masks.cell_ids.tolist() != ids:
            raise InputError(
                f"{self.run / MASKS}: the masks of field {self.fov_id} have another size or other "
                "cell ids than the run's tables. They were changed: bring corrections in with "
                "'hpacells import', or run again."
            )
        return masks


class FieldSource(Protocol):
    """Gives the fields of the run, in order."""

    def __call__(self, *, with_embedding: bool = False) -> Iterator[RunField]:
        """Read field by field."""


@dataclass(frozen=True)
class FinishedRun:
    """A run folder whose ``run.json`` is there.

    Parameters
    ----------
    folder
        The run folder.
    provenance
        The content of ``run.json``.
    digest
        Hash of ``run.json``: another one, another run.
    n_fields, n_cells, embedding_size
        Rows of the tables, and D of the embeddings.
    """

    folder: Path
    provenance: dict[str, Any]
    digest: str
    n_fields: int
    n_cells: int
    embedding_size: int

    def fields(self, *, with_embedding: bool = False) -> Iterator[RunField]:
        """Read field by field.

        Raises
        ------
        InputError
            When the tables do not fit each other.
        """
        with ExitStack() as stack:
            cells = self._grouped(CELLS_FILE, CELL_SCHEMA, stack)
            embeddings = self._grouped(EMBEDDINGS_FILE, EMBEDDING_SCHEMA, stack)
            waiting = next(cells, None)
            table = stack.enter_context(open_table(self.folder / FIELDS_FILE, FIELD_SCHEMA.names))
            for batch in table.iter_batches(256, columns=FIELD_SCHEMA.names):
                for row in batch.to_pylist():
                    rows, embedding = CELL_SCHEMA.empty_table(), None
                    self._check_named(waiting, upto=row["fov_id"])
                    if waiting is not None and waiting[0] == row["fov_id"]:
                        rows, waiting = waiting[1], next(cells, None)
                        if with_embedding:
                            embedding = self._stack_embedding(rows, next(embeddings, None))
                    yield RunField(self.folder, row, rows, embedding)
            self._check_named(waiting)

    def field(self, fov_id: str) -> RunField:
        """Read one field, without the others and without embeddings.

        Raises
        ------
        InputError
            When the run has no such field.
        """
        tables = []
        for name, schema in ((FIELDS_FILE, FIELD_SCHEMA), (CELLS_FILE, CELL_SCHEMA)):
            path, wanted = self.folder / name, [("fov_id", "==", fov_id)]
            tables.append(
                pq.read_table(path, columns=schema.names, filters=wanted, partitioning=None)
            )
        fields, cells = tables
        if not fields.num_rows:
            names = pq.read_table(self.folder / FIELDS_FILE, columns=["fov_id"], partitioning=None)
            near = get_close_matches(fov_id, names["fov_id"].to_pylist(), cutoff=0.3)
            raise InputError(
                f"{self.folder}: expected a field of the run, got {fov_id!r}. "
                f"There {'is' if len(near) == 1 else 'are'} {', '.join(near) or 'none like it'}."
            )
        return RunField(self.folder, fields.to_pylist()[0], cells)

    def _check_named(
        self, waiting: tuple[str, pa.Table] | None, *, upto: str | None = None
    ) -> None:
        """Refuse cells of a field that the fields table has not named by now."""
        if waiting is not None and (upto is None or waiting[0] < upto):
            raise InputError(
                f"{self.folder / CELLS_FILE}: field {waiting[0]} is not in {FIELDS_FILE}, or "
                "not in its order. The tables were changed: run again."
            )

    def _grouped(
        self, name: str, schema: pa.Schema, stack: ExitStack
    ) -> Iterator[tuple[str, pa.Table]]:
        path = self.folder / name
        file = stack.enter_context(open_table(path, schema.names))
        return iterate_by_field(path, file, schema.names)

    def _stack_embedding(
        self, cells: pa.Table, found: tuple[str, pa.Table] | None
    ) -> npt.NDArray[np.float32]:
        keys = ["fov_id", "cell_id"]
        if found is None or not found[1].select(keys).equals(cells.select(keys)):
            raise InputError(
                f"{self.folder / EMBEDDINGS_FILE}: expected the cells of {CELLS_FILE} in their "
                "order. The tables were changed: run again."
            )
        column = found[1]["embedding"].combine_chunks()
        return np.asarray(column.flatten(), np.float32).reshape(len(column), -1)


def open_run(folder: Path) -> FinishedRun:
    """Open a run folder for export.

    Raises
    ------
    InputError
        When it is no run folder, is not finished, or a table lacks a column.
    """
    with (
        open_table(folder / FIELDS_FILE, FIELD_SCHEMA.names) as fields,
        open_table(folder / CELLS_FILE, CELL_SCHEMA.names) as cells,
        open_table(folder / EMBEDDINGS_FILE, EMBEDDING_SCHEMA.names) as embeddings,
    ):
        provenance = read_run(folder)
        if provenance is None:
            raise InputError(
                f"{folder}: the run is not finished ({RUN_FILE} is missing). Repeat the command "
                "that made it: it continues."
            )
        return FinishedRun(
            folder,
            provenance,
            sha256_file(folder / RUN_FILE),
            n_fields=fields.metadata.num_rows,
            n_cells=cells.metadata.num_rows,
            embedding_size=_embedding_size(embeddings),
        )


def _embedding_size(file: pq.ParquetFile) -> int:
    for batch in file.iter_batches(1, columns=["embedding"]):
        return len(batch["embedding"][0])
    return 0

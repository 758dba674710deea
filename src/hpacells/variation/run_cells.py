"""A run folder's tables, field by field: memory holds one field's cells."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from hpacells.core.cell_table import CELL_QUALITY_COLUMNS, EMBEDDING_SCHEMA, FieldStatus
from hpacells.core.errors import InputError, TableError
from hpacells.core.parquet import naming_damage, open_parquet
from hpacells.variation.field_cells import CELL_COLUMNS, FieldCells, fields_of

__all__ = ["GROUP_LEVELS", "LEVELS", "RunCells", "open_run", "run_of_tables"]

GROUP_LEVELS = ("gene", "cell_line")
LEVELS = ("field", *GROUP_LEVELS)
_FIELD_COLUMNS = ("fov_id", "status", *GROUP_LEVELS)
_BATCH_ROWS = 16_384


@dataclass(frozen=True)
class RunCells:
    """Where cells come from, and to what their fields belong.

    Parameters
    ----------
    cells
        A table, or a file that is read in batches; sorted by fov_id.
    known
        All fov_ids of the fields table.
    groups
        Of each done field, ascending: the levels that it belongs to and their names.
    embeddings
        File of as many rows as the cells'; None where there is none. A table in memory may have
        them as its column ``embedding``.
    """

    cells: pa.Table | pq.ParquetFile
    known: frozenset[str]
    groups: dict[str, list[tuple[str, str]]]
    embeddings: pq.ParquetFile | None = None

    @property
    def has_embeddings(self) -> bool:
        """Whether ``done_fields`` can give them."""
        if isinstance(self.cells, pa.Table):
            return "embedding" in self.cells.column_names
        return self.embeddings is not None

    def done_fields(self, *, embedded: bool = False) -> Iterator[tuple[str, FieldCells]]:
        """Give each done field that has cells in the table, with those that count.

        Parameters
        ----------
        embedded
            Whether their embeddings are wanted, too, where there are any.

        Raises
        ------
        TableError
            When cells stand in no field, are not sorted, or embeddings are of other cells.
        """
        batches: Iterable[pa.RecordBatch]
        if isinstance(self.cells, pa.Table):
            batches = self.cells.to_batches(_BATCH_ROWS)
        else:
            names = set(self.cells.schema_arrow.names)
            columns = [*CELL_COLUMNS, *(n for n in CELL_QUALITY_COLUMNS if n in names)]
            batches = self.cells.iter_batches(_BATCH_ROWS, columns=columns)
            if embedded and self.embeddings is not None:
                batches = _embed(batches, self.embeddings)
        for fov_id, cells in fields_of(batches):
            if fov_id not in self.known:
                raise TableError(f"cells table: field {fov_id} is not in the fields table")
            if fov_id in self.groups:
                yield fov_id, cells


def open_run(run_folder: Path) -> RunCells:
    """Open the tables of a run folder.

    Raises
    ------
    InputError
        When a table is missing, or the run is not finished.
    TableError
        When a table is damaged or lacks a column.
    """
    paths = [run_folder / name for name in ("cells.parquet", "fields.parquet")]
    for path in paths:
        if not path.is_file():
            unfinished = (run_folder / "settings.json").is_file()
            raise InputError(
                f"{path}: expected a run folder's table, found none. "
                + (
                    "The run is not finished: the same 'hpacells run' continues it."
                    if unfinished
                    else "Make it with 'hpacells run'."
                )
            )
    embedded = run_folder / "embeddings.parquet"
    files = []
    for path in [*paths, embedded] if embedded.is_file() else paths:
        with naming_damage(path, "Make the run again in another folder."):
            files.append(open_parquet(path))
    cells, fields, *rest = files
    _check_columns(cells.schema_arrow, CELL_COLUMNS, str(paths[0]))
    _check_columns(fields.schema_arrow, _FIELD_COLUMNS, str(paths[1]))
    for embeddings in rest:
        _check_columns(embeddings.schema_arrow, tuple(EMBEDDING_SCHEMA.names), str(embedded))
    return _join(cells, fields.read(list(_FIELD_COLUMNS)), *rest)


def run_of_tables(cells: pa.Table, fields: pa.Table) -> RunCells:
    """Take tables in memory for a run.

    Raises
    ------
    TableError
        When one of them lacks a column.
    """
    _check_columns(cells.schema, CELL_COLUMNS, "cells table")
    _check_columns(fields.schema, _FIELD_COLUMNS, "fields table")
    return _join(cells, fields)


def _embed(
    batches: Iterable[pa.RecordBatch], embeddings: pq.ParquetFile
) -> Iterator[pa.RecordBatch]:
    """Add each cell's embedding, which stands in the same row of its own file."""
    columns = EMBEDDING_SCHEMA.names
    source = embeddings.iter_batches(_BATCH_ROWS, columns=columns)
    ahead = embeddings.schema_arrow.empty_table().select(columns)
    for batch in batches:
        while len(ahead) < len(batch) and (more := next(source, None)) is not None:
            ahead = pa.concat_tables([ahead, pa.Table.from_batches([more]).select(columns)])
        own, ahead = ahead.slice(0, len(batch)).combine_chunks(), ahead.slice(len(batch))
        if any(own[k].combine_chunks() != batch[k] for k in ("fov_id", "cell_id")):
            raise TableError(
                "embeddings.parquet: expected the cells of cells.parquet, row by row, got others. "
                "Are the two files of one run?"
            )
        values = own["embedding"].combine_chunks()
        yield pa.RecordBatch.from_arrays(
            [*batch.columns, values], names=[*batch.schema.names, "embedding"]
        )


def _join(
    cells: pa.Table | pq.ParquetFile, fields: pa.Table, embeddings: pq.ParquetFile | None = None
) -> RunCells:
    done = fields.filter(pc.equal(fields["status"], FieldStatus.DONE.value)).sort_by("fov_id")
    groups = {
        row["fov_id"]: [(level, row[level]) for level in GROUP_LEVELS if row[level] is not None]
        for row in done.select(["fov_id", *GROUP_LEVELS]).to_pylist()
    }
    return RunCells(cells, frozenset(fields["fov_id"].to_pylist()), groups, embeddings)


def _check_columns(schema: pa.Schema, wanted: tuple[str, ...], where: str) -> None:
    missing = [name for name in wanted if name not in schema.names]
    if missing:
        raise TableError(
            f"{where}: expected the columns of a run folder's table, {', '.join(missing)} "
            "missing. Has 'hpacells run' or 'hpacells predict' written it?"
        )

"""A run folder's tables, field by field: memory holds one field's cells."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from hpacells.core.cell_table import CELL_QUALITY_COLUMNS, FieldStatus
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
    """

    cells: pa.Table | pq.ParquetFile
    known: frozenset[str]
    groups: dict[str, list[tuple[str, str]]]

    def done_fields(self) -> Iterator[tuple[str, FieldCells]]:
        """Give each done field that has cells in the table, with those that count.

        Raises
        ------
        TableError
            When cells stand in no field, or are not sorted.
        """
        if isinstance(self.cells, pa.Table):
            batches = self.cells.to_batches(_BATCH_ROWS)
        else:
            names = set(self.cells.schema_arrow.names)
            columns = [*CELL_COLUMNS, *(n for n in CELL_QUALITY_COLUMNS if n in names)]
            batches = self.cells.iter_batches(_BATCH_ROWS, columns=columns)
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
    files = []
    for path in paths:
        with naming_damage(path, "Make the run again in another folder."):
            files.append(open_parquet(path))
    cells, fields = files
    _check_columns(cells.schema_arrow, CELL_COLUMNS, str(paths[0]))
    _check_columns(fields.schema_arrow, _FIELD_COLUMNS, str(paths[1]))
    return _join(cells, fields.read(list(_FIELD_COLUMNS)))


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


def _join(cells: pa.Table | pq.ParquetFile, fields: pa.Table) -> RunCells:
    done = fields.filter(pc.equal(fields["status"], FieldStatus.DONE.value)).sort_by("fov_id")
    groups = {
        row["fov_id"]: [(level, row[level]) for level in GROUP_LEVELS if row[level] is not None]
        for row in done.select(["fov_id", *GROUP_LEVELS]).to_pylist()
    }
    return RunCells(cells, frozenset(fields["fov_id"].to_pylist()), groups)


def _check_columns(schema: pa.Schema, wanted: tuple[str, ...], where: str) -> None:
    missing = [name for name in wanted if name not in schema.names]
    if missing:
        raise TableError(
            f"{where}: expected the columns of a run folder's table, {', '.join(missing)} "
            "missing. Has 'hpacells run' or 'hpacells predict' written it?"
        )

"""The Parquet tables of a run folder, opened with a check and read field by field.

Memory does not grow with their length. What the columns mean is said by ``core.cell_table``.
"""

from collections.abc import Iterable, Iterator
from itertools import groupby
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from hpacells.core.errors import InputError
from hpacells.core.parquet import open_parquet

__all__ = ["BATCH_ROWS", "iterate_by_field", "open_table"]

BATCH_ROWS = 4096
"""Rows that are in memory at a time."""


def open_table(path: Path, columns: Iterable[str]) -> pq.ParquetFile:
    """Open a table of a run folder, refusing one that lacks a column.

    Parameters
    ----------
    path
        The table.
    columns
        That it must have.

    Raises
    ------
    InputError
        When it is missing, damaged, or lacks a column.
    """
    if not path.is_file():
        raise InputError(
            f"{path}: not there. Expected a run folder, as 'hpacells run IMAGES OUT' makes it."
        )
    try:
        file = open_parquet(path)
    except pa.ArrowInvalid as error:
        raise InputError(f"{path}: not a readable Parquet file ({error}).") from error
    missing = [name for name in columns if name not in file.schema_arrow.names]
    if missing:
        file.close()
        raise InputError(
            f"{path}: column(s) missing: {', '.join(missing)}. The table is of another version or "
            "was changed: make it again with 'hpacells run'."
        )
    return file


def iterate_by_field(
    path: Path, file: pq.ParquetFile, columns: list[str]
) -> Iterator[tuple[str, pa.Table]]:
    """Read a table sorted by fov_id field by field.

    Parameters
    ----------
    path
        Named in errors.
    file
        As ``open_table`` gives it.
    columns
        To read, ``fov_id`` among them; those that the table lacks are passed over.

    Yields
    ------
    tuple
        fov_id and its rows, ascending.

    Raises
    ------
    InputError
        When the rows are not sorted by fov_id.
    """
    current: str | None = None
    parts: list[pa.RecordBatch] = []
    for batch in file.iter_batches(BATCH_ROWS, columns=columns):
        start = 0
        for fov_id, rows in groupby(batch.column("fov_id").to_pylist()):
            length = sum(1 for _ in rows)
            if fov_id != current:
                if current is not None:
                    _check_order(path, current, fov_id)
                    yield current, pa.Table.from_batches(parts)
                current, parts = fov_id, []
            parts.append(batch.slice(start, length))
            start += length
    if current is not None:
        yield current, pa.Table.from_batches(parts)


def _check_order(path: Path, earlier: str, later: str) -> None:
    if later < earlier:
        raise InputError(
            f"{path}: expected rows sorted by fov_id, got {later!r} after {earlier!r}. "
            "The table was changed: make it again with 'hpacells run'."
        )

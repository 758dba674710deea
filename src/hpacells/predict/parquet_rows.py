"""A Parquet file written from many small tables, whole or not there."""

from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

import pyarrow as pa
import pyarrow.parquet as pq

from hpacells.core.storage import atomic_path

__all__ = ["ParquetRows"]

_ROWS_PER_GROUP = 4096


class ParquetRows:
    """A Parquet file written atomically from tables of any length, in row groups of one length.

    Parameters
    ----------
    path
        Appears when the block ends well.
    schema
        Of the file; columns of a table that it does not name are left out.
    """

    def __init__(self, path: Path, schema: pa.Schema) -> None:
        self._schema = schema
        self._waiting: list[pa.Table] = []
        self._n_waiting = 0
        self._path = path

    def __enter__(self) -> Self:
        self._stack = ExitStack()
        temporary = self._stack.enter_context(atomic_path(self._path))
        self._writer = self._stack.enter_context(pq.ParquetWriter(temporary, self._schema))
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is None:
            with self._stack:
                self._flush()
        else:
            self._stack.__exit__(kind, error, trace)

    def add(self, table: pa.Table) -> None:
        """Append rows."""
        rows = table.select(self._schema.names)
        self._waiting.append(rows if rows.schema == self._schema else rows.cast(self._schema))
        self._n_waiting += table.num_rows
        if self._n_waiting >= _ROWS_PER_GROUP:
            self._flush()

    def _flush(self) -> None:
        if self._n_waiting:
            self._writer.write_table(pa.concat_tables(self._waiting).combine_chunks())
        self._waiting, self._n_waiting = [], 0

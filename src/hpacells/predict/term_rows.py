"""``terms.parquet``: what a model tells apart beyond the 19 locations, one row a cell.

It stands beside the other tables where the model has terms (``runtime.terms``), and holds fov_id,
cell_id and a float32 column ``term_<term>`` each, in [0, 1].
"""

from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

import pyarrow as pa

from hpacells.predict.parquet_rows import ParquetRows
from hpacells.runtime.terms import TERM_PREFIX

__all__ = ["TERMS_TABLE", "TermRows"]

TERMS_TABLE = "terms.parquet"

_KEYS = [
    pa.field("fov_id", pa.string(), nullable=False),
    pa.field("cell_id", pa.int32(), nullable=False),
]


class TermRows:
    """The table of terms, made when the first cells with terms are added.

    Parameters
    ----------
    path
        Appears when the block ends well, and cells with terms were added.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._rows: ParquetRows | None = None
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stack.__exit__(kind, error, trace)

    def add(self, cells: pa.Table) -> None:
        """Append cells: ``fov_id``, ``cell_id`` and columns of terms; nothing without those."""
        terms = [name for name in cells.column_names if name.startswith(TERM_PREFIX)]
        if not terms:
            return
        if self._rows is None:
            schema = pa.schema(
                [*_KEYS, *(pa.field(name, pa.float32(), nullable=False) for name in terms)]
            )
            self._rows = self._stack.enter_context(ParquetRows(self._path, schema))
        self._rows.add(cells)

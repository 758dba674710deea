"""``cells.csv`` and ``fields.csv``: the run folder's tables as text.

Numbers are written so that reading them as the same type gives them back exactly; an empty cell is
an unknown value. Types of columns and the embeddings are lost.
"""

from contextlib import ExitStack
from pathlib import Path

import pyarrow as pa
from pyarrow import csv

from hpacells.core.cell_table import CELL_SCHEMA, FIELD_SCHEMA
from hpacells.core.storage import atomic_path
from hpacells.export.config import ExportSettings
from hpacells.export.run_reader import FieldSource, FinishedRun

__all__ = ["write_csv_tables"]


def write_csv_tables(
    run: FinishedRun, fields: FieldSource, out: Path, settings: ExportSettings
) -> tuple[str, ...]:
    """Write both tables.

    Parameters
    ----------
    run, settings
        Not needed; every format takes them.
    fields
        Gives the fields, failed ones too.
    out
        Folder.
    """
    del run, settings
    with ExitStack() as stack:
        cell_rows = _open(stack, out / "cells.csv", CELL_SCHEMA)
        field_rows = _open(stack, out / "fields.csv", FIELD_SCHEMA)
        for field in fields():
            cell_rows.write_table(field.cells)
            field_rows.write_table(pa.Table.from_pylist([field.row], schema=FIELD_SCHEMA))
    return ()


def _open(stack: ExitStack, path: Path, schema: pa.Schema) -> csv.CSVWriter:
    temporary = stack.enter_context(atomic_path(path))
    return stack.enter_context(csv.CSVWriter(temporary, schema))

"""The run folder's tables, made of its finished fields in sorted order, a few fields at a time.

The bytes depend on the fields alone: row groups are cut by rows, not by who finished when.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from hpacells.core.cell_table import (
    CELL_SCHEMA,
    EMBEDDING_SCHEMA,
    FIELD_SCHEMA,
    PROBABILITY_COLUMNS,
    CellStatus,
    FieldStatus,
)
from hpacells.core.locations import LOCATION_KEYS
from hpacells.core.submission import SubmissionRow, write_submission
from hpacells.predict.parquet_rows import ParquetRows
from hpacells.predict.parts import read_parts
from hpacells.predict.run_folder import (
    CELLS_FILE,
    EMBEDDINGS_FILE,
    FIELDS_FILE,
    SUBMISSION_FILE,
)
from hpacells.predict.term_rows import TERMS_TABLE, TermRows

__all__ = ["FailedField", "KnownField", "TableCounts", "write_tables"]


class KnownField(Protocol):
    """What the tables need of an input field: its id and what is known of it; a ``FovRecord``."""

    @property
    def fov_id(self) -> str:
        """Of the field."""

    def metadata(self) -> dict[str, str | None]:
        """Give what tables say of the field, as columns."""


@dataclass
class TableCounts:
    """What was counted while the tables were written.

    Parameters
    ----------
    fields
        Fields by status.
    cells
        Mask ids by status, as the fields tell them.
    n_rows
        Rows of the cells table.
    top_locations
        Per location, the ok and border cells whose highest score it has.
    digests
        Hash of the input of every finished field.
    warnings
        Per finished field in which something looks wrong, what.
    """

    fields: Counter[str] = field(default_factory=Counter)
    cells: Counter[str] = field(default_factory=Counter)
    n_rows: int = 0
    top_locations: Counter[str] = field(default_factory=Counter)
    digests: dict[str, str] = field(default_factory=dict)
    warnings: dict[str, str] = field(default_factory=dict)

    def add_field(self, row: Mapping[str, Any], cells: pa.Table) -> None:
        """Count a finished field."""
        self.fields[FieldStatus.DONE.value] += 1
        for status in CellStatus:
            self.cells[status.value] += row[f"n_{status.value}"]
        self.n_rows += cells.num_rows
        self.digests[row["fov_id"]] = row["digest"]
        if row["reason"] is not None:
            self.warnings[row["fov_id"]] = row["reason"]
        counted = pc.not_equal(cells["status"], CellStatus.REJECTED.value).to_numpy()
        scores = np.stack([cells[name].to_numpy() for name in PROBABILITY_COLUMNS], axis=1)
        self.top_locations.update(LOCATION_KEYS[k] for k in scores[counted].argmax(axis=1).tolist())


@dataclass(frozen=True)
class FailedField:
    """A field that could not be used.

    Parameters
    ----------
    reason
        One line.
    width, height
        Of its image in pixels; 0 where unknown.
    """

    reason: str
    width: int = 0
    height: int = 0


def write_tables(
    out: Path, records: Sequence[KnownField], failures: Mapping[str, FailedField]
) -> TableCounts:
    """Write cells, fields, embeddings, terms and the submission of all fields.

    Parameters
    ----------
    out
        Run folder; every record without a failure has a part in it.
    records
        The input, sorted by fov_id.
    failures
        By fov_id.

    Returns
    -------
    TableCounts
        Of what was written.
    """
    counts = TableCounts()
    with (
        ParquetRows(out / CELLS_FILE, CELL_SCHEMA) as cell_rows,
        ParquetRows(out / EMBEDDINGS_FILE, EMBEDDING_SCHEMA) as embedding_rows,
        ParquetRows(out / FIELDS_FILE, FIELD_SCHEMA) as field_rows,
        TermRows(out / TERMS_TABLE) as term_rows,
    ):
        done = (record.fov_id for record in records if record.fov_id not in failures)
        parts = read_parts(out, done)

        def pass_on() -> Iterator[SubmissionRow]:
            for record in records:
                failure = failures.get(record.fov_id)
                if failure is not None:
                    counts.fields[FieldStatus.FAILED.value] += 1
                    row = {**_FAILED, "fov_id": record.fov_id, "reason": failure.reason}
                    submitted = SubmissionRow(record.fov_id, failure.width, failure.height, "")
                else:
                    row, cells = next(parts)
                    counts.add_field(row, cells)
                    cell_rows.add(cells)
                    embedding_rows.add(cells)
                    term_rows.add(cells)
                    submitted = SubmissionRow(
                        record.fov_id, row["width"], row["height"], row["predictions"]
                    )
                field_rows.add(_field_table({**row, **record.metadata()}))
                yield submitted

        write_submission(out / SUBMISSION_FILE, pass_on())
    return counts


_FAILED: Mapping[str, Any] = {
    "status": FieldStatus.FAILED.value,
    **dict.fromkeys(("width", "height", "n_ok", "n_border", "n_rejected"), 0),
}


def _field_table(row: Mapping[str, Any]) -> pa.Table:
    return pa.Table.from_pylist([{n: row.get(n) for n in FIELD_SCHEMA.names}], schema=FIELD_SCHEMA)

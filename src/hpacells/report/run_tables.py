"""The tables of a run folder, read in pieces so that memory does not grow with their length.

What leaves are plain rows (``FieldRow``, ``Variation``) and one table of cells per field. Masks
and previews are not read here.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from hpacells.core.cell_table import (
    CELL_QUALITY_COLUMNS,
    CELL_SCHEMA,
    FIELD_QUALITY_COLUMNS,
    FIELD_SCHEMA,
    IMAGE_COLUMNS,
    PROBABILITY_COLUMNS,
    VARIATION_SCHEMA,
    FieldStatus,
)
from hpacells.core.errors import TableError
from hpacells.core.fov import METADATA_COLUMNS
from hpacells.core.locations import LOCATIONS, parse_class_ids
from hpacells.core.run_tables import BATCH_ROWS, iterate_by_field, open_table

__all__ = [
    "FieldRow",
    "Variation",
    "count_fields",
    "iterate_cells",
    "iterate_fields",
    "iterate_variation",
]

_SHOWN_CELL_COLUMNS = (
    "fov_id",
    "cell_id",
    "status",
    "reason",
    "area_um2",
    "nucleus_area_um2",
    "doubt",
    *PROBABILITY_COLUMNS,
)
_NEEDED_CELL_COLUMNS = [n for n in CELL_SCHEMA.names if n not in CELL_QUALITY_COLUMNS]
_NEEDED_FIELD_COLUMNS = [n for n in FIELD_SCHEMA.names if n not in FIELD_QUALITY_COLUMNS]
"""Tables of versions without quality flags are read too."""

EMPTY_CELLS = pa.schema([CELL_SCHEMA.field(name) for name in _SHOWN_CELL_COLUMNS]).empty_table()


@dataclass(frozen=True)
class FieldRow:
    """One row of ``fields.parquet`` as the page shows it."""

    fov_id: str
    status: FieldStatus
    reason: str
    width: int
    height: int
    pixel_size_um: float | None
    n_ok: int
    n_border: int
    n_rejected: int
    flags: tuple[str, ...]
    image_scores: tuple[float, ...] | None
    known: tuple[tuple[str, str], ...]
    own_label: str | None

    @property
    def n_cells(self) -> int:
        """Cells that count: ok and border."""
        return self.n_ok + self.n_border


@dataclass(frozen=True)
class Variation:
    """One row of ``variation.parquet``; every number may be None (unknown)."""

    level: str
    row_id: str
    n_cells: int
    spatial: dict[str, float | None]
    intensity: dict[str, float | None]


def count_fields(run_folder: Path) -> int:
    """Count the rows of ``fields.parquet`` without reading them."""
    with open_table(run_folder / "fields.parquet", _NEEDED_FIELD_COLUMNS) as file:
        return int(file.metadata.num_rows)


def iterate_fields(run_folder: Path) -> Iterator[FieldRow]:
    """Read ``fields.parquet`` row by row, in its order.

    Raises
    ------
    InputError
        When the file or one of its columns is missing.
    """
    with open_table(run_folder / "fields.parquet", _NEEDED_FIELD_COLUMNS) as file:
        # columns that a table lacks are passed over
        for batch in file.iter_batches(BATCH_ROWS, columns=FIELD_SCHEMA.names):
            for row in batch.to_pylist():
                yield _read_field_row(row)


def _read_field_row(row: dict[str, Any]) -> FieldRow:
    scores = [row[name] for name in IMAGE_COLUMNS]
    plain = ("fov_id", "width", "height", "pixel_size_um", "n_ok", "n_border", "n_rejected")
    return FieldRow(
        **{name: row[name] for name in plain},
        status=FieldStatus(row["status"]),
        reason=row["reason"] or "",
        flags=tuple(name for name in FIELD_QUALITY_COLUMNS if row.get(name)),
        image_scores=None if None in scores else tuple(scores),
        known=tuple(
            (name.replace("_", " "), row[name])
            for name in METADATA_COLUMNS
            if row[name] is not None
        ),
        own_label=_name_labels(row["image_labels"]),
    )


def _name_labels(text: str | None) -> str | None:
    """Turn class ids joined with ``|`` into names; any other text stays as it is."""
    if text is None:
        return None
    try:
        return ", ".join(LOCATIONS[i].title for i in parse_class_ids(text)) or "no class"
    except TableError:
        return text


def iterate_cells(run_folder: Path) -> Iterator[tuple[str, pa.Table]]:
    """Read ``cells.parquet`` field by field.

    Yields
    ------
    tuple
        fov_id and the rows of its cells (the columns that the page shows), ascending.

    Raises
    ------
    InputError
        When the file or a column is missing, or the rows are not sorted by fov_id.
    """
    path = run_folder / "cells.parquet"
    columns = [*_SHOWN_CELL_COLUMNS, *CELL_QUALITY_COLUMNS]
    with open_table(path, _NEEDED_CELL_COLUMNS) as file:
        yield from iterate_by_field(path, file, columns)


def iterate_variation(run_folder: Path) -> Iterator[Variation]:
    """Read ``variation.parquet`` row by row; nothing where a run has none."""
    path = run_folder / "variation.parquet"
    if not path.exists():
        return
    with open_table(path, VARIATION_SCHEMA.names) as file:
        for batch in file.iter_batches(BATCH_ROWS, columns=VARIATION_SCHEMA.names):
            for row in batch.to_pylist():
                numbers = {
                    kind: {
                        key.removeprefix(f"{kind}_"): value
                        for key, value in row.items()
                        if key.startswith(f"{kind}_")
                    }
                    for kind in ("spatial", "intensity")
                }
                yield Variation(row["level"], row["id"], row["n_cells"], **numbers)

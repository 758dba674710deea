"""The tables of a run folder, read in pieces so that memory does not grow with their length.

What leaves are plain rows (``FieldRow``, ``Variation``) and one table of cells per field. Masks
and previews are not read here.
"""

from collections.abc import Container, Iterator
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
from hpacells.variation.associations import ASSOCIATION_SCHEMA, ASSOCIATIONS_FILE
from hpacells.variation.outliers import OUTLIER_SCHEMA, OUTLIERS_FILE

__all__ = [
    "EMPTY_CELLS",
    "FieldRow",
    "Variation",
    "count_fields",
    "iterate_associations",
    "iterate_cells",
    "iterate_fields",
    "iterate_variation",
    "read_outliers",
]

_SHOWN_CELL_COLUMNS = (
    "fov_id",
    "cell_id",
    "status",
    "reason",
    "r0",
    "c0",
    "r1",
    "c1",
    "area_um2",
    "nucleus_area_um2",
    "protein_mean",
    "protein_total",
    "dna_total",
    "doubt",
    *PROBABILITY_COLUMNS,
)
_LATER_CELL_COLUMNS = (*CELL_QUALITY_COLUMNS, "chance_inside")
_NEEDED_CELL_COLUMNS = [n for n in CELL_SCHEMA.names if n not in _LATER_CELL_COLUMNS]
_NEEDED_FIELD_COLUMNS = [n for n in FIELD_SCHEMA.names if n not in FIELD_QUALITY_COLUMNS]
"""Tables of versions without these columns are read too."""

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
    for row in _iterate_rows(run_folder / "variation.parquet", VARIATION_SCHEMA):
        numbers = {
            kind: {
                key.removeprefix(f"{kind}_"): value
                for key, value in row.items()
                if key.startswith(f"{kind}_")
            }
            for kind in ("spatial", "intensity")
        }
        yield Variation(row["level"], row["id"], row["n_cells"], **numbers)


def iterate_associations(run_folder: Path) -> Iterator[dict[str, Any]]:
    """Read the associations of variation, rows of ``ASSOCIATION_SCHEMA``; nothing without any."""
    yield from _iterate_rows(run_folder / ASSOCIATIONS_FILE, ASSOCIATION_SCHEMA)


def read_outliers(run_folder: Path, fov_ids: Container[str]) -> dict[tuple[str, int], str]:
    """Say of the outlier cells of some fields in what they stand out, and how far.

    Returns
    -------
    dict
        (fov_id, cell_id) → such as ``spatial (z 4.2)``; empty where a run has no such table.
    """
    found: dict[tuple[str, int], str] = {}
    for row in _iterate_rows(run_folder / OUTLIERS_FILE, OUTLIER_SCHEMA):
        if row["fov_id"] in fov_ids:
            key, text = (row["fov_id"], row["cell_id"]), f"{row['kind']} (z {row['z']:.1f})"
            found[key] = f"{found[key]}, {text}" if key in found else text
    return found


def _iterate_rows(path: Path, schema: pa.Schema) -> Iterator[dict[str, Any]]:
    """Read a table that a run may lack."""
    if path.exists():
        with open_table(path, schema.names) as file:
            for batch in file.iter_batches(BATCH_ROWS, columns=schema.names):
                yield from batch.to_pylist()

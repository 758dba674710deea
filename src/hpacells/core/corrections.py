"""``corrections.parquet``: what people say of single cells, beside a run's own tables.

One row per cell and person; a later word of the same person replaces the earlier. Corrected
outlines are label images in ``corrections/masks``, whole fields as ``masks/`` has them: a cell
keeps its id, a new one has an id that the run did not use.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from hpacells.core.errors import TableError
from hpacells.core.locations import format_class_ids, parse_class_ids
from hpacells.core.parquet import naming_damage
from hpacells.core.storage import atomic_path

__all__ = [
    "CORRECTED_MASKS",
    "CORRECTIONS_FILE",
    "CORRECTION_SCHEMA",
    "Action",
    "Correction",
    "add_corrections",
    "read_corrections",
]

CORRECTIONS_FILE = "corrections.parquet"
CORRECTED_MASKS = "corrections/masks"

_ADVICE = "Delete it and import again."


class Action(StrEnum):
    """What is said of a cell."""

    ACCEPT = "accept"
    """It is right as it is."""
    CORRECT = "correct"
    """Its locations are others (``locations``), or its outline is (``locations`` null)."""
    REJECT = "reject"
    """It is no cell, or none to learn from."""
    COMMENT = "comment"
    """Nothing but ``comment``."""


CORRECTION_SCHEMA = pa.schema(
    [
        pa.field("fov_id", pa.string(), nullable=False),
        pa.field("cell_id", pa.int32(), nullable=False),
        pa.field("action", pa.string(), nullable=False),
        pa.field("locations", pa.string()),
        pa.field("comment", pa.string()),
        pa.field("who", pa.string()),
        pa.field("when", pa.timestamp("us", tz="UTC"), nullable=False),
        pa.field("source", pa.string(), nullable=False),
    ]
)


@dataclass(frozen=True)
class Correction:
    """One word on one cell.

    Parameters
    ----------
    fov_id, cell_id
        Of the cell.
    action
        What is said.
    source
        Where it was said: a file's name.
    when
        In UTC.
    locations
        Sorted class ids; None: unchanged.
    comment, who
        None where not given.
    """

    fov_id: str
    cell_id: int
    action: Action
    source: str
    when: datetime
    locations: tuple[int, ...] | None = None
    comment: str | None = None
    who: str | None = None

    @property
    def key(self) -> tuple[str, int, str]:
        """What a later correction replaces."""
        return self.fov_id, self.cell_id, self.who or ""


def read_corrections(run_folder: Path) -> list[Correction]:
    """Read a run's corrections, sorted by cell and person; none where there is no file.

    Raises
    ------
    TableError
        When the file is damaged or no such table.
    """
    path = run_folder / CORRECTIONS_FILE
    if not path.is_file():
        return []
    with naming_damage(path, _ADVICE):
        table = pq.read_table(path)
        if table.schema.names != CORRECTION_SCHEMA.names:
            raise TableError(
                f"{path}: expected the columns {', '.join(CORRECTION_SCHEMA.names)}, got "
                f"{', '.join(table.schema.names)}. {_ADVICE}"
            )
    return [_read_row(row, path) for row in table.to_pylist()]


def add_corrections(
    run_folder: Path, new: Iterable[Correction], *, instead_of: str | None = None
) -> int:
    """Add corrections to a run's, atomically.

    Parameters
    ----------
    run_folder
        The run; to be called under its lock.
    new
        Each replaces what the same person said of the same cell before.
    instead_of
        Source whose earlier corrections all go: ``new`` is everything it has to say. What the same
        person said elsewhere later stays then.

    Returns
    -------
    int
        How many came, changed or went. With 0 the file stays as it was.

    Raises
    ------
    TableError
        As ``read_corrections``.
    """
    known = {correction.key: correction for correction in read_corrections(run_folder)}
    merged = {key: c for key, c in known.items() if instead_of is None or c.source != instead_of}
    for correction in new:
        other = merged.get(correction.key)
        if instead_of is None or other is None or other.when <= correction.when:
            merged[correction.key] = correction
    n_changed = sum(known.get(key) != merged.get(key) for key in known.keys() | merged.keys())
    if n_changed:
        ordered = sorted(merged.values(), key=lambda correction: correction.key)
        table = pa.Table.from_pylist([_row(c) for c in ordered], schema=CORRECTION_SCHEMA)
        with atomic_path(run_folder / CORRECTIONS_FILE) as temporary:
            pq.write_table(table, temporary)
    return n_changed


def _row(correction: Correction) -> dict[str, Any]:
    row = {name: getattr(correction, name) for name in CORRECTION_SCHEMA.names}
    if correction.locations is not None:
        row["locations"] = format_class_ids(correction.locations)
    return row | {"action": correction.action.value, "when": correction.when.astimezone(UTC)}


def _read_row(row: dict[str, Any], path: Path) -> Correction:
    where = f"{path}: field {row['fov_id']}, cell {row['cell_id']}"
    try:
        action = Action(row["action"])
    except ValueError as error:
        raise TableError(
            f"{where}: expected the action {', '.join(Action)}, got {row['action']!r}. {_ADVICE}"
        ) from error
    locations = row["locations"]
    parsed = None if locations is None else parse_class_ids(locations, where=where)
    return Correction(**{**row, "action": action, "locations": parsed})

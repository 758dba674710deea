"""Corrected labels in a CSV: ``fov_id, cell_id`` and any of ``locations, action, comment``.

``locations`` are class ids or names of locations joined with ``|``. A row without ``locations``,
``action`` and ``comment`` says nothing, so ``cells.csv`` of an export can be filled in and read
back whole. Without ``action`` a row with locations is a correction, one with a comment alone a
comment.
"""

from datetime import datetime
from pathlib import Path

from hpacells.core.corrections import Action, Correction
from hpacells.core.errors import TableError
from hpacells.core.locations import LOCATIONS, parse_class_ids
from hpacells.images.tables import CsvRow, raise_problems, read_csv

__all__ = ["read_csv_corrections"]

_CLASS_OF = {
    name: str(location.class_id)
    for location in LOCATIONS
    for name in (location.key, location.title.casefold())
}


def read_csv_corrections(
    path: Path, cells: dict[str, set[int]], *, who: str | None, when: datetime
) -> list[Correction]:
    """Read the corrections of a table.

    Parameters
    ----------
    path
        The CSV.
    cells
        Cell ids of each field of the run.
    who, when
        Of rows that don't say ``who``; of all rows.

    Raises
    ------
    TableError
        All problems together, each with its row.
    """
    rows, problems = read_csv(path, ("fov_id", "cell_id"))
    found: dict[tuple[str, int, str], Correction] = {}
    for row in rows:
        if not any(row.get(name) for name in ("locations", "action", "comment")):
            continue
        try:
            correction = _read_row(row, cells, path.name, who=who, when=when)
        except TableError as error:
            problems.append(str(error))
            continue
        if correction.key in found:
            problems.append(f"row {row.number}: that cell stands in an earlier row too")
        found[correction.key] = correction
    raise_problems(path, problems)
    return list(found.values())


def _read_row(
    row: CsvRow, cells: dict[str, set[int]], source: str, *, who: str | None, when: datetime
) -> Correction:
    where = f"row {row.number}"
    fov_id, number = row.cells["fov_id"], row.cells["cell_id"]
    if fov_id not in cells:
        raise TableError(f"{where}: the run has no field {fov_id!r} with cells")
    if not (number.isascii() and number.isdigit()) or int(number) not in cells[fov_id]:
        raise TableError(f"{where}: field {fov_id} has no cell {number!r}")
    text = row.get("locations")
    if text is not None:
        words = [_CLASS_OF.get(word.strip().casefold(), word) for word in text.split("|")]
        text = "|".join(words)
    locations = None if text is None else parse_class_ids(text, where=where)
    return Correction(
        fov_id,
        int(number),
        _read_action(row, locations, where),
        source,
        when,
        locations=locations,
        comment=row.get("comment"),
        who=row.get("who") or who,
    )


def _read_action(row: CsvRow, locations: tuple[int, ...] | None, where: str) -> Action:
    given = row.get("action")
    if given is None:
        return Action.COMMENT if locations is None else Action.CORRECT
    if given.casefold() not in [action.value for action in Action]:
        raise TableError(f"{where}: expected the action {', '.join(Action)}, got {given!r}")
    action = Action(given.casefold())
    if (locations is not None) != (action is Action.CORRECT):
        raise TableError(
            f"{where}: locations belong to the action correct, and to no other; got {given!r} "
            f"{'with' if locations is not None else 'without'} locations"
        )
    return action

"""A CSV manifest: one row a field, one file per stain, and what is known of it.

Columns ``fov_id, red, green, blue, yellow`` and where known ``pixel_size_um``, ``Label`` and the
metadata columns of ``core.fov``. Paths are relative to the manifest's folder, or absolute. The
column says the stain, whatever the file is called. An empty path means that the stain is missing:
the field stays in the list and fails when it is read, as it does when the file is not there.
"""

import logging
from pathlib import Path

from hpacells.core.channels import CHANNELS
from hpacells.core.errors import InputError
from hpacells.core.fov import METADATA_COLUMNS, FovRecord
from hpacells.images.labels import add_labels, parse_row
from hpacells.images.tables import CsvRow, raise_problems, read_csv

__all__ = ["read_manifest"]

_log = logging.getLogger(__name__)

_REQUIRED = ("fov_id", *(channel.value for channel in CHANNELS))
_KNOWN = {*_REQUIRED, *METADATA_COLUMNS, "pixel_size_um", "Label"}


def read_manifest(path: Path) -> list[FovRecord]:
    """Read a manifest.

    Parameters
    ----------
    path
        The CSV file.

    Returns
    -------
    list of FovRecord
        In the order of the file. No image file is touched.

    Raises
    ------
    TableError
        Columns missing, an id empty, twice or with path separators, a label or pixel size
        malformed: all of them together, each with its row.
    InputError
        The file cannot be read, or has no rows.
    """
    rows, problems = read_csv(path, _REQUIRED)
    records: dict[str, FovRecord] = {}
    row_of: dict[str, int] = {}
    for row in rows:
        fov_id = row.cells["fov_id"]
        if fov_id in row_of:
            problems.append(f"row {row.number}: {fov_id} stands in row {row_of[fov_id]} too")
            continue
        row_of[fov_id] = row.number
        try:
            record = _record(row, path.parent)
        except InputError as error:
            problems.append(f"row {row.number}: {error}")
            continue
        records[fov_id] = add_labels(record, parse_row(row, problems))
    raise_problems(path, problems)
    if not records:
        raise InputError(f"{path}: expected one row per field, got none. Add the fields.")
    ignored = sorted(set(rows[0].cells) - _KNOWN)
    if ignored:
        _log.warning("%s: columns not used: %s", path, ", ".join(ignored))
    return list(records.values())


def _record(row: CsvRow, folder: Path) -> FovRecord:
    fov_id = row.cells["fov_id"]
    paths = {
        channel: folder / (row.cells[channel.value] or f"{fov_id}_{channel.value}")
        for channel in CHANNELS
    }
    return FovRecord(fov_id, paths)

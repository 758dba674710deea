"""A CSV manifest: one row a field, one file per stain, and what is known of it.

Columns ``fov_id, red, green, blue, yellow`` and where known ``pixel_size_um``, ``Label`` and the
metadata columns of ``core.fov``. Paths are relative to the manifest's folder, or absolute. The
column says the stain, whatever the file is called. An empty path means that the stain is missing:
the field stays in the list and fails when it is read, as it does when the file is not there.

A file that holds several stains stands in the column of each, and the columns ``red_channel,
green_channel, blue_channel, yellow_channel`` say which of its channels each is, by name or by
number from 1; ``scene`` says which of its images, from 1. A stain without a channel has a file of
its own.
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
_CHANNEL_COLUMN = {channel: f"{channel.value}_channel" for channel in CHANNELS}
_KNOWN = {
    *_REQUIRED,
    *METADATA_COLUMNS,
    *_CHANNEL_COLUMN.values(),
    "pixel_size_um",
    "bit_depth",
    "scene",
    "Label",
}


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
        Columns missing, an id empty, twice or with path separators, a label, pixel size
        or scene malformed: all of them together, each with its row.
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
    planes = {channel: name for channel in CHANNELS if (name := row.get(_CHANNEL_COLUMN[channel]))}
    scene = row.get("scene") or "1"
    if not (scene.isascii() and scene.isdigit() and 0 < int(scene) < 1_000_000):
        raise InputError(f"expected a scene counted from 1, got {scene!r}")
    return FovRecord(fov_id, paths, planes=planes, scene=int(scene))

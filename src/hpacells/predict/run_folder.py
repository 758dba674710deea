"""A run folder on disk: where its files are, whose it is, and starting or continuing it.

::

    OUT/settings.json            written first: what every later command must agree with
    OUT/masks/                   one pair of files a field
    OUT/previews/composite/, OUT/previews/stains/    one picture each a field
    OUT/previews/outlines/       the cells' outlines on those pictures
    OUT/parts/<fov_id>.*.arrow   a finished field (``predict.parts``)
    OUT/*.parquet, submission.csv, report.html    made of the parts
    OUT/run.json                 written last: the folder is complete
"""

import json
from pathlib import Path
from typing import Any

from hpacells.core.errors import OutputError
from hpacells.core.location import is_remote
from hpacells.core.settings_difference import describe_difference
from hpacells.core.storage import remove_leftovers, write_json

__all__ = [
    "CELLS_FILE",
    "COMPOSITE",
    "EMBEDDINGS_FILE",
    "FIELDS_FILE",
    "MASKS",
    "OUTLINES",
    "PARTS",
    "PREVIEWS",
    "RUN_FILE",
    "SETTINGS_FILE",
    "STAINS",
    "SUBMISSION_FILE",
    "check_owner",
    "field_files",
    "outlines_file",
    "prepare_run_folder",
    "read_run",
]

SETTINGS_FILE = "settings.json"
RUN_FILE = "run.json"
CELLS_FILE = "cells.parquet"
FIELDS_FILE = "fields.parquet"
EMBEDDINGS_FILE = "embeddings.parquet"
SUBMISSION_FILE = "submission.csv"
MASKS = "masks"
PREVIEWS = "previews"
COMPOSITE = "composite"
STAINS = "stains"
OUTLINES = "outlines"
PARTS = "parts"

_ADVICE = "Choose another output folder."


def field_files(fov_id: str) -> list[str]:
    """Name a finished field's files in its run folder, in the order in which they are written.

    Returns
    -------
    list of str
        Paths relative to the folder; the last one makes the field finished.
    """
    return [
        *[f"{MASKS}/{fov_id}_{part}.png" for part in ("nuclei", "cells")],
        *[f"{PREVIEWS}/{kind}/{fov_id}.jpg" for kind in (COMPOSITE, STAINS)],
        outlines_file(fov_id),
        *[f"{PARTS}/{fov_id}.{table}.arrow" for table in ("cells", "field")],
    ]


def outlines_file(fov_id: str) -> str:
    """Name the file of a field's outlines; older runs have none."""
    return f"{PREVIEWS}/{OUTLINES}/{fov_id}.json"


def check_owner(out: Path, settings: dict[str, Any]) -> None:
    """Refuse a folder that is not this run's; it is not touched.

    Parameters
    ----------
    out
        May be missing or empty.
    settings
        As ``predict.config.describe_settings`` gives them.

    Raises
    ------
    OutputError
        When it holds something else, or a run of other settings; the message says which differ.
    """
    path = out / SETTINGS_FILE
    if not path.is_file():
        if out.is_dir() and any(not entry.name.startswith(".") for entry in out.iterdir()):
            raise OutputError(f"{out}: not empty and not a run folder. {_ADVICE}")
        return
    try:
        earlier = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise OutputError(f"{path}: not JSON ({error}). {_ADVICE}") from error
    if not isinstance(earlier, dict):
        raise OutputError(f"{path}: expected settings of a run. {_ADVICE}")
    if earlier.keys() != settings.keys():
        raise OutputError(
            f"{out}: made by another command, or another version of this one. {_ADVICE}"
        )
    differing = describe_difference(earlier, settings)
    if differing:
        raise OutputError(f"{out}: holds a run of another {differing}. {_ADVICE}")


def prepare_run_folder(out: Path, settings: dict[str, Any]) -> None:
    """Start a run folder or continue it; to be called under its lock.

    What a killed process left unfinished is removed.

    Raises
    ------
    OutputError
        As ``check_owner``.
    """
    check_owner(out, settings)
    if not (out / SETTINGS_FILE).is_file():
        write_json(out / SETTINGS_FILE, settings)
    previews = [f"{PREVIEWS}/{kind}" for kind in (COMPOSITE, STAINS, OUTLINES)]
    for folder in (out, *(out / name for name in (MASKS, PARTS, *previews))):
        if not is_remote(folder):  # an object store has no folders, and mkdir makes buckets
            folder.mkdir(parents=True, exist_ok=True)
        remove_leftovers(folder)


def read_run(out: Path) -> dict[str, Any] | None:
    """Read ``run.json``; None where the folder is not complete.

    Raises
    ------
    OutputError
        When it is not JSON.
    """
    path = out / RUN_FILE
    if not path.is_file():
        return None
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise OutputError(f"{path}: not JSON ({error}). Delete it and run again.") from error
    return dict(content)

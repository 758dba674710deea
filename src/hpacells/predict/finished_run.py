"""A finished run folder as another command takes it up: what it was asked, its fields, failures."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hpacells.core.cell_table import FieldStatus
from hpacells.core.errors import InputError
from hpacells.core.fov import METADATA_COLUMNS
from hpacells.core.parquet import naming_damage, open_parquet
from hpacells.core.submission import iterate_submission
from hpacells.predict.run_folder import (
    FIELDS_FILE,
    RUN_FILE,
    SETTINGS_FILE,
    SUBMISSION_FILE,
    read_run,
)
from hpacells.predict.shard import ShardsHeld
from hpacells.predict.tables import FailedField

__all__ = ["FinishedField", "FinishedRun", "read_finished_run"]

_KNOWN = (*METADATA_COLUMNS, "image_labels")
_EXPECTED = "expected a run folder made by 'hpacells run'"
_AGAIN = "Run the same 'hpacells run' command again."


@dataclass(frozen=True)
class FinishedField:
    """A field of a finished run: its id, and what tables said of it."""

    fov_id: str
    known: Mapping[str, str | None]

    def metadata(self) -> dict[str, str | None]:
        """Give what tables say of the field, as its ``FovRecord`` does."""
        return dict(self.known)


@dataclass(frozen=True)
class FinishedRun:
    """A finished run folder.

    Parameters
    ----------
    path
        The folder.
    settings
        Content of ``settings.json``.
    fields
        All, failed ones too, sorted by fov_id.
    failures, digests
        Of the failed fields, and the inputs' hashes of the others, by fov_id.
    shards
        Which shards it holds; None: a whole run.
    plan, versions
        As ``run.json`` has them.
    """

    path: Path
    settings: dict[str, Any]
    fields: tuple[FinishedField, ...]
    failures: dict[str, FailedField]
    digests: dict[str, str]
    shards: ShardsHeld | None
    plan: Any
    versions: dict[str, str]


def read_finished_run(path: Path) -> FinishedRun:
    """Read what another command must know of a run folder; masks and cells are not looked at.

    Raises
    ------
    InputError
        When it is no run folder, or not a finished one.
    TableError
        When a table is damaged.
    """
    if not (path / SETTINGS_FILE).is_file():
        raise InputError(f"{path}: {_EXPECTED}, found none.")
    run = read_run(path)
    if run is None:
        raise InputError(f"{path}: not finished, it has no {RUN_FILE}. {_AGAIN}")
    if "inputs_sha256" not in run:
        raise InputError(f"{path}: {_EXPECTED}, got another command's.")
    for name in (FIELDS_FILE, SUBMISSION_FILE):
        if not (path / name).is_file():
            raise InputError(f"{path}: not whole, it has no {name}. {_AGAIN}")
    with naming_damage(path / FIELDS_FILE, _AGAIN), open_parquet(path / FIELDS_FILE) as file:
        rows = file.read(["fov_id", "status", "reason", *_KNOWN]).to_pylist()
    failed = {row["fov_id"]: row["reason"] for row in rows if row["status"] == FieldStatus.FAILED}
    return FinishedRun(
        path,
        settings=json.loads((path / SETTINGS_FILE).read_text(encoding="utf-8")),
        fields=tuple(
            FinishedField(row["fov_id"], {name: row[name] for name in _KNOWN}) for row in rows
        ),
        failures=_read_failures(path, failed),
        digests=dict(run["inputs_sha256"]),
        shards=ShardsHeld.read(run),
        plan=run["plan"],
        versions=dict(run["versions"]),
    )


def _read_failures(path: Path, failed: Mapping[str, str]) -> dict[str, FailedField]:
    """Add to each reason the image's size: of a failed field, the submission alone has it."""
    if not failed:
        return {}
    return {
        row.fov_id: FailedField(failed[row.fov_id], row.width, row.height)
        for row in iterate_submission(path / SUBMISSION_FILE)
        if row.fov_id in failed
    }

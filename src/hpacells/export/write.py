"""One export: whose the folder is, what is there already, what is written.

::

    OUT/export.json     written first with "done": false, at the end with true: format, options,
                        which run, counts, notes
    OUT/…               the files of the format (``export.formats`` says which)

A file is whole or not there. An interrupted export continues with the fields that are missing;
when the run has changed since, everything is written anew.
"""

import json
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hpacells import __version__
from hpacells.core.errors import ConfigError, OutputError
from hpacells.core.pools import keep_in_flight
from hpacells.core.progress import ProgressCallback, silent
from hpacells.core.settings_difference import describe_difference
from hpacells.core.storage import output_lock, remove_leftovers, write_json
from hpacells.export.config import ExportSettings
from hpacells.export.formats import FORMATS, FieldFormat
from hpacells.export.run_reader import FinishedRun, RunField, open_run

__all__ = ["EXPORTS", "EXPORT_FILE", "ExportSummary", "export_run"]

EXPORTS = "exports"
EXPORT_FILE = "export.json"

_ADVICE = "Choose another folder with --out, or delete this one."


@dataclass(frozen=True)
class ExportSummary:
    """What an export came to.

    Parameters
    ----------
    out
        The folder.
    changed
        False: everything was there already.
    n_fields, n_cells, n_failed
        Usable fields and their cells; fields of the run that failed.
    notes
        What the caller should tell.
    """

    out: Path
    changed: bool
    n_fields: int
    n_cells: int
    n_failed: int
    notes: tuple[str, ...]


def export_run(
    run_folder: Path,
    settings: ExportSettings,
    *,
    out: Path | None = None,
    workers: int | None = None,
    progress: ProgressCallback = silent,
) -> ExportSummary:
    """Write a run folder in another format.

    Parameters
    ----------
    run_folder
        A finished run.
    settings
        Format and its options.
    out
        Folder to write to; None: ``exports/<format>`` in the run folder.
    workers
        Fields at the same time, where the format has a file per field; None: as many as cores.
    progress
        Told of every field.

    Returns
    -------
    ExportSummary
        What is in the folder now.

    Raises
    ------
    InputError
        When the run folder is not finished or damaged.
    OutputError
        When the folder holds something else, or an export with other options.
    MissingExtraError
        When the format's library is not installed.
    """
    if workers is not None and workers < 1:
        raise ConfigError(f"--workers: expected 1 or more, got {workers}.")
    run = open_run(run_folder)
    out = out or run_folder / EXPORTS / settings.to.value
    request = _describe(run, settings)
    _check_owner(out, request)
    with output_lock(out):
        earlier = _read_export(out)
        if earlier.get("request") == request and earlier.get("done"):
            return _summarise(out, earlier, changed=False)
        if earlier.get("request") != request:
            write_json(out / EXPORT_FILE, {"request": request, "done": False})
        remove_leftovers(out)
        target = FORMATS[settings.to]
        if isinstance(target, FieldFormat):
            keep = earlier.get("request") == request
            counts = _write_fields(
                run, target, settings, out=out, keep=keep, workers=workers, progress=progress
            )
            notes: tuple[str, ...] = ()
        else:
            counter = _Counter(run, progress)
            notes = target.write(run, counter.watch, out, settings)
            counts = counter.counts
        content = {
            "request": request,
            "done": True,
            "hpacells": __version__,
            "counts": counts,
            "notes": list(notes),
        }
        write_json(out / EXPORT_FILE, content)
        return _summarise(out, content, changed=True)


def _describe(run: FinishedRun, settings: ExportSettings) -> dict[str, Any]:
    return {**settings.model_dump(mode="json"), "run_sha256": run.digest}


def _check_owner(out: Path, request: dict[str, Any]) -> None:
    """Refuse a folder of something else, or of other options; the run may have gone on."""
    earlier = _read_export(out).get("request")
    files = [entry.name for entry in out.iterdir() if entry.name[0] != "."] if out.is_dir() else []
    if earlier is None and files:
        raise OutputError(f"{out}: not empty and not an export. {_ADVICE}")
    if earlier is None or files == [EXPORT_FILE]:  # or one that came to nothing
        return
    differing = describe_difference({**earlier, "run_sha256": ""}, {**request, "run_sha256": ""})
    if differing:
        raise OutputError(f"{out}: holds an export with another {differing}. {_ADVICE}")


def _read_export(out: Path) -> dict[str, Any]:
    path = out / EXPORT_FILE
    if not path.is_file():
        return {}
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise OutputError(f"{path}: not JSON ({error}). {_ADVICE}") from error
    if not isinstance(content, dict) or not isinstance(content.get("request"), dict):
        raise OutputError(f"{path}: expected the record of an export. {_ADVICE}")
    return content


def _summarise(out: Path, content: dict[str, Any], *, changed: bool) -> ExportSummary:
    counts = content["counts"]
    return ExportSummary(
        out, changed, counts["fields"], counts["cells"], counts["failed"], tuple(content["notes"])
    )


class _Counter:
    """Counts the fields that pass, and tells of them."""

    def __init__(self, run: FinishedRun, progress: ProgressCallback) -> None:
        self._run, self._progress, self._seen = run, progress, 0
        self.counts = {"fields": 0, "cells": 0, "failed": 0}

    def watch(self, *, with_embedding: bool = False) -> Iterator[RunField]:
        """Give the run's fields; one is counted when the next is asked for."""
        for field in self._run.fields(with_embedding=with_embedding):
            yield field
            self.tell(field)

    def tell(self, field: RunField) -> None:
        """Count a field."""
        self._seen += 1
        self.counts["fields" if field.is_done else "failed"] += 1
        self.counts["cells"] += field.cells.num_rows
        self._progress(self._seen, self._run.n_fields, field.fov_id)


def _write_fields(
    run: FinishedRun,
    target: FieldFormat,
    settings: ExportSettings,
    *,
    out: Path,
    keep: bool,
    workers: int | None,
    progress: ProgressCallback,
) -> dict[str, int]:
    """Write a file per usable field, side by side; ``keep``: leave those that are there."""
    counter = _Counter(run, progress)
    write_one = target.open_writer(run, settings)

    def write(field: RunField) -> None:
        path = out / (field.fov_id + target.suffix(settings))
        if field.is_done and not (keep and path.exists()):
            write_one(field, path)

    n_workers = workers or os.cpu_count() or 1
    with ThreadPoolExecutor(n_workers) as pool:
        for field, _ in keep_in_flight(
            lambda field: pool.submit(write, field), run.fields(), limit=n_workers
        ):
            counter.tell(field)
    return counter.counts

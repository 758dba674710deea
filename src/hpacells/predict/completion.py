"""The end of a run: its tables, its variation, what the caller adds, and ``run.json`` last."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hpacells.core.cell_table import CellStatus, FieldStatus
from hpacells.core.provenance import hash_settings, installed_versions
from hpacells.core.storage import write_json
from hpacells.predict.run_folder import (
    CELLS_FILE,
    EMBEDDINGS_FILE,
    FIELDS_FILE,
    RUN_FILE,
    SUBMISSION_FILE,
    read_run,
)
from hpacells.predict.shard import SHARDS_KEY
from hpacells.predict.tables import FailedField, KnownField, TableCounts, write_tables
from hpacells.variation.scores import write_variation

__all__ = ["FinishCallback", "RunSummary", "complete_run", "find_unchanged_run"]

FinishCallback = Callable[[Path, dict[str, Any]], object]
"""Called with the run folder and what ``run.json`` will hold, before that is written."""

_TABLES = (CELLS_FILE, FIELDS_FILE, EMBEDDINGS_FILE, SUBMISSION_FILE)


@dataclass(frozen=True)
class RunSummary:
    """What a run came to.

    Parameters
    ----------
    out
        The run folder.
    provenance
        The content of ``run.json``.
    n_new
        Fields finished by this call.
    changed
        False: everything was there already and no file was rewritten.
    """

    out: Path
    provenance: dict[str, Any]
    n_new: int
    changed: bool

    @property
    def failures(self) -> dict[str, str]:
        """Reasons by fov_id, sorted."""
        return dict(self.provenance["failed"])

    @property
    def warnings(self) -> dict[str, str]:
        """What looks wrong with finished fields, by fov_id, sorted."""
        return dict(self.provenance["warnings"])


def find_unchanged_run(
    out: Path,
    records: Sequence[KnownField],
    failures: Mapping[str, FailedField],
    *,
    how: Mapping[str, Any],
) -> RunSummary | None:
    """Give the run as it is when its tables already say what they would say now, else None.

    To be asked when no field was finished since: the input's metadata and the failures are
    compared, and whether the files are there.
    """
    earlier = read_run(out)
    if earlier is None or not all((out / name).is_file() for name in _TABLES):
        return None
    same = (
        earlier.get("metadata_sha256") == _hash_metadata(records)
        and earlier.get("failed") == _list_failures(failures)
        and earlier.get("counts", {}).get("fields") == len(records)
        and earlier.get(SHARDS_KEY) == how.get(SHARDS_KEY)
    )
    return RunSummary(out, earlier, n_new=0, changed=False) if same else None


def complete_run(
    out: Path,
    records: Sequence[KnownField],
    failures: Mapping[str, FailedField],
    *,
    settings: Mapping[str, Any],
    how: Mapping[str, Any],
    n_new: int,
    finish: FinishCallback | None = None,
) -> RunSummary:
    """Write everything that is made of all fields.

    Parameters
    ----------
    out
        Run folder; every record without a failure has a part in it.
    records
        The input, sorted by fov_id.
    failures
        By fov_id.
    settings
        As ``predict.config.describe_settings`` gives them.
    how
        Added to ``run.json``: how machines were used, which shards these are. Not settings.
    n_new
        Fields finished by this call.
    finish
        See ``FinishCallback``.
    """
    # from here on the folder is not complete: the tables are replaced one by one
    (out / RUN_FILE).unlink(missing_ok=True)
    counts = write_tables(out, records, failures)
    write_variation(out)
    provenance = {
        **settings,
        "settings_sha256": hash_settings(dict(settings)),
        "versions": installed_versions(),
        **how,
        "inputs_sha256": counts.digests,
        "metadata_sha256": _hash_metadata(records),
        "failed": _list_failures(failures),
        "warnings": counts.warnings,
        "counts": _count(counts),
        "top_locations": dict(counts.top_locations),
    }
    if finish is not None:
        finish(out, provenance)
    write_json(out / RUN_FILE, provenance)
    return RunSummary(out, provenance, n_new=n_new, changed=True)


def _count(counts: TableCounts) -> dict[str, int]:
    """Fields in = done + failed; cells = ok + border + rejected."""
    fields = {status.value: counts.fields[status.value] for status in FieldStatus}
    cells = {status.value: counts.cells[status.value] for status in CellStatus}
    return {
        "fields": sum(fields.values()),
        **fields,
        "cells": counts.n_rows,
        **cells,
    }


def _list_failures(failures: Mapping[str, FailedField]) -> dict[str, str]:
    return {fov_id: failures[fov_id].reason for fov_id in sorted(failures)}


def _hash_metadata(records: Sequence[KnownField]) -> str:
    return hash_settings({record.fov_id: record.metadata() for record in records})

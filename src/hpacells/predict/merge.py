"""Run folders of shards to one run folder, the same as one run over all fields would have made.

Nothing is predicted. The finished fields of each run become those of the merged folder (hard links
where both lie on one file system, else copies), and its tables are made of them by the code that
ends every run. So the tables are those of one run, byte for byte; the same command over all fields
continues the merged folder; and merging again takes up what has come since.
"""

import os
import shutil
from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

from hpacells.core.errors import InputError, OutputError
from hpacells.core.location import is_remote, read_content
from hpacells.core.progress import ProgressCallback, silent
from hpacells.core.settings_difference import describe_difference
from hpacells.core.storage import atomic_path, output_lock
from hpacells.predict.completion import (
    FinishCallback,
    RunSummary,
    complete_run,
    find_unchanged_run,
)
from hpacells.predict.finished_run import FinishedRun, read_finished_run
from hpacells.predict.parts import finished_fields, read_digest
from hpacells.predict.run_folder import (
    check_owner,
    field_files,
    outlines_file,
    prepare_run_folder,
)
from hpacells.predict.shard import ShardsHeld
from hpacells.runtime.variation_null import copy_null

__all__ = ["merge_runs"]

_SHOWN = 5
_COMMAND = "'hpacells run IMAGES OUT --shard i/N'"


def merge_runs(
    runs: Sequence[Path],
    out: Path,
    *,
    missing_ok: bool = False,
    progress: ProgressCallback = silent,
    finish: FinishCallback | None = None,
) -> RunSummary:
    """Merge the run folders of shards.

    Parameters
    ----------
    runs
        Finished run folders of one request, each of another shard or, merged before, of several.
        They are only read.
    out
        The merged run folder: new, or of an earlier merge of the same request.
    missing_ok
        Merge although shards are missing; ``run.json`` says which the folder holds.
    progress
        Told of each field that is taken over.
    finish
        As for ``predict.engine.run_fields``.

    Returns
    -------
    RunSummary
        Of the merged folder, also when nothing was to be done.

    Raises
    ------
    InputError
        When a run is not finished or no shard's, settings differ, shards or fields stand in two
        runs, or shards are missing. Nothing is written then.
    OutputError
        When ``out`` is another run's or something else, holds fields that no run has, another
        process writes to it, or a file of a field is missing.
    """
    sources = [read_finished_run(run) for run in runs]
    held = _check_sources(sources, missing_ok=missing_ok)
    settings = sources[0].settings
    if out.resolve() in {source.path.resolve() for source in sources}:
        raise InputError(f"{out}: is one of the runs to be merged. Choose a new folder.")
    check_owner(out, settings)
    digests = {fov_id: d for source in sources for fov_id, d in source.digests.items()}
    with output_lock(out):
        prepare_run_folder(out, settings)
        copy_null(sources[0].path, out)
        finished = set(finished_fields(out))
        _check_finished(out, finished, digests)
        n_new = len(digests) - len(finished)
        for i, fov_id in enumerate(_take_fields(sources, out, finished), start=1):
            progress(len(finished) + i, len(digests), fov_id)
        records = sorted(
            chain.from_iterable(source.fields for source in sources), key=lambda f: f.fov_id
        )
        failures = {f: failure for source in sources for f, failure in source.failures.items()}
        how = {**_describe_origin(sources), **held.describe()}
        unchanged = n_new == 0 and find_unchanged_run(out, records, failures, how=how)
        return unchanged or complete_run(
            out, records, failures, settings=settings, how=how, n_new=n_new, finish=finish
        )


def _check_sources(sources: Sequence[FinishedRun], *, missing_ok: bool) -> ShardsHeld:
    """Refuse runs that do not make one together; give the shards that they hold."""
    if not sources:
        raise InputError("expected at least one run folder to merge, got none.")
    first = sources[0]
    owner_of: dict[int, Path] = {}
    for source in sources:
        differing = describe_difference(first.settings, source.settings)
        if differing:
            raise InputError(
                f"{source.path}: made with other settings than {first.path}: "
                f"{differing.replace('asked for', 'here')}. Merge runs of one request."
            )
        if source.shards is None:
            raise InputError(
                f"{source.path}: a whole run; expected runs of shards, made by {_COMMAND}."
            )
        if first.shards is not None and source.shards.of != first.shards.of:
            raise InputError(
                f"{source.path}: one of {source.shards.of} shards, {first.path} is one of "
                f"{first.shards.of}. Merge shards of one division."
            )
        for index in source.shards.held:
            if index in owner_of:
                raise InputError(
                    f"{source.path}: holds shard {index}, and so does {owner_of[index]}. "
                    "Leave one of them out."
                )
            owner_of[index] = source.path
    _check_overlap(sources)
    n_shards = first.shards.of if first.shards else 0
    held = ShardsHeld(n_shards, tuple(sorted(owner_of)))
    if held.missing and not missing_ok:
        raise InputError(
            f"expected {held.of} shards, {len(held.missing)} are missing: "
            f"{_enumerate(held.missing)}. Run them, or merge what is there with --missing-ok."
        )
    return held


def _check_overlap(sources: Sequence[FinishedRun]) -> None:
    owner_of: dict[str, Path] = {}
    for source in sources:
        for known in source.fields:
            if known.fov_id in owner_of:
                raise InputError(
                    f"{source.path}: holds field {known.fov_id}, and so does "
                    f"{owner_of[known.fov_id]}. Leave one of them out."
                )
            owner_of[known.fov_id] = source.path


def _check_finished(out: Path, finished: set[str], digests: dict[str, str]) -> None:
    """Refuse a merged folder that holds what the runs do not say."""
    strange = sorted(finished - digests.keys())
    if strange:
        raise OutputError(
            f"{out}: holds {len(strange)} finished field(s) that no run has: "
            f"{_enumerate(strange)}. Name all runs, or choose another output folder."
        )
    changed = sorted(f for f in finished if read_digest(out, f) != digests[f])
    if changed:
        raise OutputError(
            f"{out}: {len(changed)} field(s) were merged from another input: "
            f"{_enumerate(changed)}. Choose another output folder."
        )


def _take_fields(sources: Sequence[FinishedRun], out: Path, finished: set[str]) -> Iterator[str]:
    """Link or copy fields' files, those that make a field finished last; give each field."""
    for source in sources:
        for fov_id in sorted(source.digests.keys() - finished):
            if read_digest(source.path, fov_id) != source.digests[fov_id]:
                raise OutputError(
                    f"{source.path}: field {fov_id} is not the one that run.json tells of. Finish "
                    "that run with its own command first."
                )
            for name in field_files(fov_id):
                if name == outlines_file(fov_id) and not (source.path / name).is_file():
                    continue  # a run of an older version; the report makes its own
                _take_file(source.path / name, out / name)
            yield fov_id


def _take_file(source: Path, target: Path) -> None:
    """Link, or copy where that is not possible; files of a run folder are replaced, not changed."""
    with atomic_path(target) as temporary:
        try:
            if is_remote(source):
                temporary.write_bytes(read_content(source))
                return
            os.link(source, temporary)
        except FileNotFoundError as error:
            raise OutputError(
                f"{source}: missing. Finish that run with its own command first."
            ) from error
        except OSError:  # another file system, or one without links
            shutil.copyfile(source, temporary)


def _describe_origin(sources: Sequence[FinishedRun]) -> dict[str, Any]:
    """Say with what the runs were made: once where all agree, else each of what there is."""
    plans: list[Any] = []
    versions: dict[str, list[str]] = {}
    for source in sources:
        if source.plan not in plans:
            plans.append(source.plan)
        for name, version in source.versions.items():
            seen = versions.setdefault(name, [])
            if version not in seen:
                seen.append(version)
    return {
        "plan": plans[0] if len(plans) == 1 else plans,
        "versions": {name: " / ".join(seen) for name, seen in versions.items()},
    }


def _enumerate(names: Sequence[object]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(str(name) for name in names[:_SHOWN]) + more

"""Fields to a run folder, streamed: memory holds the fields in flight, never all of them.

A finished field is committed at once, so a killed run continues where it was; its results are the
same, byte for byte, whatever the number of workers and however often it was interrupted. A field
that cannot be used is recorded and passed over; a folder that cannot be written stops the run.

An input that changed since its field was finished is refused, and so is one that disappeared: a run
folder holds the results of one input. Failed fields leave nothing behind, they are tried again.
"""

import logging
import socket
from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import cv2

from hpacells.core.errors import ImageError, InputError, ModelError, OutputError, PixelSizeError
from hpacells.core.fov import FieldOfView, FovRecord
from hpacells.core.location import open_location
from hpacells.core.memory import keeping_freed_memory
from hpacells.core.progress import ProgressCallback, silent
from hpacells.core.settings_difference import describe_difference
from hpacells.core.storage import output_lock
from hpacells.core.threads import keep_library_threads, library_threads
from hpacells.predict.completion import (
    FinishCallback,
    RunSummary,
    complete_run,
    find_unchanged_run,
)
from hpacells.predict.config import RunSettings, describe_settings
from hpacells.predict.field import FieldTools, commit_field, digest_input, predict_field, read_input
from hpacells.predict.flow import StopSignal, side_by_side
from hpacells.predict.networks import open_classifier, place_segmenter
from hpacells.predict.parts import finished_fields, is_finished, read_digest
from hpacells.predict.plan import ExecutionPlan
from hpacells.predict.ray_cluster import over_cluster
from hpacells.predict.run_folder import SETTINGS_FILE, check_owner, prepare_run_folder
from hpacells.predict.tables import FailedField
from hpacells.runtime.model_folder import ModelFolder, load_model
from hpacells.runtime.variation_null import copy_null
from hpacells.segment.registry import Segmenter, get_segmenter

__all__ = ["open_remote_work", "run_fields"]

logger = logging.getLogger(__name__)

_SAID_ERRORS = (InputError, ModelError)
_FIELD_ERRORS = (*_SAID_ERRORS, cv2.error, MemoryError, ValueError, ArithmeticError, LookupError)
"""What can be wrong with one field's content, or with what a network makes of it; anything else
stops the run."""

_SHOWN = 5
_SHARE = "Use a folder that all nodes share, or a URL."

Work = Callable[[FovRecord], FailedField | None]
"""Predicts and commits a field, and gives what was wrong with it."""


def run_fields(
    records: Sequence[FovRecord],
    out: Path,
    settings: RunSettings,
    *,
    plan: ExecutionPlan,
    progress: ProgressCallback = silent,
    finish: FinishCallback | None = None,
) -> RunSummary:
    """Predict fields into a run folder, new or to be continued.

    Parameters
    ----------
    records
        Fields, each id once.
    out
        The run folder.
    settings
        What is asked; a folder of other settings is refused.
    plan
        How the machine is used.
    progress
        Told after each field.
    finish
        Makes what is above this stage (the report) before the run counts as complete.

    Returns
    -------
    RunSummary
        Also when nothing was to be done.

    Raises
    ------
    InputError
        When there is no field, or an id comes twice.
    OutputError
        When ``out`` is another run's or something else, another process writes to it, or the
        input of a finished field changed or disappeared.
    ModelError
        When the model folder is damaged, or looks at a stain that is missing.
    OSError
        When the disk is full or ``out`` cannot be written; finished fields are kept.
    """
    records = _sort_records(records, plan)
    model = load_model(Path(settings.model))
    model.require_stains(settings.missing)
    segmenter = get_segmenter(settings.segmenter, missing=settings.missing)
    described = describe_settings(settings, model, segmenter)
    out = out.absolute()  # other processes may have another working folder
    check_owner(out, described)
    with output_lock(out), library_threads(plan.threads), keeping_freed_memory():
        prepare_run_folder(out, described)
        copy_null(model.path, out)
        finished = set(finished_fields(out))
        _check_inputs(records, finished, out, workers=plan.workers)
        pending = [record for record in records if record.fov_id not in finished]
        failures = {}
        # closing: whatever ends this early, no worker writes once the lock is given back
        work = _work_through(
            pending, model, segmenter, settings=settings, described=described, out=out, plan=plan
        )
        with closing(work) as outcomes:
            for i, (record, failure) in enumerate(outcomes, start=1):
                if failure is not None:
                    failures[record.fov_id] = failure
                progress(len(finished) + i, len(records), record.fov_id)
        n_new = len(pending) - len(failures)
        how = plan.describe()
        unchanged = find_unchanged_run(out, records, failures, how=how) if n_new == 0 else None
        return unchanged or complete_run(
            out, records, failures, settings=described, how=how, n_new=n_new, finish=finish
        )


def _sort_records(records: Sequence[FovRecord], plan: ExecutionPlan) -> list[FovRecord]:
    if not records and plan.shard is None:  # a shard of few fields may be empty
        raise InputError("expected at least one field, got none. Check the path of the images.")
    ordered = sorted(records, key=lambda record: record.fov_id)
    for earlier, later in pairwise(ordered):
        if earlier.fov_id == later.fov_id:
            raise InputError(f"field {later.fov_id} comes twice. Give each field one id.")
    return ordered


def _check_inputs(
    records: Sequence[FovRecord], finished: set[str], out: Path, *, workers: int
) -> None:
    """Refuse inputs of finished fields that changed or disappeared."""
    missing = sorted(finished - {record.fov_id for record in records})
    if missing:
        raise OutputError(
            f"{out}: holds {len(missing)} field(s) that the images no longer have: "
            f"{_enumerate(missing)}. Put them back, or choose another output folder."
        )
    present = [record for record in records if record.fov_id in finished]

    def is_same(record: FovRecord) -> bool:
        try:
            return digest_input(record) == read_digest(out, record.fov_id)
        except ImageError:  # a file of it is gone or cannot be read
            return False

    stop = StopSignal()
    answers = side_by_side(is_same, present, workers=workers, stop=stop)
    changed = sorted(record.fov_id for record, same in answers if not same)
    if changed:
        raise OutputError(
            f"{out}: the input of {len(changed)} finished field(s) changed since: "
            f"{_enumerate(changed)}. Choose another output folder."
        )


def _work_through(
    pending: Sequence[FovRecord],
    model: ModelFolder,
    segmenter: Segmenter,
    *,
    settings: RunSettings,
    described: dict[str, Any],
    out: Path,
    plan: ExecutionPlan,
) -> Generator[tuple[FovRecord, FailedField | None]]:
    """Predict and commit fields; give each, as it is finished, with what was wrong with it."""
    if not pending:
        return
    if plan.cluster is not None:
        here = settings.model_copy(update={"model": str(Path(settings.model).absolute())})
        remote = partial(open_remote_work, here, described, out=out, threads=plan.threads)
        needs = plan.worker_needs()
        yield from over_cluster(remote, pending, workers=plan.workers, needs=needs)
        return
    stop = StopSignal()
    work = _open_work(model, segmenter, settings=settings, out=out, threads=plan.threads, stop=stop)
    yield from side_by_side(work, pending, workers=plan.workers, stop=stop)


def _open_work(
    model: ModelFolder,
    segmenter: Segmenter,
    *,
    settings: RunSettings,
    out: Path,
    threads: int,
    stop: StopSignal,
) -> Work:
    """Prepare what takes a field from its files to its part of the run folder."""
    session = open_classifier(model, settings.networks, threads=threads)
    segmenter = place_segmenter(segmenter, settings.networks)
    measure = settings.measure_config()
    tools = FieldTools(segmenter, session, measure, settings.missing, between_steps=stop.check)

    def work(record: FovRecord) -> FailedField | None:
        stop.check()
        fov = None
        try:
            fov, digest = read_input(record)
            result = predict_field(fov, digest, tools)
        except PixelSizeError:
            raise
        except _FIELD_ERRORS as error:
            return _describe_failure(record, fov, error)
        stop.check()
        commit_field(out, result)
        return None

    return work


def open_remote_work(
    settings: RunSettings, described: dict[str, Any], *, out: Path, threads: int
) -> Work:
    """Prepare a worker on a node of a cluster, which must have and see what this machine does."""
    node = socket.gethostname()
    if not open_location(settings.images).exists():
        raise InputError(f"{settings.images}: node {node} does not see it. {_SHARE}")
    if not (out / SETTINGS_FILE).is_file():
        raise OutputError(f"{out}: node {node} does not see this run folder. {_SHARE}")
    keep_library_threads(threads)
    model = load_model(Path(settings.model))
    segmenter = get_segmenter(settings.segmenter, missing=settings.missing)
    differing = describe_difference(described, describe_settings(settings, model, segmenter))
    if differing:
        raise ModelError(
            f"node {node} would work with another {differing.replace('asked for', 'its own')}. "
            "Install the same version and the same models on every node."
        )
    stop = StopSignal()
    work = _open_work(model, segmenter, settings=settings, out=out, threads=threads, stop=stop)
    # a field of a node that died may have been finished there
    return lambda record: None if is_finished(out, record.fov_id) else work(record)


def _describe_failure(record: FovRecord, fov: FieldOfView | None, error: Exception) -> FailedField:
    text = " ".join(str(error).split())
    if isinstance(error, MemoryError):
        text = f"field {record.fov_id}: not enough memory. Use fewer --workers."
    elif isinstance(error, _SAID_ERRORS):
        named = record.fov_id in text
        text = text if named else f"field {record.fov_id}: {text}"
    else:
        logger.warning("field %s failed", record.fov_id, exc_info=error)
        text = f"field {record.fov_id}: {type(error).__name__}: {text}"
    return FailedField(text) if fov is None else FailedField(text, fov.width, fov.height)


def _enumerate(names: Sequence[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more

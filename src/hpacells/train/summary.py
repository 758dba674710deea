"""What a training says of itself: how many, how good, what to know; ``training.json``."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from hpacells.core.locations import LOCATION_KEYS
from hpacells.core.provenance import installed_versions
from hpacells.core.storage import write_json
from hpacells.runtime.model_folder import ModelSpec, load_model
from hpacells.train.data import TrainingData
from hpacells.train.held_out import judge_held_out
from hpacells.train.prepare import PreparedData
from hpacells.train.truth import CellTruth
from hpacells.train.validation import Validation

__all__ = [
    "TrainSplit",
    "TrainSummary",
    "count_fields",
    "judge_model",
    "read_summary",
    "write_summary",
]

SUMMARY_FILE = "training.json"


@dataclass(frozen=True)
class TrainSummary:
    """What a training made.

    Parameters
    ----------
    spec
        The exported model's ``model.json``.
    counts
        Fields trained on, held out and not used, cells.
    validation_mean_ap
        Image-level mean average precision of the held-out fields; None without any.
    absent_locations
        Titles of the locations that no image has: the model cannot know them.
    group_kind
        What keeps fields on one side of the split (``train.data``).
    already_done
        Whether the folder was finished before.
    cell_mean_ap, strict_map
        Of the held-out fields' cells, where their truth is known; None elsewhere.
    warnings
        What somebody should know of the split, a sentence each.
    """

    spec: ModelSpec
    counts: dict[str, int]
    validation_mean_ap: float | None
    absent_locations: tuple[str, ...]
    group_kind: str
    already_done: bool = False
    cell_mean_ap: float | None = None
    strict_map: float | None = None
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class TrainSplit:
    """Which fields are held out, and the folds of the others where rounds need them.

    Parameters
    ----------
    held_out
        ``(F,)`` bool.
    fold
        ``(F,)`` int64, -1 where held out; None without rounds.
    sha256
        Of the file that says both.
    group_kind
        What keeps fields on one side (``train.data``).
    warnings
        What somebody should know of it, a sentence each.
    """

    held_out: npt.NDArray[np.bool_]
    fold: npt.NDArray[np.int64] | None
    sha256: str
    group_kind: str
    warnings: tuple[str, ...]


def count_fields(
    data: TrainingData, prepared: PreparedData, held_out: npt.NDArray[np.bool_]
) -> dict[str, int]:
    """Count fields trained on, held out and not used, and cells."""
    return {
        "fields_train": int((~held_out).sum()),
        "fields_val": int(held_out.sum()),
        "fields_failed": data.n_failed,
        "fields_without_cells": data.n_without_cells,
        "fields_unlabelled": data.n_unlabelled + len(prepared.fields_without_row),
        "rows_without_image": len(prepared.rows_without_field),
        "cells": len(data.crops),
        **data.correction_counts,
    }


def judge_model(
    validation: Validation | None,
    data: TrainingData,
    split: TrainSplit,
    spec: ModelSpec,
    *,
    prepared: PreparedData,
    truth: CellTruth | None,
) -> dict[str, Any] | None:
    """Say what the model is worth on the held-out fields; None without any.

    Parameters
    ----------
    validation
        Of the finished network.
    data, split
        What it was trained and validated on.
    spec
        With the model's calibration and post-processing.
    prepared, truth
        Where cells and their truth are.

    Returns
    -------
    dict
        ``loss``, ``mean_ap`` and ``ap`` of the network's pooled logits, Negative scored as the
        recipe says, and what ``judge_held_out`` says of the model.
    """
    if validation is None:
        return None
    each = dict(zip(LOCATION_KEYS, validation.average_precision, strict=True))
    content = {"loss": validation.loss, "mean_ap": validation.mean, "ap": each}
    fields = np.flatnonzero(split.held_out)
    more = judge_held_out(
        validation, data, fields, spec, store=prepared.store, truth=truth, files=prepared.truth
    )
    return {**content, **more}


def write_summary(
    out: Path, judged: dict[str, Any] | None, counts: dict[str, int], split: TrainSplit
) -> None:
    """Write ``training.json``."""
    content: dict[str, Any] = {
        "counts": counts,
        "split_sha256": split.sha256,
        "group_kind": split.group_kind,
        "warnings": split.warnings,
        "validation": judged,
        "versions": installed_versions(),
    }
    write_json(out / SUMMARY_FILE, content)


def read_summary(out: Path, data: TrainingData, *, already_done: bool = True) -> TrainSummary:
    """Read what ``write_summary`` wrote, of a finished model folder."""
    content = json.loads((out / SUMMARY_FILE).read_text(encoding="utf-8"))
    validation = content["validation"] or {}
    return TrainSummary(
        load_model(out).spec,
        content["counts"],
        validation.get("mean_ap"),
        tuple(data.absent_locations()),
        content.get("group_kind", data.group_kind),
        already_done=already_done,
        cell_mean_ap=(validation.get("cell") or {}).get("mean_ap"),
        strict_map=(validation.get("strict") or {}).get("mean_ap"),
        warnings=tuple(content.get("warnings", ())),
    )

"""A whole training: data to model folder, continued where it was left.

::

    OUT/request.json         the recipe and the data's hash; another one is refused
    OUT/crops/               the crop store, when DATA is a dataset folder
    OUT/split.csv            fov_id, group, train or val
    OUT/checkpoint.pt        while training; removed at the end
    OUT/metrics.csv, logs/   one row an epoch, and the same for TensorBoard
    OUT/training.json        counts, validation per location, hash of the split
    OUT/model.*              the model folder, model.json last
"""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from hpacells.core.errors import ConfigError, InputError, OutputError
from hpacells.core.locations import LOCATION_KEYS
from hpacells.core.progress import ProgressCallback, silent
from hpacells.core.provenance import installed_versions
from hpacells.core.storage import output_lock, write_json
from hpacells.model.export import export_model
from hpacells.model.network import NORMALISATION
from hpacells.runtime.model_folder import (
    SPEC_FILE,
    Architecture,
    ModelSpec,
    Training,
    load_model,
)
from hpacells.segment.registry import DEFAULT_SEGMENTER
from hpacells.train.config import TrainConfig
from hpacells.train.data import TrainingData, load_training_data, shuffle_targets
from hpacells.train.loop import LoopResult, architecture_kwargs, train_classifier
from hpacells.train.prepare import PreparedData, prepare_data
from hpacells.train.records import MetricsLog
from hpacells.train.split import split_fields, write_split

__all__ = ["TrainSummary", "train", "train_on_store"]

_REQUEST_FILE = "request.json"
_CHECKPOINT_FILE = "checkpoint.pt"
_SUMMARY_FILE = "training.json"


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
    """

    spec: ModelSpec
    counts: dict[str, int]
    validation_mean_ap: float | None
    absent_locations: tuple[str, ...]
    group_kind: str
    already_done: bool = False


def train(
    data: Path,
    out: Path,
    config: TrainConfig,
    *,
    segmenter: str = DEFAULT_SEGMENTER,
    workers: int = 1,
    threads: int | None = None,
    progress: ProgressCallback = silent,
) -> TrainSummary:
    """Train a model from a dataset folder or a crop store, by image labels only.

    Parameters
    ----------
    data, out, config, segmenter, workers
        As in ``prepare_data``.
    threads
        As in ``train_on_store``.
    progress
        Told of fields first, of steps then.

    Returns
    -------
    TrainSummary
        Of the model folder ``out``.

    Raises
    ------
    HpacellsError
        As ``prepare_data`` and ``train_on_store`` say.
    """
    prepared = prepare_data(
        data, out, config, segmenter=segmenter, workers=workers, progress=progress
    )
    return train_on_store(prepared, out, config, threads=threads, progress=progress)


def train_on_store(
    prepared: PreparedData,
    out: Path,
    config: TrainConfig,
    *,
    threads: int | None = None,
    progress: ProgressCallback = silent,
) -> TrainSummary:
    """Train on a crop store and write the model folder.

    Parameters
    ----------
    prepared
        The store, and what had to be left out of it.
    out
        New, or that of the same training: it is continued, or found finished.
    config
        The recipe.
    threads
        Of torch; None takes one per core. Not a setting: another number continues too.
    progress
        Told after each step.

    Returns
    -------
    TrainSummary
        Of the model folder ``out``.

    Raises
    ------
    InputError
        When there are too few labelled fields or cells.
    ConfigError
        When ``threads`` is below 1, or the loss is not finite.
    OutputError
        When ``out`` holds another training, or another process works there.
    """
    with output_lock(out), _torch_threads(threads):
        data = load_training_data(prepared.store)
        _check_enough(data, config)
        _claim(out, config, data)
        if (out / SPEC_FILE).is_file():
            return _finished(out, data)
        if config.shuffle_labels:
            data = shuffle_targets(data, np.random.default_rng(config.seed))
        held_out = split_fields(data, config.val_fraction, seed=config.seed)
        split_hash = write_split(out / "split.csv", data, held_out)
        log = MetricsLog(out)
        result = train_classifier(
            data,
            held_out,
            config,
            checkpoint_path=out / _CHECKPOINT_FILE,
            on_epoch=log.update,
            progress=progress,
        )
        log.finish(result.validation, int(result.history[-1]["step"] or 0))
        counts = _counts(data, prepared, held_out)
        _write_summary(out, result, counts, split_hash)
        spec = export_model(result.model, _model_spec(config, data, counts), out)
        (out / _CHECKPOINT_FILE).unlink(missing_ok=True)
        mean = result.validation.mean if result.validation else None
        return TrainSummary(spec, counts, mean, tuple(data.absent_locations()), data.group_kind)


def _check_enough(data: TrainingData, config: TrainConfig) -> None:
    n_cells = len(data.crops)
    if n_cells < config.bag_size:
        raise InputError(
            f"training: expected at least {config.bag_size} cells (bag_size), got {n_cells} in "
            f"{data.n_fields} labelled fields. Add fields."
        )


def _claim(out: Path, config: TrainConfig, data: TrainingData) -> None:
    """Write down what is trained here, or refuse a folder where something else was."""
    file = out / _REQUEST_FILE
    settings = config.model_dump(mode="json")
    request = {"config": settings, "data_hash": data.data_hash}
    if file.is_file():
        earlier = json.loads(file.read_text(encoding="utf-8"))
        if earlier == request:
            return
        changed = sorted(
            key for key, value in settings.items() if earlier.get("config", {}).get(key) != value
        )
        what = f"other settings ({', '.join(changed)})" if changed else "other data"
        raise OutputError(f"{out}: holds a training with {what}. Choose another output folder.")
    if (out / SPEC_FILE).exists():
        raise OutputError(f"{out}: holds a model. Choose another output folder.")
    write_json(file, request)


def _counts(
    data: TrainingData, prepared: PreparedData, held_out: npt.NDArray[np.bool_]
) -> dict[str, int]:
    return {
        "fields_train": int((~held_out).sum()),
        "fields_val": int(held_out.sum()),
        "fields_failed": data.n_failed,
        "fields_without_cells": data.n_without_cells,
        "fields_unlabelled": data.n_unlabelled + len(prepared.fields_without_row),
        "rows_without_image": len(prepared.rows_without_field),
        "cells": len(data.crops),
    }


def _model_spec(config: TrainConfig, data: TrainingData, counts: dict[str, int]) -> ModelSpec:
    return ModelSpec(
        name=config.name,
        version=config.version,
        description=config.description,
        architecture=Architecture(backbone=config.backbone, kwargs=architecture_kwargs(config)),
        crop_px=config.crop_px,
        pixel_size_um=config.pixel_size_um,
        outside=config.outside,
        normalisation=NORMALISATION,
        embedding_size=config.embedding_size,
        postprocessing=config.postprocessing.model_copy(update={"image_pooling": config.pooling}),
        training=Training(
            data_hash=data.data_hash,
            n_fields=counts["fields_train"],
            seed=config.seed,
            config=config.model_dump(mode="json"),
        ),
        licence=config.licence,
    )


def _write_summary(out: Path, result: LoopResult, counts: dict[str, int], split_hash: str) -> None:
    validation = result.validation
    content: dict[str, Any] = {
        "counts": counts,
        "split_sha256": split_hash,
        "validation": None,
        "versions": installed_versions(),
    }
    if validation is not None:
        each = dict(zip(LOCATION_KEYS, validation.average_precision, strict=True))
        content["validation"] = {"mean_ap": validation.mean, "ap": each, "loss": validation.loss}
    write_json(out / _SUMMARY_FILE, content)


def _finished(out: Path, data: TrainingData) -> TrainSummary:
    content = json.loads((out / _SUMMARY_FILE).read_text(encoding="utf-8"))
    return TrainSummary(
        load_model(out).spec,
        content["counts"],
        (content["validation"] or {}).get("mean_ap"),
        tuple(data.absent_locations()),
        data.group_kind,
        already_done=True,
    )


@contextmanager
def _torch_threads(threads: int | None) -> Iterator[None]:
    """Set torch's threads while the block runs."""
    if threads is not None and threads < 1:
        raise ConfigError(f"--threads: expected 1 or more, got {threads}")
    before = torch.get_num_threads()
    torch.set_num_threads(threads or os.cpu_count() or 1)
    try:
        yield
    finally:
        torch.set_num_threads(before)

"""A whole training: data to model folder, continued where it was left.

::

    OUT/request.json         the recipe and the data's hash; another one is refused
    OUT/crops/               the crop store, when DATA is a dataset folder
    OUT/split.csv            fov_id, group, train or val, and with rounds the fold
    OUT/rounds/              what the rounds' models said of the cells of their folds
    OUT/checkpoint.pt        while training; removed at the end
    OUT/metrics.csv, logs/   one row an epoch, and the same for TensorBoard
    OUT/training.json        counts, hash of the split, warnings; validation (``held_out``)
    OUT/variation_null.json  the null of variation, where enough fields are held out
    OUT/model.*              the model folder, model.json last
"""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pydantic import ValidationError

from hpacells.core.errors import ConfigError, InputError, OutputError
from hpacells.core.progress import ProgressCallback, silent
from hpacells.core.storage import output_lock, write_json
from hpacells.model.export import export_model
from hpacells.model.network import NORMALISATION
from hpacells.runtime.model_folder import (
    NULL_FILE,
    SPEC_FILE,
    Architecture,
    ModelSpec,
    Training,
)
from hpacells.segment.registry import DEFAULT_SEGMENTER
from hpacells.train.architecture import architecture_kwargs, recorded_weights
from hpacells.train.config import TrainConfig
from hpacells.train.corrections import apply_corrections
from hpacells.train.data import TrainingData, load_training_data, shuffle_targets
from hpacells.train.devices import open_fabric
from hpacells.train.duplicates import group_near_duplicates, wants_near_duplicates
from hpacells.train.features import with_cached_features, with_trained_head
from hpacells.train.fitting import fit_on_held_out
from hpacells.train.loop import train_classifier
from hpacells.train.prepare import PreparedData, prepare_data
from hpacells.train.records import LoopResult, MetricsLog
from hpacells.train.rounds import fold_warnings, recipe_with_cell_targets, run_rounds
from hpacells.train.split import split_fields, split_folds, write_split
from hpacells.train.summary import (
    TrainSplit,
    TrainSummary,
    count_fields,
    judge_model,
    read_summary,
    write_summary,
)
from hpacells.train.truth import CellTruth, read_cell_truth
from hpacells.train.validation import Validation
from hpacells.train.variation_null import fit_variation_null

__all__ = ["TrainSummary", "train", "train_on_store"]

_REQUEST_FILE = "request.json"
_CHECKPOINT_FILE = "checkpoint.pt"
_ROUNDS = "rounds"


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
        When there are too few labelled fields or cells, or corrections do not fit them.
    ConfigError
        When ``threads`` is below 1, or the loss is not finite.
    OutputError
        When ``out`` holds another training or split, another process works there, or the pixels
        cannot be mapped (``train.cell_pixels``).
    """
    fabric = open_fabric(config)
    lock = output_lock(out) if fabric.is_global_zero else nullcontext()
    with lock, _torch_threads(threads, config.devices):
        data = load_training_data(prepared.store)
        if prepared.corrections:
            data = apply_corrections(data, prepared.store, prepared.corrections)
        _check_enough(data, config)
        _claim(out, config, data)
        if (out / SPEC_FILE).is_file():
            return read_summary(out, data)
        if wants_near_duplicates(data):
            data = group_near_duplicates(data)
        if config.shuffle_labels:
            data = shuffle_targets(data, np.random.default_rng(config.seed))
        split = _split(data, config, out)
        truth = _read_truth(prepared, data, split)
        recipe, learned = config, data
        if config.freeze == "cached":
            learned = with_cached_features(data, config, prepared.store.path, progress=progress)
        if split.fold is not None:
            learned = run_rounds(
                learned, split.fold, config, folder=out / _ROUNDS, progress=progress
            )
            recipe = recipe_with_cell_targets(config)
        log = MetricsLog(out)
        result = train_classifier(
            learned,
            split.held_out,
            recipe,
            checkpoint_path=out / _CHECKPOINT_FILE,
            truth=truth,
            on_epoch=log.update,
            progress=progress,
        )
        if not fabric.is_global_zero:  # the first process validates and writes
            fabric.barrier()
            return read_summary(out, data)
        if config.freeze == "cached":
            result = replace(result, model=with_trained_head(result.model, config))
        log.finish(result.validation, int(result.history[-1]["step"] or 0))
        _export(result, data, split, config=config, prepared=prepared, truth=truth, out=out)
        (out / _CHECKPOINT_FILE).unlink(missing_ok=True)
        fabric.barrier()
        return read_summary(out, data, already_done=False)


def _split(data: TrainingData, config: TrainConfig, out: Path) -> TrainSplit:
    held_out = split_fields(data, config.val_fraction, seed=config.seed)
    fold, warnings = None, []
    if config.rounds.n:
        fold = split_folds(data, held_out, config.rounds.folds, seed=config.seed)
        warnings = fold_warnings(data, fold)
    if config.val_fraction and not held_out.any():
        warnings.append(
            f"Nothing is held out: too few groups of fields ({data.group_kind}) for val_fraction "
            f"{config.val_fraction}."
        )
    sha256 = write_split(out / "split.csv", data, held_out, fold)
    return TrainSplit(held_out, fold, sha256, data.group_kind, tuple(warnings))


def _read_truth(prepared: PreparedData, data: TrainingData, split: TrainSplit) -> CellTruth | None:
    """Read what the held-out cells truly show: handed to the validation, and to nothing else."""
    if prepared.truth is None or not split.held_out.any():
        return None
    fields = np.flatnonzero(split.held_out)
    return read_cell_truth(prepared.truth, prepared.store, data, fields)


def _export(
    result: LoopResult,
    data: TrainingData,
    split: TrainSplit,
    *,
    config: TrainConfig,
    prepared: PreparedData,
    truth: CellTruth | None,
    out: Path,
) -> None:
    """Fit what is fitted on the held-out fields, judge, and write the model, model.json last."""
    counts = count_fields(data, prepared, split.held_out)
    spec = _model_spec(config, data, counts, split)
    fitted = fit_on_held_out(
        result.validation,
        data,
        np.flatnonzero(split.held_out),
        constants=spec.postprocessing,
        wanted=config.fitting,
    )
    spec = spec.model_copy(update=fitted)
    spec = _fit_variation(result.validation, data, split, spec=spec, prepared=prepared, out=out)
    judged = judge_model(result.validation, data, split, spec, prepared=prepared, truth=truth)
    write_summary(out, judged, counts, split)
    export_model(result.model, spec, out)


def _fit_variation(
    validation: Validation | None,
    data: TrainingData,
    split: TrainSplit,
    *,
    spec: ModelSpec,
    prepared: PreparedData,
    out: Path,
) -> ModelSpec:
    """Write the null of variation beside what will be ``model.json``, which tells what it is of."""
    fields = np.flatnonzero(split.held_out)
    null, told = fit_variation_null(validation, data, fields, spec, store=prepared.store)
    (out / NULL_FILE).unlink(missing_ok=True)
    if null is not None:
        write_json(out / NULL_FILE, null.model_dump(mode="json"))
    return spec.model_copy(update={"fitted": {**spec.fitted, "variation": told}})


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
    request = {"config": settings, "data_hash": data.data_hash, **recorded_weights(config)}
    if file.is_file():
        earlier = _with_defaults(json.loads(file.read_text(encoding="utf-8")))
        hashes = {asked.pop("weights_sha256", None) for asked in (earlier, request)} - {None}
        if earlier == request and len(hashes) < 2:
            return
        before = earlier.get("config", {})
        changed = sorted(k for k in settings | before if before.get(k) != settings.get(k))
        other = "other weights" if len(hashes) == 2 else "other data"
        what = f"other settings ({', '.join(changed)})" if changed else other
        raise OutputError(f"{out}: holds a training with {what}. Choose another output folder.")
    if (out / SPEC_FILE).exists():
        raise OutputError(f"{out}: holds a model. Choose another output folder.")
    write_json(file, request)


def _with_defaults(request: dict[str, Any]) -> dict[str, Any]:
    """Fill in the settings that recipes had not when a request was written."""
    try:
        settings = TrainConfig.model_validate(request["config"]).model_dump(mode="json")
    except (KeyError, ValidationError):  # of another time altogether: compared as it is
        return request
    return {**request, "config": settings}


def _model_spec(
    config: TrainConfig, data: TrainingData, counts: dict[str, int], split: TrainSplit
) -> ModelSpec:
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
        postprocessing=config.postprocessing.model_copy(
            update={"image_pooling": config.prediction_pooling}
        ),
        training=Training(
            data_hash=data.data_hash,
            n_fields=counts["fields_train"],
            seed=config.seed,
            split_sha256=split.sha256,
            config={**config.model_dump(mode="json"), **recorded_weights(config)},
        ),
        licence=config.licence,
    )


@contextmanager
def _torch_threads(threads: int | None, processes: int) -> Iterator[None]:
    """Set torch's threads while the block runs."""
    if threads is not None and threads < 1:
        raise ConfigError(f"--threads: expected 1 or more, got {threads}")
    before = torch.get_num_threads()
    torch.set_num_threads(threads or max(1, (os.cpu_count() or 1) // processes))
    try:
        yield
    finally:
        torch.set_num_threads(before)

"""Rounds of soft labels of single cells: each fold's cells are judged by a model of the others.

With one fold a model of all fields judges them itself: each judgement rests on half as much again
or twice as many fields, but a network that learned its labels by heart would only repeat them.

::

    OUT/rounds/round_1_fold_2.pt     while that fold's model trains; removed with it
    OUT/rounds/round_1_fold_2.npz    its judgement: the logits of the fold's cells, by the average

A round trains once per fold, on the image labels and the soft labels of the round before. Fields
that are held out for validation are in no fold: nothing here learns from them. Killed and asked
again, finished folds are read and the unfinished one continues at its checkpoint.
"""

from dataclasses import replace
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
import numpy.typing as npt

from hpacells.core.errors import OutputError
from hpacells.core.locations import LOCATIONS, N_LOCATIONS
from hpacells.core.progress import ProgressCallback, silent
from hpacells.core.storage import atomic_path
from hpacells.train.config import TrainConfig
from hpacells.train.data import TrainingData
from hpacells.train.devices import open_fabric
from hpacells.train.loop import train_classifier
from hpacells.train.soft_labels import soft_targets
from hpacells.train.split import folds_without
from hpacells.train.validation import cells_of, classify_cells

__all__ = ["fold_warnings", "recipe_with_cell_targets", "run_rounds"]

Indices = npt.NDArray[np.int64]


def run_rounds(
    data: TrainingData,
    fold: Indices,
    config: TrainConfig,
    *,
    folder: Path,
    progress: ProgressCallback = silent,
) -> TrainingData:
    """Train the folds of all rounds and give the data with the last round's cell targets.

    Parameters
    ----------
    data
        Crops and image labels.
    fold
        ``(F,)`` of each field, -1 where held out (``train.split.split_folds``).
    config
        The recipe; its ``rounds`` say how many, how long and with which weights.
    folder
        Of checkpoints and judgements.
    progress
        Told after each step which round and fold it belongs to.

    Returns
    -------
    TrainingData
        With ``cell_targets``; rows of held-out fields are -1.

    Raises
    ------
    OutputError
        When a judgement that was left is damaged.
    ConfigError
        As ``train_classifier`` says.
    """
    rounds = config.rounds
    for number in range(1, rounds.n + 1):
        logits = np.zeros((len(data.crops), N_LOCATIONS), np.float32)
        for i in range(rounds.folds):
            what = f"round {number} of {rounds.n}, fold {i + 1} of {rounds.folds}"
            file = folder / f"round_{number}_fold_{i + 1}.npz"
            cells = cells_of(data, np.flatnonzero(fold == i))
            if not file.is_file():
                _judge_fold(data, fold, i, config=config, file=file, tell=_named(what, progress))
            logits[cells] = _read_logits(file, len(cells))
            file.with_suffix(".pt").unlink(missing_ok=True)
        data = replace(data, cell_targets=_targets(data, fold, logits))
    return data


def recipe_with_cell_targets(config: TrainConfig) -> TrainConfig:
    """Give the recipe of a training whose data carries soft cell targets: the rounds' weights."""
    wanted = {
        "cell_loss_weight": config.rounds.cell_loss_weight,
        "image_loss_weight": config.rounds.image_loss_weight,
    }
    return config.model_copy(update={k: v for k, v in wanted.items() if v is not None})


def fold_warnings(data: TrainingData, fold: Indices) -> list[str]:
    """Name the locations that stand in one fold only, which its model cannot know.

    The rule for them: the cells of that fold's labelled images get the location's measured
    presence as their target, whatever their logit.
    """
    present = data.targets[fold >= 0].any(axis=0)
    lone = np.flatnonzero(folds_without(data, fold).any(axis=0) & present)
    return [
        f"{LOCATIONS[k].title}: all its images are of one fold, whose model cannot learn it; their "
        "cells get its mean presence as soft label. More images of other genes would help."
        for k in lone
    ]


def _judge_fold(
    data: TrainingData,
    fold: Indices,
    i: int,
    *,
    config: TrainConfig,
    file: Path,
    tell: ProgressCallback,
) -> None:
    """Train on the other folds and write the logits of this one's cells."""
    epochs = config.rounds.epochs or config.epochs
    recipe = config if data.cell_targets is None else recipe_with_cell_targets(config)
    short = recipe.model_copy(update={"epochs": epochs, "validate_every": epochs})
    judges_itself = config.rounds.folds == 1
    left_out = (fold < 0) | ((fold == i) & (not judges_itself))
    checkpoint = file.with_suffix(".pt")
    result = train_classifier(data, left_out, short, checkpoint_path=checkpoint, progress=tell)
    fabric = open_fabric(config)
    if fabric.is_global_zero:
        if judges_itself or result.validation is None:
            cells = cells_of(data, np.flatnonzero(fold == i))
            model = result.model.to(fabric.device)
            logits = classify_cells(model, data, cells, fabric.device)[0].numpy()
        else:  # the training has validated on them
            answered = cells_of(data, np.flatnonzero(left_out))
            logits = result.validation.logits[fold[data.field_of_cell[answered]] == i]
        with atomic_path(file) as temporary, temporary.open("wb") as opened:
            np.savez(opened, logits=logits)
        checkpoint.unlink(missing_ok=True)
    fabric.barrier()  # the others read what the first has written


def _targets(
    data: TrainingData, fold: Indices, logits: npt.NDArray[np.float32]
) -> npt.NDArray[np.float32]:
    owner = data.field_of_cell
    used = fold[owner] >= 0
    targets = np.full(logits.shape, -1, np.float32)
    targets[used] = soft_targets(
        logits[used],
        data.targets,
        owner[used],
        model_of_cell=fold[owner[used]],
        unknown=folds_without(data, fold),
    )
    return targets


def _read_logits(file: Path, n_cells: int) -> npt.NDArray[np.float32]:
    try:
        with np.load(file, allow_pickle=False) as content:
            logits = content["logits"]
    except (OSError, ValueError, KeyError, EOFError, BadZipFile) as error:
        raise OutputError(
            f"{file}: damaged ({error}). Delete it: that fold trains again."
        ) from error
    if logits.shape != (n_cells, N_LOCATIONS):
        raise OutputError(
            f"{file}: expected logits {(n_cells, N_LOCATIONS)}, got {logits.shape}. Delete it: "
            "that fold trains again."
        )
    return np.asarray(logits, np.float32)


def _named(what: str, progress: ProgressCallback) -> ProgressCallback:
    return lambda done, total, detail: progress(done, total, f"{what}: {detail}")

"""One training of a learning benchmark: run once, kept, scored on cells whose truth is known.

::

    FOLDER/request.json    what is trained and scored here, written first; another one is refused
    FOLDER/checkpoint.pt, rounds/    while it trains; the folder goes when it is done
    results/trainings/BENCHMARK/NAME.json    when it is done: its figures

What is done is a text of a few kB in the repository, so that a table of dozens of trainings can be
made in several sittings, on several machines. It counts for the very training that it names (by a
hash of recipe, crops and labels) and no other: after a change of the recipe all are trained again.
"""

import argparse
import hashlib
import json
import shutil
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import yaml
from weak_data import BenchCells

from hpacells.core.locations import LOCATION_KEYS, NEGATIVE
from hpacells.core.provenance import hash_settings
from hpacells.core.storage import write_json
from hpacells.model.network import CellClassifier
from hpacells.train.config import TrainConfig
from hpacells.train.data import TrainingData
from hpacells.train.loop import train_classifier
from hpacells.train.rounds import recipe_with_cell_targets, run_rounds
from hpacells.train.split import split_folds
from hpacells.train.validation import precision_per_location

__all__ = [
    "JUDGED",
    "KEPT",
    "RECIPE",
    "Run",
    "add_options",
    "average_precisions",
    "claim",
    "figures_of",
    "part_of",
    "score_cells",
    "shipped_recipe",
    "train_and_score",
]

ROOT = Path(__file__).parents[1]
RECIPE = ROOT / "configs" / "shipped.yaml"
KEPT = ROOT / "bench" / "results" / "trainings"
Floats = npt.NDArray[np.float32]
JUDGED: dict[str, tuple[str, ...]] = {
    "all": LOCATION_KEYS,
    "ten": (
        "nucleoplasm", "nuclear_membrane", "nucleoli", "nuclear_speckles", "endoplasmic_reticulum",
        "actin_filaments", "microtubules", "mitotic_spindle", "cytosol", "negative",
    ),
}  # fmt: skip
"""Means that are kept of a training: of all 19 locations; of the ten that a network taught by cells
learned best within minutes in an earlier trial."""
_BATCH, _REPLICATES = 128, 200


@dataclass(frozen=True)
class Run:
    """What a training ended with.

    Parameters
    ----------
    steps
        Of the optimizer.
    ap
        Average precision over the test cells, by the key of each location that any of them has.
    drawn
        For each name of ``JUDGED`` the mean average precision of 200 draws of the test's genes with
        replacement, the same draws for every training.
    """

    steps: int
    ap: dict[str, float]
    drawn: dict[str, list[float]]

    def mean(self, judged: str = "all") -> float:
        """Give the mean average precision of some locations."""
        return _mean(self.ap, judged)

    def interval(self, judged: str = "all") -> tuple[float, float]:
        """Give its 95 % interval over genes."""
        low, high = np.quantile(self.drawn[judged], [0.025, 0.975])
        return float(low), float(high)


def shipped_recipe(*changes: Mapping[str, Any]) -> TrainConfig:
    """Give the recipe of the shipped classifier, changed; of a section the named keys only."""
    content = yaml.safe_load(RECIPE.read_text(encoding="utf-8"))
    for change in changes:
        for key, value in change.items():
            content[key] = content.get(key, {}) | value if isinstance(value, dict) else value
    return TrainConfig.model_validate(content)


def train_and_score(
    folder: Path,
    config: TrainConfig,
    data: TrainingData,
    test: BenchCells,
    *,
    own_negative: bool = False,
) -> Run:
    """Train by a recipe and judge the test cells, or read what an earlier call found.

    Parameters
    ----------
    folder
        Of this training alone, while it trains; its parent has the name of the benchmark.
    config, data
        What it learns from; nothing is held out.
    test
        Cells of other seeds.
    own_negative
        Score Negative by the network's own answer instead of deriving it.

    Raises
    ------
    SystemExit
        When the folder holds another training, begun earlier.
    """
    request = {
        "recipe": config.model_dump(mode="json"),
        "data": data.data_hash,
        "fields": data.n_fields,
        "targets": _hash_targets(data),
        "test": test.data.data_hash,
        "test_cells": int(test.truth.known.sum()),
        "own_negative": own_negative,
    }
    kept = KEPT / folder.parent.name / f"{folder.name}.json"
    if kept.is_file():
        known = json.loads(kept.read_text(encoding="utf-8"))
        if known["request"] == hash_settings(request):
            return Run(known["steps"], known["ap"], known["drawn"])
        print(f"{kept}: is of another recipe or of other cells; trained again", flush=True)
    claim(folder, request)
    started = time.monotonic()
    network = _train(data, config, folder)
    scores = score_cells(network, test, own_negative=own_negative)
    run = figures_of(scores, test, config.epochs * -(-data.n_fields // config.bags_per_batch))
    seconds = round(time.monotonic() - started)
    kept.parent.mkdir(parents=True, exist_ok=True)
    write_json(
        kept,
        {
            "request": hash_settings(request),
            "steps": run.steps,
            "seconds": seconds,
            "ap": run.ap,
            "drawn": run.drawn,
        },
    )
    shutil.rmtree(folder)
    print(f"{folder.name}: mean AP {run.mean():.3f}, {seconds} s", flush=True)
    return run


def figures_of(scores: Floats, test: BenchCells, steps: int) -> Run:
    """Judge the logits ``(M, K)`` of the test cells that have a truth."""

    def by_key(chosen: npt.NDArray[np.int64] | None = None) -> dict[str, float]:
        each = average_precisions(scores, test, chosen)
        found = zip(LOCATION_KEYS, each, strict=True)
        return {key: round(float(ap), 4) for key, ap in found if np.isfinite(ap)}

    rng = np.random.default_rng(0)
    genes = np.array(test.data.groups)[test.data.field_of_cell[test.truth.known]]
    names, member = np.unique(genes, return_inverse=True)
    cells_of = [np.flatnonzero(member == i) for i in range(len(names))]
    drawn = [
        by_key(np.concatenate([cells_of[i] for i in rng.integers(len(names), size=len(names))]))
        for _ in range(_REPLICATES)
    ]
    means = {name: [round(_mean(each, name), 4) for each in drawn] for name in JUDGED}
    return Run(steps, by_key(), means)


def _mean(ap: Mapping[str, float], judged: str) -> float:
    return float(np.mean([ap[key] for key in JUDGED[judged] if key in ap]))


def claim(folder: Path, request: dict[str, Any]) -> None:
    """Write down what is trained in a folder, before anything else; stop where it is another."""
    file = folder / "request.json"
    if not file.is_file():
        if folder.is_dir() and any(folder.iterdir()):
            sys.exit(
                f"{folder}: holds a training that does not say of what (no request.json). "
                "Delete it, or choose another --work."
            )
        folder.mkdir(parents=True, exist_ok=True)
        write_json(file, request)
        return
    earlier = json.loads(file.read_text(encoding="utf-8"))
    before, now = ({**asked, **asked["recipe"], "recipe": None} for asked in (earlier, request))
    changed = sorted(key for key in before | now if before.get(key) != now.get(key))
    if changed:
        sys.exit(
            f"{folder}: holds a training with other {', '.join(changed)}. Delete it, or "
            "choose another --work."
        )


def _hash_targets(data: TrainingData) -> str:
    """Hash what the labels say, for a regime or a control may change them."""
    known = data.targets if data.cell_targets is None else data.cell_targets
    return hashlib.sha256(known.tobytes()).hexdigest()


def _train(data: TrainingData, config: TrainConfig, folder: Path) -> CellClassifier:
    """Train, with the recipe's rounds of soft labels before, as ``hpacells train`` does."""
    told = time.monotonic()

    def tell(done: int, total: int, what: str) -> None:
        nonlocal told
        if time.monotonic() - told > 60:
            print(f"{folder.name}: step {done}/{total} {what}", flush=True)
            told = time.monotonic()

    nothing = np.zeros(data.n_fields, np.bool_)
    if config.rounds.n:
        fold = split_folds(data, nothing, config.rounds.folds, seed=config.seed)
        data = run_rounds(data, fold, config, folder=folder / "rounds", progress=tell)
        config = recipe_with_cell_targets(config)
    checkpoint = folder / "checkpoint.pt"
    result = train_classifier(data, nothing, config, checkpoint_path=checkpoint, progress=tell)
    checkpoint.unlink(missing_ok=True)
    return result.model


def score_cells(network: CellClassifier, test: BenchCells, *, own_negative: bool = False) -> Floats:
    """Give the logits ``(M, K)`` of the test cells that have a truth.

    Negative's is that of "none of the others", ``log ∏(1 - p)``, unless the network's own is asked.
    """
    chosen = np.flatnonzero(test.truth.known)
    parts = []
    with torch.inference_mode():
        for start in range(0, len(chosen), _BATCH):
            at = chosen[start : start + _BATCH]
            crops, masks = test.data.crops[at], test.data.cell_masks[at]
            parts.append(network(torch.from_numpy(crops), torch.from_numpy(masks))[0])
    scores = torch.cat(parts).numpy()
    if not own_negative:
        scores[:, NEGATIVE] = -np.logaddexp(0, np.delete(scores, NEGATIVE, axis=1)).sum(axis=1)
    return np.asarray(scores, np.float32)


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that the learning benchmarks share."""
    parser.add_argument("--work", type=Path, default=ROOT / "scratch" / "bench_weak")
    parser.add_argument("--fields", type=int, default=1500, help="to learn from: %(default)s")
    parser.add_argument(
        "--precision", default="32-true", help="32-true, or bf16-mixed where the CPU has it"
    )
    parser.add_argument(
        "--compile", action="store_true", help="compiled trainings (networks: never): same results"
    )
    parser.add_argument("--part", default="1/1", help="i/n of the trainings")


def part_of(jobs: Sequence[Any], part: str) -> Sequence[Any]:
    """Give the trainings of ``--part i/n``, every n-th from the i-th."""
    i, n = (int(number) for number in part.split("/"))
    return jobs[i - 1 :: n]


def average_precisions(
    scores: Floats, test: BenchCells, chosen: npt.NDArray[np.int64] | None = None
) -> npt.NDArray[np.float64]:
    """Give each location's average precision ``(K,)`` over cells; nan where none has it."""
    truth = test.truth.targets[test.truth.known]
    rows = np.arange(len(truth)) if chosen is None else chosen
    return np.array(precision_per_location(truth[rows], scores[rows]), np.float64)

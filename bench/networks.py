"""NFNet or not: networks at matched cost, and what batch size and augmentation do to them.

Part 1. NFNets and networks of other families learn from image labels by the recipe of the shipped
classifier (``configs/shipped.yaml``, bags of 8), each for the same time: the seconds that a cell
costs in a whole step of training are measured first, all networks in turn, and the number of epochs
is what the budget buys (the teacher, asked in the second half, costs each another forward pass).
Scored by the mean average precision over cells of unseen seeds, 95 % over genes.

Part 2. The claim that networks without normalisation bear larger batches and stronger augmentation:
4 or 64 bags of 8 cells (batch 32 or 512) and weak or strong augmentation, the same number of cells,
the recipe's learning rate for its 64 and that times the root of the ratio for others, for an NFNet
with and without adaptive gradient clipping and a network with batch normalisation.

Beside them: the smallest NFNet given grey values (``stains``) instead of each cell's contrast.

Prediction written down before the first measurement: at this size the families differ by less than
their intervals; batch 512 costs all of them as much, the batch-norm network no more than the NFNet.

Trainings are kept (``weak_runs``), the costs with them, and continued; ``--part 1/2`` and ``--part
2/2`` share them between two processes; a last call without ``--part`` writes the result.
"""

import argparse
import json
import math
import time
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from filelock import FileLock
from weak_data import BenchCells, cells_of, first_fields, middle
from weak_runs import (
    KEPT,
    Run,
    add_options,
    part_of,
    shipped_recipe,
    train_and_score,
)

from hpacells.core.storage import write_json
from hpacells.train.bags import draw_epoch
from hpacells.train.config import TrainConfig
from hpacells.train.loop import _Loop

ROOT = Path(__file__).parents[1]
NETWORKS = {
    "hpa_nfnet_pico": "NFNet, ours",
    "hpa_nfnet_nano": "NFNet, ours",
    "test_nfnet": "NFNet (timm)",
    "resnet10t": "ResNet, batch norm",
    "mobilenetv4_conv_small": "MobileNet, batch norm",
    "convnext_atto": "ConvNeXt, layer norm",
    "efficientnet_b0": "EfficientNet, batch norm",
}
CROP_PX = 96
BAG = BAGS = 8  # cells of a bag, bags of a step
RATE = shipped_recipe().learning_rate  # for BAGS bags a step
STUDY = {  # name → recipe of part 2
    "NFNet, AGC": {"backbone": "hpa_nfnet_pico"},
    "NFNet, no AGC": {"backbone": "hpa_nfnet_pico", "clip_factor": 0.0},
    "batch norm": {"backbone": "resnet10t", "clip_factor": 0.0},
}


def main() -> None:
    """Train what is missing of this process's part; write the result when nothing is."""
    options = _options()
    torch.set_num_threads(1)
    cells = middle(first_fields(cells_of("train", options.work), options.fields), CROP_PX)
    test = middle(cells_of("test", options.work), CROP_PX)
    with FileLock(options.work / "costs.lock"):  # a second process waits, and reads the same
        costs = _costs(KEPT / "networks" / "costs.json", cells, options.precision)
    jobs = _jobs(costs, cells, options)
    mine = part_of(list(jobs.items()), options.part)
    runs = {
        name: train_and_score(options.work / "networks" / name, config, cells.data, test)
        for name, config in mine
    }
    if len(mine) == len(jobs):
        _report(runs, costs, options)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    add_options(parser)
    parser.add_argument("--budget-s", type=float, default=300.0, help="per network: %(default)s")
    parser.add_argument("--cells-seen", type=int, default=60_000, help="part 2: %(default)s")
    return parser.parse_args()


def _recipe(precision: str, **changes: Any) -> TrainConfig:
    base = {
        "crop_px": CROP_PX, "bag_size": BAG, "bags_per_batch": BAGS,
        "negative_target": "none", "val_fraction": 0, "precision": precision,
    }  # fmt: skip
    return shipped_recipe(base, changes)


def _costs(file: Path, cells: BenchCells, precision: str) -> dict[str, float]:
    """Measure the seconds of a cell in training, one thread, all networks in turn; once."""
    if not file.is_file():
        file.parent.mkdir(parents=True, exist_ok=True)
        write_json(file, _measure_costs(cells, precision))
    known: dict[str, float] = json.loads(file.read_text(encoding="utf-8"))
    return known


def _measure_costs(cells: BenchCells, precision: str) -> dict[str, float]:
    """Take a few steps as a training takes them: crops augmented, forward, backward, optimizer."""
    nothing = np.zeros(cells.data.n_fields, np.bool_)
    loops = {
        name: _Loop(cells.data, nothing, _recipe(precision, backbone=name)) for name in NETWORKS
    }
    batches = draw_epoch(
        cells.data, np.arange(cells.data.n_fields), bag_size=BAG, bags_per_batch=BAGS,
        rng=np.random.default_rng(0),
    )  # fmt: skip
    times: dict[str, list[float]] = {name: [] for name in loops}
    for number, batch in zip(range(6), batches, strict=False):  # the first warms up
        for name, loop in loops.items():
            started = time.perf_counter()
            step = loop._prepare(number, batch)
            loop.take_step(step)
            times[name].append((time.perf_counter() - started) / len(step.crops))
    return {name: median(each[1:]) for name, each in times.items()}


def _jobs(
    costs: dict[str, float], cells: BenchCells, options: argparse.Namespace
) -> dict[str, TrainConfig]:
    """Name every training and its recipe; the costly ones first."""
    per_epoch = float(np.minimum(np.diff(cells.data.offsets), BAG).sum())
    jobs = {}
    for name, cost in sorted(costs.items(), key=lambda item: -item[1]):
        epochs = max(1, round(options.budget_s / cost / per_epoch))
        jobs[f"cost_{name}"] = _recipe(options.precision, backbone=name, epochs=epochs)
    pico = jobs["cost_hpa_nfnet_pico"].model_dump() | {"encoder_input": "stains"}
    jobs["input_stains"] = TrainConfig.model_validate(pico)
    epochs = max(1, round(options.cells_seen / per_epoch))
    for name, recipe in STUDY.items():
        for bags in (4, 64):
            for augment in ("weak", "strong"):
                key = f"study_{name.replace(', ', '_').replace(' ', '-')}_{bags * BAG}_{augment}"
                jobs[key] = _recipe(
                    options.precision, **recipe, bags_per_batch=bags, augment=augment,
                    epochs=epochs, learning_rate=RATE * math.sqrt(bags / BAGS),
                )  # fmt: skip
    return jobs


def _report(runs: dict[str, Run], costs: dict[str, float], options: argparse.Namespace) -> None:
    rows = []
    for name, run in runs.items():
        low, high = run.interval()
        kind, _, rest = name.partition("_")
        if kind == "cost":
            seen = f"{NETWORKS[rest]}, {1 / costs[rest]:.0f} cells/s, {run.steps} steps"
            what = f"{rest} ({seen}), {options.budget_s:.0f} s of one core"
        elif kind == "input":
            what = f"hpa_nfnet_pico given {rest} instead of cell_contrast, {run.steps} steps"
        else:
            what = f"{rest.replace('_', ' ')}, {options.cells_seen} cells seen"
        rows.append(
            {
                "what": f"cell mAP, {what}",
                "asked": "reported",
                "measured": f"{run.mean():.3f} ({low:.3f}-{high:.3f})",
                "met": None,
            }
        )
        print(f"{rows[-1]['what']}: {rows[-1]['measured']}")
    write_json(ROOT / "bench" / "results" / "networks.json", {"rows": rows, "costs": costs})


if __name__ == "__main__":
    main()

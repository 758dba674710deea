"""What a training step costs beside plain timm forward and backward on the same crops.

The loop's whole step, as in a training: crops in memory are augmented, go forward, are pooled and
judged, go backward, gradients are clipped, the optimizer steps, the averaged weights follow. Plain:
the same timm backbone on the same normalised crops, forward, mean, backward, nothing else. Same
batch, memory layout and threads; the two take turns in one run, so that what else the machine does
falls on both. Median of the pairs' ratios, of processor time (which another program's turn does not
lengthen) and of time on the clock; asked: at most 1.15.

Predicted before measuring, 64 crops of 112 px on one thread: forward and backward 850 ms;
augmentation 60 ms (float32 noise and warps are half of it), AGC 6 ms, AdamW 5 ms, averaging 3 ms,
loss 3 ms, last layers 2 ms: 1.09, and 1.03 where a second core makes the next step's crops.

    python bench/training_step.py [--threads 1] [--pairs 12] [--backbone NAME] [--json]
"""

import argparse
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from hpacells.core.locations import N_LOCATIONS
from hpacells.core.storage import write_json
from hpacells.model.backbone import build_backbone
from hpacells.train.bags import BagBatch
from hpacells.train.config import TrainConfig
from hpacells.train.data import TrainingData
from hpacells.train.loop import _Loop

ASKED = 1.15
RESULTS = Path(__file__).parent / "results" / "training_step.json"


def draw_data(config: TrainConfig, n_fields: int) -> TrainingData:
    """Draw round cells with dim and bright spots: what is in them takes no time."""
    rng = np.random.default_rng(0)
    side, n = config.crop_px, config.bag_size * n_fields
    rows, columns = np.mgrid[:side, :side] - side / 2
    body = np.hypot(rows, columns) < 0.4 * side
    return TrainingData(
        crops=rng.integers(0, 160, (n, 4, side, side), np.uint8) * body.astype(np.uint8),
        cell_masks=np.broadcast_to(body.astype(np.uint8), (n, side, side)).copy(),
        offsets=np.arange(n_fields + 1, dtype=np.int64) * config.bag_size,
        targets=(rng.random((n_fields, N_LOCATIONS)) < 0.1).astype(np.float32),
        fov_ids=tuple(f"f{i}" for i in range(n_fields)),
        groups=tuple(f"g{i}" for i in range(n_fields)),
        group_kind="gene",
        data_hash="drawn",
    )


def now() -> tuple[float, float]:
    """Read the processor's time and the clock, s."""
    return time.process_time(), time.perf_counter()


def plain_step(config: TrainConfig, crops: torch.Tensor) -> Callable[[], None]:
    """Give timm's forward and backward on crops as the network sees them."""
    network = build_backbone(config.backbone, drop_path=config.drop_path, crop_px=config.crop_px)
    network.to(memory_format=torch.channels_last)
    network.train()
    pixels = (torch.sqrt(crops / 255) * 4).contiguous(memory_format=torch.channels_last)

    def step() -> None:
        network(pixels).mean().backward()
        for parameter in network.parameters():
            parameter.grad = None

    return step


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--pairs", type=int, default=12)
    parser.add_argument("--backbone", default=TrainConfig().backbone)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    config = TrainConfig(backbone=given.backbone, crop_px=112, pixel_size_um=0.25)
    loop = _Loop(draw_data(config, 32), np.zeros(32, np.bool_), config)
    fields = np.arange(config.bags_per_batch)
    cells = np.arange(config.bags_per_batch * config.bag_size).reshape(len(fields), -1)
    batch = BagBatch(cells, np.ones(cells.shape, np.bool_), fields)
    plain = plain_step(config, loop._prepare(0, batch).crops)
    taken = []
    for number in range(given.pairs + 1):
        marks = [now()]
        prepared = loop._prepare(number, batch)
        marks.append(now())
        loop.take_step(prepared)
        marks.append(now())
        plain()
        marks.append(now())
        taken.append(np.diff(marks, axis=0))  # (prepare, step, plain) x (processor, clock)
    prepare, step, bare = np.stack(taken[1:]).transpose(1, 0, 2)  # the first warms up
    result: dict[str, object] = {
        "asked": ASKED,
        "backbone": given.backbone,
        "cells": int(cells.size),
        "crop_px": config.crop_px,
        "threads": given.threads,
        "pairs": given.pairs,
        "processor_ms": {
            name: round(1000 * float(np.median(values[:, 0])), 1)
            for name, values in {"prepare": prepare, "step": step, "plain": bare}.items()
        },
    }
    for i, kind in enumerate(("processor", "clock")):
        whole, ahead = (prepare + step)[:, i] / bare[:, i], step[:, i] / bare[:, i]
        result[f"ratio_{kind}"] = round(float(np.median(whole)), 3)
        result[f"ratio_{kind}_prepared_ahead"] = round(float(np.median(ahead)), 3)
    print(result)
    if given.json:
        write_json(RESULTS, result)


if __name__ == "__main__":
    main()

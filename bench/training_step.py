"""What a training step costs beside plain timm forward and backward on the same crops.

The loop's whole step, as in a training: crops in memory are augmented, go forward, are pooled and
judged, go backward, gradients are clipped, the optimizer steps, the averaged weights follow. Plain:
the same crops made into the recipe's planes (``encoder_input``), its timm backbone forward, mean,
backward, nothing else; beside it is said what the steps cost against the backbone alone. Same
batch, memory layout and threads; all take turns in one run, so that what else the machine does
falls on each. Median of the turns' ratios, of processor time (which another program's turn does not
lengthen) and of time on the clock.

Asked, at most 1.15, of the recipe with its teacher off: that is the loop's own overhead. Reported,
of the recipe with its teacher: a second forward pass, of the averaged network, is how it learns.

Predicted before measuring, ``hpa_nfnet_nano``, 64 crops of 112 px on one thread: forward and
backward 850 ms; augmentation 60 ms (float32 noise and warps are half of it), AGC 6 ms, AdamW 5 ms,
averaging 3 ms, loss 3 ms, last layers 2 ms: 1.09, and 1.03 where a second core makes the next
step's crops.

    python bench/training_step.py [--config RECIPE.yaml] [--threads 1] [--pairs 20]
"""

import argparse
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from hpacells.core.locations import N_LOCATIONS
from hpacells.core.storage import write_json
from hpacells.model.backbone import build_backbone
from hpacells.model.encoder_input import count_planes, make_input
from hpacells.train.architecture import architecture_kwargs
from hpacells.train.bags import BagBatch
from hpacells.train.batch import StepInput
from hpacells.train.config import TrainConfig, read_train_config
from hpacells.train.data import TrainingData
from hpacells.train.loop import _Loop

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "bench" / "results" / "training_step.json"
ASKED, BARE = 1.15, "teacher off"


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


def plain_step(
    config: TrainConfig, step: StepInput
) -> tuple[Callable[[], torch.Tensor], Callable[[torch.Tensor], None]]:
    """Give what makes the planes of a step's crops, and timm's forward and backward on them."""
    kind, name = architecture_kwargs(config)["encoder_input"], config.backbone
    network = build_backbone(
        name,
        crop_px=config.crop_px,
        n_planes=count_planes(kind, name),
        drop_path=config.drop_path,
        **config.backbone_kwargs,
    )
    network.to(memory_format=torch.channels_last)
    network.train()
    prepare = make_input(kind, name, network)
    crops = step.crops.contiguous(memory_format=torch.channels_last)

    def see() -> torch.Tensor:
        planes: torch.Tensor = prepare(crops, step.cell_masks)
        return planes.contiguous(memory_format=torch.channels_last)

    def compute(planes: torch.Tensor) -> None:
        network(planes).mean().backward()
        for parameter in network.parameters():
            parameter.grad = None

    return see, compute


def measure(recipes: dict[str, TrainConfig], pairs: int) -> dict[str, npt.NDArray[np.float64]]:
    """Give what each turn took, s: ``(pairs, 2)`` of processor and clock, of each part."""
    first = next(iter(recipes.values()))
    data = draw_data(first, 32)
    loops = {name: _Loop(data, np.zeros(32, np.bool_), config) for name, config in recipes.items()}
    fields = np.arange(first.bags_per_batch)
    cells = np.arange(first.bags_per_batch * first.bag_size).reshape(len(fields), -1)
    batch = BagBatch(cells, np.ones(cells.shape, np.bool_), fields)
    see, compute = plain_step(first, next(iter(loops.values()))._prepare(0, batch))
    taken: dict[str, list[npt.NDArray[np.float64]]] = {}
    for number in range(pairs + 1):
        for name, loop in loops.items():
            marks = [now()]
            prepared = loop._prepare(number, batch)
            marks.append(now())
            loop.take_step(prepared)
            marks.append(now())
            for part, times in zip(("prepare", "step"), np.diff(marks, axis=0), strict=True):
                taken.setdefault(f"{part}, {name}", []).append(times)
        marks = [now()]
        planes = see()
        marks.append(now())
        compute(planes)
        marks.append(now())
        for part, times in zip(("planes", "backbone"), np.diff(marks, axis=0), strict=True):
            taken.setdefault(part, []).append(times)
    return {part: np.stack(times[1:]) for part, times in taken.items()}  # the first warms up


def row_of(name: str, taken: dict[str, npt.NDArray[np.float64]], what: str) -> dict[str, object]:
    """Compare a loop's steps with the plain ones."""
    step, plain = taken[f"step, {name}"], taken["planes"] + taken["backbone"]
    whole = np.median((taken[f"prepare, {name}"] + step) / plain, axis=0)
    ahead = np.median(step / plain, axis=0)
    backbone = np.median((taken[f"prepare, {name}"] + step) / taken["backbone"], axis=0)
    asked = name == BARE
    return {
        "what": f"training step / plain forward and backward, {name}, {what}",
        "asked": f"<= {ASKED}" if asked else "reported",
        "measured": f"{whole[0]:.2f} of processor time, {whole[1]:.2f} by the clock; "
        f"{ahead[0]:.2f} and {ahead[1]:.2f} without the next step's crops, made meanwhile; "
        f"against the backbone alone {backbone[0]:.2f} and {backbone[1]:.2f}",
        "met": bool(whole[0] <= ASKED) if asked else None,
    }


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--config", type=Path, default=ROOT / "configs" / "shipped.yaml")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--pairs", type=int, default=20, help="turns: %(default)s")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    config = read_train_config(given.config, accelerator="cpu", precision="32-true")
    teacher = config.teacher
    recipes = {
        BARE: config.model_copy(update={"teacher": teacher.model_copy(update={"weight": 0.0})})
    }
    if teacher.weight:  # asked from the first step on, not only from its start
        begun = teacher.model_copy(update={"start_share": 0.0})
        recipes["with its teacher"] = config.model_copy(update={"teacher": begun})
    taken = measure(recipes, given.pairs)
    n_cells = config.bags_per_batch * config.bag_size
    threads = "one thread" if given.threads == 1 else f"{given.threads} threads"
    what = f"{config.backbone}, {n_cells} cells of {config.crop_px} px, {threads}"
    rows = [row_of(name, taken, what) for name in recipes]
    result = {
        "rows": rows,
        "recipe": given.config.name,
        "pairs": given.pairs,
        "processor_ms": {
            part: round(1000 * float(np.median(times[:, 0])), 1) for part, times in taken.items()
        },
    }
    for row in rows:
        print(f"{row['what']}: {row['measured']} (asked {row['asked']})")
    write_json(RESULTS, result)


if __name__ == "__main__":
    main()

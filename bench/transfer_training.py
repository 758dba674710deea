"""Training for ``transfer``: single simulated cells with their true locations, one bag each.

The network is that of the shipped classifier's recipe, and starts from its weights, taught by
labels of simulated images, unless told otherwise. Crops come from the project's own crop store
(true masks) and are kept in one file. The loss is binary cross-entropy over the 19 classes. The
crops are augmented strongly (``train.augment``): also degraded as real ones may be, with missing
reference stains, which here are missing from single cells. Everything random is drawn from (seed,
step), so a stopped training continues as if it had not been.
"""

import argparse
import hashlib
import math
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import torch
from cell_samples import class_targets, truth_rows
from simulated_data import SimulatedData
from torch.nn.functional import binary_cross_entropy_with_logits
from weak_runs import shipped_recipe

from hpacells.core.crop_spec import CropSpec
from hpacells.crops.store import CropStore
from hpacells.model.network import CellClassifier
from hpacells.model.timm_parts import ModelEmaV3
from hpacells.train.architecture import build_network, recorded_weights
from hpacells.train.augment import augment_crops, hide_stains
from hpacells.train.checkpoint import Checkpoint, read_checkpoint, write_checkpoint
from hpacells.train.config import AugmentConfig, TrainConfig
from hpacells.train.optimizer import build_optimizer, clip_gradients, learning_rate_at

__all__ = [
    "AUGMENT",
    "TrainingCells",
    "load_cells",
    "real_scores",
    "recipe",
    "run_folder",
    "train_network",
]

RANDOM = "random"
BATCH = 64
CHECKPOINT_EVERY = 250
SEED = 0
AUGMENT = AugmentConfig.model_validate(
    {"preset": "strong", "missing_er": 0.15, "missing_microtubules": 0.15}
)

Bytes = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class TrainingCells:
    """Crops ``(N, C, S, S)`` and masks ``(N, S, S)`` uint8 (mapped files), targets ``(N, 19)``."""

    crops: Bytes
    masks: Bytes
    targets: npt.NDArray[np.float32]


def recipe(options: argparse.Namespace) -> TrainConfig:
    """Give the shipped classifier's recipe with this training's start, rate and augmentation."""
    start = {} if options.start == RANDOM else {"weights": options.start, "weights_of": "whole"}
    rate = {"learning_rate": options.learning_rate, "precision": options.precision}
    return shipped_recipe({**start, **rate, "augment": AUGMENT.model_dump()})


def load_cells(data: SimulatedData, work: Path, spec: CropSpec) -> TrainingCells:
    """Cut a dataset's cells by its true masks, once; keep those that its truth counts."""
    folder = work / f"crops_{data.path.name}_{data.digest}_{spec.crop_px}_{spec.pixel_size_um:g}"
    files = [folder / f"{name}.npy" for name in ("crops", "masks", "targets")]
    if not files[-1].is_file():
        folder.mkdir(parents=True, exist_ok=True)
        store = _crop_store(data.path, folder / "store", spec)
        label_of = {
            (r["ID"], int(r["cell_id"])): r["Label"]
            for r in truth_rows(data.path)
            if r["in_truth"] == "1"
        }
        n, side = store.counts["crops"], spec.crop_px
        crops = np.lib.format.open_memmap(files[0], "w+", np.uint8, (n, 4, side, side))
        masks = np.lib.format.open_memmap(files[1], "w+", np.uint8, (n, side, side))
        labels: list[str] = []
        for part in store.fields():
            for cell_id, crop, mask in zip(
                part.cell_ids.tolist(), part.crops, part.cell_masks, strict=True
            ):
                if (part.fov_id, cell_id) in label_of:
                    crops[len(labels)], masks[len(labels)] = crop, mask
                    labels.append(label_of[part.fov_id, cell_id])
        crops.flush()
        masks.flush()
        np.save(files[2], class_targets(labels).astype(np.float32))
    targets = np.load(files[2])
    crops, masks = (np.load(file, mmap_mode="r")[: len(targets)] for file in files[:2])
    return TrainingCells(crops, masks, targets)


def _crop_store(data: Path, out: Path, spec: CropSpec) -> CropStore:
    command = [str(Path(sys.executable).with_name("hpacells")), "crop", str(data)]
    command += [str(data / "truth"), str(out), "--crop-px", str(spec.crop_px)]
    command += ["--crop-pixel-size-um", str(spec.pixel_size_um)]
    subprocess.run(command, check=True)
    return CropStore.open(out)


def run_folder(data: SimulatedData, work: Path, *, steps: int, config: TrainConfig) -> Path:
    """Name the folder of one training: other data, steps, recipe or first weights, another one."""
    known = config.model_dump_json() + recorded_weights(config).get("weights_sha256", "")
    known = hashlib.sha256(known.encode()).hexdigest()[:12]
    return work / f"run_{data.path.name}_{data.digest}_{steps}_{known}"


def train_network(
    data: SimulatedData, options: argparse.Namespace
) -> tuple[CellClassifier, CropSpec]:
    """Train, or continue, and give the averaged network in evaluation mode.

    A finished checkpoint is read and nothing else: its data's pixels need not be there any more.
    Crops are of all fields of the folder.
    """
    torch.set_num_threads(options.threads)
    cv2.setNumThreads(1)
    config = recipe(options)
    spec = config.crop_spec()
    folder = run_folder(data, Path(options.work), steps=options.steps, config=config)
    path = folder / "checkpoint.pt"
    path.parent.mkdir(parents=True, exist_ok=True)
    known = read_checkpoint(path)
    if known is not None and known.step == options.steps:
        print(f"{path}: finished, nothing to train")
        network = build_network(config)
        network.load_state_dict(known.average)
        return network.eval(), spec
    cells = load_cells(data, options.work, spec)
    print(f"{len(cells.targets)} cells; {cells.targets.sum(0).astype(int).tolist()} per class")
    loop = _Loop(cells, options.steps, config)
    loop.restore(known)
    started, first, total = time.monotonic(), loop.step, 0.0
    while loop.step < options.steps:
        total += loop.take_step()
        done = loop.step - first
        if done % 25 == 0:
            rate = done / (time.monotonic() - started)
            print(
                f"step {loop.step}/{options.steps} loss {total / 25:.4f} {rate:.2f} steps/s, "
                f"{(options.steps - loop.step) / rate / 60:.0f} min left",
                flush=True,
            )
            total = 0.0
        if loop.step % CHECKPOINT_EVERY == 0 or loop.step == options.steps:
            write_checkpoint(path, loop.snapshot())
    average: CellClassifier = loop.average.module
    return average.eval(), spec


class _Loop:
    """One training: network, average, optimizer, position."""

    def __init__(self, cells: TrainingCells, steps: int, config: TrainConfig) -> None:
        self.cells, self.steps, self.step = cells, steps, 0
        self.config = config
        self.half = config.precision == "bf16-mixed"
        torch.manual_seed(SEED)
        self.network = build_network(config)
        self.network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.optimizer = build_optimizer([self.network], self.config)
        self.average = ModelEmaV3(self.network, decay=0.999, use_warmup=True)

    def _batch(self) -> npt.NDArray[np.int64]:
        """Give the step's cells: every cell once in an epoch, in an order drawn for it."""
        per_epoch = max(len(self.cells.targets) // BATCH, 1)
        epoch, place = divmod(self.step, per_epoch)
        order = np.random.default_rng([SEED, 1, epoch]).permutation(len(self.cells.targets))
        return np.sort(order[place * BATCH : (place + 1) * BATCH])

    def take_step(self) -> float:
        """Take one step of the optimizer and return its loss."""
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate_at(self.step, self.steps, self.config)
        chosen = self._batch()
        rng = np.random.default_rng([SEED, 2, self.step])
        torch.manual_seed(int(rng.integers(2**31)))
        pixels, inside = augment_crops(
            torch.from_numpy(self.cells.crops[chosen]),
            torch.from_numpy(self.cells.masks[chosen]),
            AUGMENT,
            torch.default_generator,
        )
        hide_stains(pixels, np.arange(len(chosen)), AUGMENT, torch.default_generator)
        self.network.train()
        with torch.autocast("cpu", torch.bfloat16, enabled=self.half):
            logits, _ = self.network(pixels.contiguous(memory_format=torch.channels_last), inside)
        target = torch.from_numpy(self.cells.targets[chosen])
        loss = binary_cross_entropy_with_logits(logits.float(), target)
        value = float(loss.detach())
        if not math.isfinite(value):
            sys.exit(f"the loss is {value} at step {self.step}: lower --learning-rate")
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        clip_gradients(self.network, self.config.clip_factor)
        self.optimizer.step()
        self.step += 1
        self.average.update(self.network, step=self.step)
        return value

    def snapshot(self) -> Checkpoint:
        return Checkpoint(
            self.step,
            self.network.state_dict(),
            self.average.module.state_dict(),
            self.optimizer.state_dict(),
        )

    def restore(self, checkpoint: Checkpoint | None) -> None:
        if checkpoint is None:
            return
        self.step = checkpoint.step
        checkpoint.load_weights(self.network, self.average.module, self.optimizer)
        print(f"continues at step {self.step}")


def real_scores(
    network: CellClassifier, crops: Bytes, masks: npt.NDArray[np.bool_]
) -> npt.NDArray[np.float64]:
    """Give ``(N, 19)`` probabilities; the network itself averages the eight ways a crop lies."""
    pixels = torch.from_numpy(crops)
    inside = torch.from_numpy(masks.astype(np.uint8))
    with torch.inference_mode():
        parts = [
            network(pixels[i : i + BATCH].float(), inside[i : i + BATCH])[0]
            for i in range(0, len(crops), BATCH)
        ]
    return np.asarray(torch.cat(parts).double().sigmoid().numpy())

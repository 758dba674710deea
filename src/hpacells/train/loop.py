"""The training loop: bags in, averaged weights out; continues where a checkpoint stands.

Everything random is drawn from (seed, epoch) or (seed, step), never carried along, so a training
that was killed and continued takes the same steps as one that was not.
"""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from lightning_fabric import Fabric
from torch import nn

from hpacells.core.errors import ConfigError
from hpacells.core.progress import ProgressCallback, silent
from hpacells.model.losses import BagLoss, bag_loss
from hpacells.model.network import CellClassifier
from hpacells.model.timm_parts import ModelEmaV3, adaptive_clip_grad
from hpacells.train.augment import augment_crops
from hpacells.train.bags import BagBatch, draw_epoch
from hpacells.train.checkpoint import Checkpoint, read_checkpoint, write_checkpoint
from hpacells.train.config import TrainConfig
from hpacells.train.data import TrainingData
from hpacells.train.records import Row
from hpacells.train.validation import Validation, validate

__all__ = ["LoopResult", "learning_rate_at", "train_classifier"]

_FLOOR = 0.01


@dataclass(frozen=True)
class LoopResult:
    """What a training ends with.

    Parameters
    ----------
    model
        With the averaged weights, on the CPU, in evaluation mode.
    validation
        Of the last epoch; None where nothing was held out.
    history
        One row per epoch.
    """

    model: CellClassifier
    validation: Validation | None
    history: list[Row]


def train_classifier(
    data: TrainingData,
    held_out: npt.NDArray[np.bool_],
    config: TrainConfig,
    *,
    checkpoint_path: Path,
    on_epoch: Callable[[list[Row]], None] | None = None,
    progress: ProgressCallback = silent,
) -> LoopResult:
    """Train from the start, or from the checkpoint that is there.

    Parameters
    ----------
    data
        Crops and image labels.
    held_out
        ``(F,)`` bool; these fields are validated on, the others trained on.
    config
        The recipe.
    checkpoint_path
        Read when it exists, written as training goes on.
    on_epoch
        Given the history after each epoch, and once when continuing.
    progress
        Told (steps done, steps, loss) after each step.

    Returns
    -------
    LoopResult
        Trained.

    Raises
    ------
    ConfigError
        When the loss is not finite.
    """
    loop = _Loop(data, held_out, config)
    loop.restore(read_checkpoint(checkpoint_path))
    if on_epoch and loop.history:
        on_epoch(loop.history)
    while loop.step < loop.n_steps:
        for batch in loop.rest_of_epoch():
            loss = loop.take_step(batch)
            progress(loop.step, loop.n_steps, f"loss {loss:.4f}")
            if loop.step % config.checkpoint_every == 0 and not loop.at_epoch_end:
                write_checkpoint(checkpoint_path, loop.snapshot())
        loop.close_epoch()
        write_checkpoint(checkpoint_path, loop.snapshot())
        if on_epoch:
            on_epoch(loop.history)
    validation = loop.last_validation()
    if on_epoch:
        on_epoch(loop.history)
    return LoopResult(loop.finished_model(), validation, loop.history)


def learning_rate_at(step: int, n_steps: int, config: TrainConfig) -> float:
    """Give the learning rate of a step: linear rise, then a cosine to 1 % of the highest."""
    warmup = int(n_steps * config.warmup_share)
    if step < warmup:
        return config.learning_rate * (step + 1) / warmup
    share = (step - warmup) / max(1, n_steps - warmup)
    cosine = 0.5 * (1 + math.cos(math.pi * share))
    return config.learning_rate * (_FLOOR + (1 - _FLOOR) * cosine)


class _Loop:
    """The state of one training: network, average, optimizer, position."""

    def __init__(
        self, data: TrainingData, held_out: npt.NDArray[np.bool_], config: TrainConfig
    ) -> None:
        self.data, self.config = data, config
        self.train_fields = np.flatnonzero(~held_out)
        self.val_fields = np.flatnonzero(held_out)
        self.steps_per_epoch = math.ceil(len(self.train_fields) / config.bags_per_batch)
        self.n_steps = self.steps_per_epoch * config.epochs
        self.step = 0
        self.history: list[Row] = []
        self._sums: dict[str, float] = {}
        self._started = (time.monotonic(), 0)
        self.fabric = Fabric(accelerator=config.accelerator, devices=1, precision=config.precision)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(config.seed)
            network = build_network(config)
        network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        optimizer = torch.optim.AdamW(
            _parameter_groups(network, config.weight_decay), lr=config.learning_rate
        )
        self.network = network
        self.model, self.optimizer = self.fabric.setup(network, optimizer)
        self.clipped = [p for n, p in network.named_parameters() if not n.startswith("head.")]
        self.average = ModelEmaV3(network, decay=config.ema_decay, use_warmup=True)

    @property
    def at_epoch_end(self) -> bool:
        return self.step % self.steps_per_epoch == 0

    def rest_of_epoch(self) -> list[BagBatch]:
        """Draw the current epoch's batches and leave out those that were done."""
        epoch, done = divmod(self.step, self.steps_per_epoch)
        batches = draw_epoch(
            self.data,
            self.train_fields,
            bag_size=self.config.bag_size,
            bags_per_batch=self.config.bags_per_batch,
            rng=np.random.default_rng([self.config.seed, epoch]),
        )
        self._started = (time.monotonic(), 0)
        return list(batches)[done:]

    def take_step(self, batch: BagBatch) -> float:
        """Take one step of the optimizer and return its loss."""
        rate = learning_rate_at(self.step, self.n_steps, self.config)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.model.train()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(_mix_seed(self.config.seed, self.step))
            loss = self._loss(batch)
        value = float(loss.total.detach())
        if not math.isfinite(value):
            raise ConfigError(
                f"training: expected a finite loss, got {value} at step {self.step} of "
                f"{self.n_steps}. Lower learning_rate or clip_factor in the --config file and "
                "train into another folder."
            )
        self.fabric.backward(loss.total)
        if self.config.clip_factor > 0:
            adaptive_clip_grad(self.clipped, clip_factor=self.config.clip_factor)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.step += 1
        self.average.update(self.network, step=self.step)
        self._count(loss, value, int(batch.cell_present.sum()))
        return value

    def _loss(self, batch: BagBatch) -> BagLoss:
        present = torch.from_numpy(batch.cell_present)
        cells = batch.cells[batch.cell_present]  # padded places are never computed
        crops, masks = augment_crops(
            torch.from_numpy(self.data.crops[cells]),
            torch.from_numpy(self.data.cell_masks[cells]),
            self.config.augment,
            torch.default_generator,
        )
        device = self.fabric.device
        crops = crops.to(device, memory_format=torch.channels_last)
        logits, _ = self.model(crops, masks.to(device))  # (cells, K)
        present = present.to(device)
        bags = logits.new_zeros((*present.shape, logits.shape[1]))
        bags[present] = logits
        return bag_loss(
            bags,
            present,
            torch.from_numpy(self.data.targets[batch.fields]).to(device),
            pooling=self.config.pooling,
            cell_weight=self.config.cell_loss_weight,
            cell_positive_weight=self.config.cell_positive_weight,
        )

    def _count(self, loss: BagLoss, total: float, n_cells: int) -> None:
        self._started = (self._started[0], self._started[1] + n_cells)
        new = {"n": 1.0, "loss": total, "image": float(loss.image), "cell": float(loss.cell)}
        self._sums = {key: self._sums.get(key, 0.0) + value for key, value in new.items()}

    def close_epoch(self) -> None:
        """Append the epoch's row to the history, with a validation where one is due."""
        epoch = self.step // self.steps_per_epoch
        sums, (started, n_cells) = self._sums, self._started
        row: Row = {
            "epoch": epoch,
            "step": self.step,
            "learning_rate": learning_rate_at(self.step - 1, self.n_steps, self.config),
            "loss": sums["loss"] / sums["n"],
            "image_loss": sums["image"] / sums["n"],
            "cell_loss": sums["cell"] / sums["n"],
            "cells_per_s": n_cells / max(time.monotonic() - started, 1e-9),
            "val_loss": None,
            "val_mean_ap": None,
        }
        due = epoch % self.config.validate_every == 0 and self.step < self.n_steps
        if due and len(self.val_fields):
            found = self._validate()
            row.update(val_loss=found.loss, val_mean_ap=found.mean)
        self.history = [*self.history, row]
        self._sums = {}

    def last_validation(self) -> Validation | None:
        """Validate the finished average and complete the last row; None without held-out fields."""
        if not len(self.val_fields):
            return None
        found = self._validate()
        self.history[-1].update(val_loss=found.loss, val_mean_ap=found.mean)
        return found

    def _validate(self) -> Validation:
        return validate(
            self.average.module,
            self.data,
            self.val_fields,
            pooling=self.config.pooling,
            device=self.fabric.device,
        )

    def snapshot(self) -> Checkpoint:
        return Checkpoint(
            self.step,
            self.network.state_dict(),
            self.average.module.state_dict(),
            self.optimizer.state_dict(),
            self.history,
            self._sums,
        )

    def restore(self, checkpoint: Checkpoint | None) -> None:
        if checkpoint is None:
            return
        self.step = checkpoint.step
        checkpoint.load_weights(self.network, self.average.module, self.optimizer)
        self.history, self._sums = checkpoint.history, checkpoint.sums

    def finished_model(self) -> CellClassifier:
        model: CellClassifier = self.average.module
        return model.cpu().eval()


def build_network(config: TrainConfig) -> CellClassifier:
    """Build the network of a recipe."""
    return CellClassifier(
        config.backbone,
        crop_px=config.crop_px,
        embedding_size=config.embedding_size,
        outside=config.outside,
        **architecture_kwargs(config),
    )


def architecture_kwargs(config: TrainConfig) -> dict[str, Any]:
    """Give what ``model.json`` holds of the network besides its sizes."""
    return {"drop_path": config.drop_path, "dropout": config.dropout, **config.backbone_kwargs}


def _parameter_groups(network: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Decay weights, not biases, gains or other vectors."""
    decayed = [p for p in network.parameters() if p.squeeze().ndim >= 2]
    others = [p for p in network.parameters() if p.squeeze().ndim < 2]
    return [
        {"params": decayed, "weight_decay": weight_decay},
        {"params": others, "weight_decay": 0.0},
    ]


def _mix_seed(seed: int, step: int) -> int:
    return int(np.random.SeedSequence([seed, step]).generate_state(1)[0])

"""The training loop: patches in, averaged weights out; continues where a checkpoint stands.

Everything random follows from (seed, step), never carried along, so a training that was killed and
continued takes the same steps as one that was not. The next step's patches are made while the
network works.
"""

import math
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from hpacells.core.errors import ConfigError
from hpacells.core.progress import ProgressCallback, silent
from hpacells.model.map_loss import map_loss
from hpacells.model.timm_parts import ModelEmaV3
from hpacells.model.unet import CellUnet
from hpacells.train.checkpoint import Checkpoint, read_checkpoint, write_checkpoint
from hpacells.train.segmentation.config import SegmentTrainConfig
from hpacells.train.segmentation.data import FieldCache
from hpacells.train.segmentation.patches import PatchBatch, draw_batch
from hpacells.train.segmentation.validation import validate_maps

__all__ = ["Row", "train_unet"]

Row = dict[str, float | int | None]

_FLOOR = 0.01


def train_unet(
    cache: FieldCache,
    config: SegmentTrainConfig,
    *,
    checkpoint_path: Path,
    on_validation: Callable[[list[Row]], None] | None = None,
    progress: ProgressCallback = silent,
) -> tuple[CellUnet, list[Row]]:
    """Train from the start, or from the checkpoint that is there.

    Parameters
    ----------
    cache
        Fields with their maps.
    config
        The recipe.
    checkpoint_path
        Read when it exists, written as training goes on.
    on_validation
        Given the history after each validation.
    progress
        Told (steps done, steps, loss) after each step.

    Returns
    -------
    network
        With the averaged weights, on the CPU, in evaluation mode.
    history
        One row per validation: step, learning rate, mean training loss since the last, and of the
        held-out fields ``val_loss`` and ``val_f1`` (None where nothing is held out).

    Raises
    ------
    ConfigError
        When the loss is not finite.
    """
    loop = _Loop(cache, config)
    loop.restore(read_checkpoint(checkpoint_path))
    for batch in loop.rest_of_batches():
        loss = loop.take_step(batch)
        progress(loop.step, config.steps, f"loss {loss:.4f}")
        due = loop.step % config.validate_every == 0 or loop.step == config.steps
        if due:
            loop.validate()
        if due or loop.step % config.checkpoint_every == 0:
            write_checkpoint(checkpoint_path, loop.snapshot())
        if due and on_validation:
            on_validation(loop.history)
    return loop.finished_network(), loop.history


class _Loop:
    """The state of one training: network, average, optimizer, position."""

    def __init__(self, cache: FieldCache, config: SegmentTrainConfig) -> None:
        self.cache, self.config = cache, config
        n = len(cache.fov_ids)
        n_held_out = min(config.val_fields, n // 5)
        self.train_fields, self.val_fields = np.split(np.arange(n), [n - n_held_out])
        self.step = 0
        self.history: list[Row] = []
        self._sums = {"n": 0.0, "loss": 0.0}
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(config.seed)
            self.network = CellUnet(config.widths)
        self.network.to(config.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.optimizer = torch.optim.AdamW(
            _parameter_groups(self.network, config.weight_decay), lr=config.learning_rate
        )
        self.average = ModelEmaV3(self.network, decay=config.ema_decay, use_warmup=True)

    def rest_of_batches(self) -> Iterator[PatchBatch]:
        """Give the batches of the steps that remain, each made while the one before is used."""
        steps = range(self.step, self.config.steps)
        with ThreadPoolExecutor(1, "patches") as pool:
            ahead = pool.submit(self._draw, steps[0]) if steps else None
            for step in steps:
                batch = ahead.result() if ahead else self._draw(step)
                ahead = pool.submit(self._draw, step + 1) if step + 1 in steps else None
                yield batch

    def _draw(self, step: int) -> PatchBatch:
        return draw_batch(self.cache, self.train_fields, self.config, step)

    def take_step(self, batch: PatchBatch) -> float:
        """Take one step of the optimizer and return its loss."""
        config = self.config
        rate = _learning_rate(self.step, config)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.network.train()
        logits = self.network(self._send(batch.stains), self._send(batch.present))
        loss = map_loss(
            logits,
            self._send(batch.targets),
            self._send(batch.weights),
            map_weights=config.map_weights,
            dice_weight=config.dice_weight,
        )
        value = float(loss.detach())
        if not math.isfinite(value):
            raise ConfigError(
                f"training: expected a finite loss, got {value} at step {self.step} of "
                f"{config.steps}. Lower learning_rate and train into another folder."
            )
        loss.backward()
        nn.utils.clip_grad_norm_(self.network.parameters(), config.clip_norm)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.step += 1
        self.average.update(self.network, step=self.step)
        self._sums = {"n": self._sums["n"] + 1, "loss": self._sums["loss"] + value}
        return value

    def _send(self, values: npt.NDArray[np.float32]) -> Tensor:
        tensor = torch.from_numpy(values).to(self.config.device)
        return tensor.contiguous(memory_format=torch.channels_last) if tensor.ndim == 4 else tensor

    def validate(self) -> None:
        """Append a row to the history."""
        row: Row = {
            "step": self.step,
            "learning_rate": _learning_rate(self.step - 1, self.config),
            "loss": self._sums["loss"] / self._sums["n"],
            "val_loss": None,
            "val_f1": None,
        }
        if len(self.val_fields):
            found = validate_maps(self.average.module, self.cache, self.val_fields, self.config)
            row.update(val_loss=found.loss, val_f1=found.f1)
        self.history = [*self.history, row]
        self._sums = {"n": 0.0, "loss": 0.0}

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

    def finished_network(self) -> CellUnet:
        network: CellUnet = self.average.module
        return network.cpu().eval()


def _learning_rate(step: int, config: SegmentTrainConfig) -> float:
    """Rise linearly, then fall by a cosine to 1 % of the highest."""
    warmup = int(config.steps * config.warmup_share)
    if step < warmup:
        return config.learning_rate * (step + 1) / warmup
    share = (step - warmup) / max(1, config.steps - warmup)
    return config.learning_rate * (_FLOOR + (1 - _FLOOR) * 0.5 * (1 + math.cos(math.pi * share)))


def _parameter_groups(network: nn.Module, weight_decay: float) -> list[dict[str, object]]:
    """Decay kernels, not biases and the gains of the batch norms."""
    kernels = [p for p in network.parameters() if p.ndim >= 2]
    others = [p for p in network.parameters() if p.ndim < 2]
    return [
        {"params": kernels, "weight_decay": weight_decay},
        {"params": others, "weight_decay": 0.0},
    ]

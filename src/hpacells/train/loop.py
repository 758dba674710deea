"""The training loop: bags in, averaged weights out; continues where a checkpoint stands.

Everything random is drawn from (seed, epoch) or (seed, step), never carried along, so a training
that was killed and continued takes the same steps as one that was not.

A step's cells are computed in equal parts, ``accumulate`` on each device. The answers to all of
them are put together, the loss of the whole step is taken, and each part is then told its share of
the gradient: so the step is the same however it was divided, whatever the loss, as far as the
network answers each cell by itself (no batch norm; dropout draws anew in each part). The price of
``accumulate`` above 1 is a second forward pass (Gao et al. 2021, https://arxiv.org/abs/2101.06983).
"""

import math
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from hpacells.core.errors import ConfigError
from hpacells.core.locations import N_LOCATIONS
from hpacells.core.progress import ProgressCallback, silent
from hpacells.model.network import CellClassifier
from hpacells.model.pooling import AttentionPooling
from hpacells.model.timm_parts import ModelEmaV3
from hpacells.train.architecture import build_learner
from hpacells.train.bags import BagBatch, draw_epoch
from hpacells.train.batch import StepInput, prepare_step
from hpacells.train.checkpoint import Checkpoint, read_checkpoint, write_checkpoint
from hpacells.train.config import TrainConfig
from hpacells.train.data import TrainingData
from hpacells.train.devices import compile_network, open_fabric, send_part
from hpacells.train.objective import (
    Answers,
    BagLoss,
    chance_of_labels,
    step_loss,
    wants_teacher,
)
from hpacells.train.optimizer import build_optimizer, clip_gradients, learning_rate_at
from hpacells.train.records import LoopResult, Row
from hpacells.train.teacher import PresencePrior
from hpacells.train.truth import CellTruth
from hpacells.train.validation import Validation, validate

__all__ = ["train_classifier"]


def train_classifier(
    data: TrainingData,
    held_out: npt.NDArray[np.bool_],
    config: TrainConfig,
    *,
    checkpoint_path: Path,
    truth: CellTruth | None = None,
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
    truth
        Given to the validation, to measure with; nothing else sees it.
    on_epoch
        Given the history after each epoch, and once when continuing.
    progress
        Told (steps done, steps, loss) after each step.

    Returns
    -------
    LoopResult
        Trained. With several processes all take part and all return the same model; the first
        alone validates, writes and tells.

    Raises
    ------
    ConfigError
        When the loss is not finite, or the recipe's devices are not there.
    OutputError
        When the checkpoint is damaged or another network's.
    """
    loop = _Loop(data, held_out, config, truth)
    loop.restore(read_checkpoint(checkpoint_path))
    loop.fabric.barrier()  # before the first process writes, all have read
    first = loop.fabric.is_global_zero
    tell = on_epoch if on_epoch and first else lambda _: None

    def save() -> None:
        if first:
            write_checkpoint(checkpoint_path, loop.snapshot())

    if loop.history:
        tell(loop.history)
    while loop.step < loop.n_steps:
        for step in loop.rest_of_epoch():
            loss = loop.take_step(step)
            if first:
                progress(loop.step, loop.n_steps, f"loss {loss:.4f}")
            if loop.step % config.checkpoint_every == 0 and not loop.at_epoch_end:
                save()
        loop.close_epoch()
        save()
        tell(loop.history)
    validation = loop.last_validation()
    tell(loop.history)
    return LoopResult(loop.finished_model(), validation, loop.history)


class _Loop:
    """The state of one training: network, average, optimizer, position."""

    def __init__(
        self,
        data: TrainingData,
        held_out: npt.NDArray[np.bool_],
        config: TrainConfig,
        truth: CellTruth | None = None,
    ) -> None:
        self.data, self.config, self.truth = data, config, truth
        self.train_fields = np.flatnonzero(~held_out & data.can_teach)
        self.val_fields = np.flatnonzero(held_out)
        self.steps_per_epoch = math.ceil(len(self.train_fields) / config.bags_per_batch)
        self.n_steps = self.steps_per_epoch * config.epochs
        self.step = 0
        self.history: list[Row] = []
        self._sums: dict[str, float] = {}
        self._started = (time.monotonic(), 0)
        self._last_planes: tuple[StepInput, int, Tensor] | None = None
        self.fabric = open_fabric(config)
        device = self.fabric.device
        self.attention: AttentionPooling | None = None
        self.prior = PresencePrior().to(device) if config.teacher.prior else None
        self.chance: Tensor | None = None
        if config.label_noise == "modelled":
            self.chance = chance_of_labels(data.targets[self.train_fields]).to(device)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(config.seed)
            self.network = build_learner(config, data.crops.shape)
            if config.pooling == "attention":
                self.attention = AttentionPooling(config.embedding_size, N_LOCATIONS).to(device)
        self.network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        trained = [self.network, self.attention] if self.attention else [self.network]
        optimizer = build_optimizer(trained, config)
        network = compile_network(self.network) if config.compile else self.network
        self.model, self.optimizer = self.fabric.setup(network, optimizer)
        self.average = ModelEmaV3(self.network, decay=config.ema_decay, use_warmup=True)

    @property
    def _my_parts(self) -> range:
        first = self.fabric.global_rank * self.config.accumulate
        return range(first, first + self.config.accumulate)

    @property
    def at_epoch_end(self) -> bool:
        return self.step % self.steps_per_epoch == 0

    def rest_of_epoch(self) -> Iterator[StepInput]:
        """Give the epoch's steps that were not taken, each made while the one before is used."""
        epoch, done = divmod(self.step, self.steps_per_epoch)
        drawn = draw_epoch(
            self.data,
            self.train_fields,
            bag_size=self.config.bag_size,
            bags_per_batch=self.config.bags_per_batch,
            rng=np.random.default_rng([self.config.seed, epoch]),
            rare_cap=self.config.rare_cap,
        )
        batches = list(enumerate(drawn, start=epoch * self.steps_per_epoch))[done:]
        self._started = (time.monotonic(), 0)
        with ThreadPoolExecutor(1, "step") as pool:
            ahead = pool.submit(self._prepare, *batches[0])
            for following in [*batches[1:], None]:
                step = ahead.result()
                if following:
                    ahead = pool.submit(self._prepare, *following)
                yield step

    def _prepare(self, number: int, batch: BagBatch) -> StepInput:
        generator = torch.Generator().manual_seed(_mix_seed(self.config.seed, number))
        return prepare_step(self.data, batch, self.config, generator)

    def take_step(self, step: StepInput) -> float:
        """Take one step of the optimizer and return its loss."""
        rate = learning_rate_at(self.step, self.n_steps, self.config)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.model.train()
        cuda = [self.fabric.device] if self.fabric.device.type == "cuda" else []
        with torch.random.fork_rng(devices=cuda):
            loss = self._backward(step)
        clip_gradients(self.network, self.config.clip_factor)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.step += 1
        self.average.update(self.network, step=self.step)
        return self._count(loss, len(step.crops))

    def _backward(self, step: StepInput) -> BagLoss:
        """Compute the gradient of the whole step's loss, this device's parts of it."""
        n_parts = self.config.accumulate
        parts = self._my_parts
        with torch.set_grad_enabled(n_parts == 1):  # several parts don't fit in memory together
            mine = [self._answer(step, part) for part in parts]
        n_cells = len(step.crops)
        answers = self._gather(mine)[:n_cells].requires_grad_()
        loss = self._judge(answers, step)
        if not math.isfinite(value := float(loss.total.detach())):
            raise ConfigError(
                f"training: expected a finite loss, got {value} at step {self.step} of "
                f"{self.n_steps}. Lower learning_rate or clip_factor in the --config file and "
                "train into another folder."
            )
        loss.total.backward()
        size, world = len(mine[0]), self.fabric.world_size
        for i, part in enumerate(parts):
            answer = mine[i] if n_parts == 1 else self._answer(step, part)
            gradient = answers.grad[part * size : (part + 1) * size]  # type: ignore[index]
            with self.fabric.no_backward_sync(self.model, enabled=world > 1 and i < n_parts - 1):
                # gradients are averaged over devices: times their number it is their sum
                self.fabric.backward((answer[: len(gradient)] * gradient).sum() * world)
        return loss

    def _judge(self, answers: Tensor, step: StepInput) -> BagLoss:
        device, share = self.fabric.device, self.step / self.n_steps
        teacher = None
        if wants_teacher(self.config, step, progress=share):
            said = [self._ask_teacher(step, part) for part in self._my_parts]
            teacher = self._gather(said)[: len(answers)]
        k, d = N_LOCATIONS, self.config.embedding_size
        return step_loss(
            Answers(
                logits=answers[:, :k],
                embedding=answers[:, k : k + d],
                in_field=answers[:, k + d :] if answers.shape[1] > k + d else None,
                teacher=teacher,
            ),
            replace(
                step,
                present=step.present.to(device),
                image_targets=step.image_targets.to(device),
                cell_targets=None if step.cell_targets is None else step.cell_targets.to(device),
                made=None if step.made is None else step.made.to(device),
                corrected=None if step.corrected is None else step.corrected.to(device),
            ),
            self.config,
            progress=share,
            attention=self.attention,
            prior=self.prior,
            chance=self.chance,
        )

    def _gather(self, parts: list[Tensor]) -> Tensor:
        """Put the answers of all devices' parts together, in order, without their history."""
        mine = torch.cat([part.detach() for part in parts])
        if self.fabric.world_size == 1:
            return mine
        whole = [torch.empty_like(mine) for _ in range(self.fabric.world_size)]
        torch.distributed.all_gather(whole, mine)
        return torch.cat(whole)

    def _answer(self, step: StepInput, part: int) -> Tensor:
        """Give logits and embedding of a part's cells, and their logits in the field where wanted.

        Returns
        -------
        Tensor
            ``(size, K + D)`` or ``(size, K + D + K)``.
        """
        torch.manual_seed(_mix_seed(self.config.seed, self.step, part))
        alone = self._planes(step, part)
        if self.config.consistency.weight == 0:
            return torch.cat(self.model(alone, None), dim=1)
        crops, masks = self._send(step, part)
        in_field = self.network.prepare(crops, torch.ones_like(masks))
        logits, embedding = self.model(torch.cat([alone, in_field]), None)
        alone, in_field = logits.chunk(2)
        return torch.cat([alone, embedding[: len(alone)], in_field], dim=1)

    @torch.no_grad()
    def _ask_teacher(self, step: StepInput, part: int) -> Tensor:
        with self.fabric.autocast():
            logits: Tensor = self.average.module(self._planes(step, part), None)[0]
        return logits.float()

    @torch.no_grad()
    def _planes(self, step: StepInput, part: int) -> Tensor:
        """Give the network's input of a part; the teacher asks for what the student was given."""
        last = self._last_planes
        if last is None or last[0] is not step or last[1] != part:
            last = (step, part, self.network.prepare(*self._send(step, part)))
            self._last_planes = last
        return last[2]

    def _send(self, step: StepInput, part: int) -> tuple[Tensor, Tensor]:
        n_parts = self.fabric.world_size * self.config.accumulate
        return send_part(step, part, n_parts=n_parts, device=self.fabric.device)

    def _count(self, loss: BagLoss, n_cells: int) -> float:
        self._started = (self._started[0], self._started[1] + n_cells)
        value = float(loss.total.detach())
        new = {"n": 1.0, "loss": value, "image": float(loss.image), "cell": float(loss.cell)}
        self._sums = {key: self._sums.get(key, 0.0) + value for key, value in new.items()}
        return value

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
            **dict.fromkeys(Validation.COLUMNS),
        }
        due = epoch % self.config.validate_every == 0 and self.step < self.n_steps
        if due and (found := self._validate()):
            row.update(found.summary())
        self.history = [*self.history, row]
        self._sums = {}

    def last_validation(self) -> Validation | None:
        """Validate the finished average and complete the last row; None without held-out fields."""
        if found := self._validate():
            self.history[-1].update(found.summary())
        return found

    def _validate(self) -> Validation | None:
        if not len(self.val_fields) or not self.fabric.is_global_zero:
            return None
        return validate(
            self.average.module,
            self.data,
            self.val_fields,
            pooling=self.config.prediction_pooling,
            device=self.fabric.device,
            truth=self.truth,
            constants=self.config.postprocessing,
        )

    def snapshot(self) -> Checkpoint:
        kept = {"attention": self.attention, "prior": self.prior}
        return Checkpoint(
            self.step,
            self.network.state_dict(),
            self.average.module.state_dict(),
            self.optimizer.state_dict(),
            self.history,
            self._sums,
            {name: module.state_dict() for name, module in kept.items() if module is not None},
        )

    def restore(self, checkpoint: Checkpoint | None) -> None:
        if checkpoint is None:
            return
        self.step = checkpoint.step
        checkpoint.load_weights(
            self.network,
            self.average.module,
            self.optimizer,
            attention=self.attention,
            prior=self.prior,
        )
        self.history, self._sums = checkpoint.history, checkpoint.sums

    def finished_model(self) -> CellClassifier:
        model: CellClassifier = self.average.module
        return model.cpu().eval()


def _mix_seed(*numbers: int) -> int:
    return int(np.random.SeedSequence(numbers).generate_state(1)[0])

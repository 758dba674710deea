"""Checkpoints that a killed training continues from.

One file, replaced whole: tensors, numbers and strings only, so that ``torch.load`` reads it with
``weights_only=True`` and nothing in it can run.
"""

from dataclasses import dataclass, field
from pathlib import Path
from pickle import UnpicklingError
from typing import Any
from zipfile import is_zipfile

import torch
from torch import nn

from hpacells.core.errors import OutputError
from hpacells.core.storage import atomic_path

__all__ = ["Checkpoint", "read_checkpoint", "write_checkpoint"]


@dataclass(frozen=True)
class Checkpoint:
    """Where a training stands.

    Parameters
    ----------
    step
        Steps done.
    model, average, optimizer
        State dictionaries of the network, of its averaged weights, of the optimizer.
    history
        Rows of the metrics file so far.
    sums
        Running sums of the unfinished epoch, by name.
    extra
        State dictionaries of what else the training keeps, by name.
    """

    step: int
    model: dict[str, Any]
    average: dict[str, Any]
    optimizer: dict[str, Any]
    history: list[dict[str, float | int | None]] = field(default_factory=list)
    sums: dict[str, float] = field(default_factory=dict)
    extra: dict[str, dict[str, Any]] = field(default_factory=dict)

    def load_weights(
        self,
        network: nn.Module,
        average: nn.Module,
        optimizer: torch.optim.Optimizer,
        **extra: nn.Module | None,
    ) -> None:
        """Put the state into a network, its averaged weights, its optimizer and what else is kept.

        Raises
        ------
        OutputError
            When it is the state of another network, or other things were kept.
        """
        modules = {name: module for name, module in extra.items() if module is not None}
        try:
            network.load_state_dict(self.model)
            average.load_state_dict(self.average)
            optimizer.load_state_dict(self.optimizer)
            for name in self.extra.keys() | modules.keys():
                modules[name].load_state_dict(self.extra[name])
        except (RuntimeError, ValueError, KeyError) as error:
            first = next(
                (
                    f"{name} {tuple(t.shape)}"
                    for name, t in self.model.items()
                    if hasattr(t, "shape")
                ),
                "nothing",
            )
            raise OutputError(
                f"checkpoint of step {self.step}: expected the state of a {type(network).__name__} "
                f"like this recipe's, got another one's ({len(self.model)} tensors, the first "
                f"{first}). Train into another folder, or delete the checkpoint to start again."
            ) from error


def write_checkpoint(path: Path, checkpoint: Checkpoint) -> None:
    """Write atomically: after a kill there is the old one or the new one."""
    with atomic_path(path) as temporary:
        torch.save(vars(checkpoint), temporary)


def read_checkpoint(path: Path) -> Checkpoint | None:
    """Read a checkpoint, or None where there is none.

    Raises
    ------
    OutputError
        When the file is damaged.
    """
    if not path.is_file():
        return None
    damaged = f"{path}: damaged. Delete it: the training then starts again from its crops."
    if not is_zipfile(path):
        raise OutputError(damaged)
    try:
        return Checkpoint(**torch.load(path, map_location="cpu", weights_only=True))
    except (UnpicklingError, RuntimeError, TypeError) as error:
        raise OutputError(damaged) from error

"""One or several processes: who takes part in a training, and which of them writes.

Several devices are several processes that run the same program, started by ``torchrun`` or, on one
machine, by Lightning Fabric. Process 0 alone writes files, validates and reports.
"""

import math
import os
import shutil
from collections.abc import Callable
from datetime import timedelta
from typing import TypeVar

import torch
from lightning_fabric import Fabric
from lightning_fabric.strategies.ddp import DDPStrategy
from torch import Tensor, nn

from hpacells.core.errors import ConfigError
from hpacells.train.batch import StepInput
from hpacells.train.config import TrainConfig

__all__ = ["compile_network", "do_first", "open_fabric", "part_processes", "send_part"]

T = TypeVar("T")

_PATIENCE = timedelta(days=1)  # others wait while process 0 cuts cells or validates


def open_fabric(config: TrainConfig) -> Fabric:
    """Join the processes of a recipe, or start them; asked again, the same ones.

    Parameters
    ----------
    config
        Its devices, machines and precision.

    Returns
    -------
    Fabric
        Ready; ``is_global_zero`` says who writes.

    Raises
    ------
    ConfigError
        When another number of processes was started than the recipe asks for, or there are not
        as many devices.
    """
    n = config.devices * config.num_nodes
    started = int(os.environ.get("WORLD_SIZE", "1")) if "TORCHELASTIC_RUN_ID" in os.environ else n
    if started != n:
        raise ConfigError(
            f"devices: expected {n} processes (devices {config.devices} on num_nodes "
            f"{config.num_nodes}), torchrun started {started}. Give torchrun "
            f"--nproc-per-node {config.devices} --nnodes {config.num_nodes}, or change the recipe."
        )
    strategy = DDPStrategy(timeout=_PATIENCE) if n > 1 else "auto"
    try:
        fabric = Fabric(
            accelerator=config.accelerator,
            strategy=strategy,
            devices=config.devices,
            num_nodes=config.num_nodes,
            precision=config.precision,
        )
    except (RuntimeError, ValueError) as error:  # lightning's own word for a missing device
        raise ConfigError(
            f"accelerator {config.accelerator}, devices {config.devices}: cannot be used here "
            f"({error}). 'hpacells doctor' shows what this machine has."
        ) from error
    if n > 1:
        fabric.launch()
    return fabric


def do_first(fabric: Fabric, work: Callable[[], T]) -> T:
    """Let the first process alone do something, and give all processes what it returned."""
    done: T = fabric.broadcast(work() if fabric.is_global_zero else None)  # type: ignore[assignment]
    return done


def part_processes() -> None:
    """End the talk between the processes of a training, last of all.

    Torch's threads for it now and then abort a process that ends with them.
    """
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


def send_part(
    step: StepInput, part: int, *, n_parts: int, device: torch.device
) -> tuple[Tensor, Tensor]:
    """Send a part's crops and masks to a device; parts are equal, the last ones filled up."""
    size = math.ceil(len(step.crops) / n_parts)
    first = part * size
    cells = torch.arange(first, first + size).clamp_max(len(step.crops) - 1)
    taken = slice(first, first + size) if first + size <= len(step.crops) else cells
    return step.crops[taken].to(device), step.cell_masks[taken].to(device)


def compile_network(network: nn.Module) -> nn.Module:
    """Compile a network; what cannot be compiled is an error, never a slower training.

    Raises
    ------
    ConfigError
        When there is no C++ compiler.
    """
    if not any(shutil.which(name) for name in (os.environ.get("CXX", "g++"), "clang++")):
        raise ConfigError(
            "compile: expected a C++ compiler (g++ or clang++), got none. Install one, or leave "
            "compile out of the --config file."
        )
    compiled: nn.Module = torch.compile(network)  # type: ignore[assignment]
    return compiled

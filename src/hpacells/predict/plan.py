"""How a machine is used for a run: one decision, made once, printed and recorded.

A worker takes a field from its files to its part of the run folder; fields go side by side because
decoding, outlining and classifying one field leaves cores idle. Only when there are fewer fields
than cores do threads work within a field.
"""

import os
from dataclasses import dataclass

import psutil

from hpacells.core.errors import ConfigError
from hpacells.runtime.session import PRECISION, RUNTIME

__all__ = ["MEMORY_PER_FIELD", "ExecutionPlan", "plan_execution"]

MEMORY_PER_FIELD = 800 * 2**20
"""Bytes that one field in flight is reckoned with: 3072², with its working copies."""

MAX_COUNT = 256


@dataclass(frozen=True)
class ExecutionPlan:
    """How a run uses the machine; it cannot change a result.

    Parameters
    ----------
    workers
        Fields in flight at the same time.
    threads
        Cells classified at the same time within a field.
    runtime, precision
        What runs the network, and in which arithmetic.
    """

    workers: int
    threads: int
    runtime: str = RUNTIME
    precision: str = PRECISION

    def __post_init__(self) -> None:
        for name in ("workers", "threads"):
            if not 1 <= getattr(self, name) <= MAX_COUNT:
                raise ConfigError(f"--{name}: expected 1 to {MAX_COUNT}, got {getattr(self, name)}")

    def __str__(self) -> str:
        return (
            f"{self.workers} worker(s) of {self.threads} thread(s), "
            f"{self.runtime} runtime on the CPU, {self.precision}"
        )


def plan_execution(
    n_fields: int, *, workers: int | None = None, threads: int | None = None
) -> ExecutionPlan:
    """Decide on workers and threads where they are not given.

    Parameters
    ----------
    n_fields
        Fields of the run.
    workers
        None: a worker per core, no more than fields, nor than the free memory has room for.
    threads
        None: the cores that the workers leave idle, at least one each.

    Raises
    ------
    ConfigError
        When a number is below 1 or above 256.
    """
    cores = _count_cores()
    if workers is None:
        room = int(psutil.virtual_memory().available // MEMORY_PER_FIELD)
        workers = max(1, min(cores, n_fields, room))
    if threads is None:
        threads = max(1, cores // max(1, workers))
    return ExecutionPlan(workers, threads)


def _count_cores() -> int:
    """Count the cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):  # Linux; elsewhere a process may use all
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1

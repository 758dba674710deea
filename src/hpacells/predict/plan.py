"""How a machine is used for a run: one decision, made once, printed and recorded.

A worker takes a field from its files to its part of the run folder; fields go side by side because
decoding, outlining and classifying one field leaves cores idle. Only when there are fewer fields
than cores do threads work within a field.
"""

import os
from dataclasses import dataclass
from typing import Any

import psutil

from hpacells.core.errors import ConfigError
from hpacells.predict.ray_cluster import RayCluster, WorkerNeeds
from hpacells.predict.shard import Shard, ShardsHeld

__all__ = ["MEMORY_PER_FIELD", "ExecutionPlan", "count_cores", "plan_execution"]

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
    shard
        The part of the fields that is worked on; None: all.
    cluster
        Whose nodes the workers are processes of; None: threads of this process.
    """

    workers: int
    threads: int
    shard: Shard | None = None
    cluster: RayCluster | None = None

    def __post_init__(self) -> None:
        for name in ("workers", "threads"):
            if not 1 <= getattr(self, name) <= MAX_COUNT:
                raise ConfigError(f"--{name}: expected 1 to {MAX_COUNT}, got {getattr(self, name)}")

    def describe(self) -> dict[str, Any]:
        """Give what ``run.json`` says of it, JSON-ready."""
        shard = (
            {} if self.shard is None else ShardsHeld(self.shard.of, (self.shard.index,)).describe()
        )
        engine = {} if self.cluster is None else {"engine": "ray", "nodes": len(self.cluster.nodes)}
        return {"plan": {"workers": self.workers, "threads": self.threads, **engine}, **shard}

    def worker_needs(self) -> WorkerNeeds:
        """Give what a cluster sets aside for each worker: no more than its nodes have."""
        nodes = self.cluster.nodes if self.cluster else ()
        memory = [node.memory for node in nodes if node.cpus >= self.threads]
        return WorkerNeeds(self.threads, min([MEMORY_PER_FIELD, *memory]))

    def __str__(self) -> str:
        shard = "" if self.shard is None else f"shard {self.shard}, "
        where = "" if self.cluster is None else f"{self.cluster}, "
        return f"{shard}{where}{self.workers} worker(s) of {self.threads} thread(s)"


def plan_execution(
    n_fields: int,
    *,
    workers: int | None = None,
    threads: int | None = None,
    shard: Shard | None = None,
    cluster: RayCluster | None = None,
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
    shard
        The part of the fields that this process works on; None: all.
    cluster
        Where the work is done: by workers of one thread, as many as its nodes have room for;
        None: here.

    Raises
    ------
    ConfigError
        When a number is below 1 or above 256, or no node has as many CPUs as a worker has threads.
    """
    if cluster is not None:
        threads = 1 if threads is None else threads
        if workers is None:
            workers = max(1, min(_count_room(cluster, threads), n_fields, MAX_COUNT))
        return ExecutionPlan(workers, threads, shard=shard, cluster=cluster)
    cores = count_cores()
    if workers is None:
        room = int(psutil.virtual_memory().available // MEMORY_PER_FIELD)
        workers = max(1, min(cores, n_fields, room))
    if threads is None:
        threads = max(1, cores // max(1, workers))
    return ExecutionPlan(workers, threads, shard=shard)


def _count_room(cluster: RayCluster, threads: int) -> int:
    """Count the workers that a cluster's nodes have room for, at least one on each."""
    fit = [node for node in cluster.nodes if node.cpus >= threads > 0]
    if not fit:
        largest = max((node.cpus for node in cluster.nodes), default=0)
        raise ConfigError(
            f"--threads: expected at most the {largest} CPU(s) of the largest node of {cluster}, "
            f"got {threads}."
        )
    return sum(max(1, min(node.cpus // threads, node.memory // MEMORY_PER_FIELD)) for node in fit)


def count_cores() -> int:
    """Count the cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):  # Linux; elsewhere a process may use all
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1

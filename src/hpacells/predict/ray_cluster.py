"""Work on many items by the processes of a Ray cluster, on Ray Data.

What enters is a function that prepares a worker and the items, what leaves is each item with its
result, as they finish. Each worker is an actor that is prepared once; Ray Data hands it a few items
at a time (back-pressure) and gives those of a dead worker or node to another. So an item may be
worked on twice: the work must come to the same then, and cost nothing where it was done.

Not covered: workers of a run that was interrupted end shortly after it, not before it.
"""

import logging
import os
import pickle
import socket
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit

from hpacells.core.errors import ConfigError, HpacellsError, MissingExtraError

if TYPE_CHECKING:
    import ray.data

__all__ = ["NodeRoom", "RayCluster", "WorkerNeeds", "connected_cluster", "over_cluster"]

Item = TypeVar("Item")
Result = TypeVar("Result")

_REACH_S = 5.0
_MAX_BLOCKS = 10_000
_TASKS_PER_WORKER = 2
"""Blocks of items that wait at a worker or are worked on."""


_ENVIRONMENT = {
    "RAY_USAGE_STATS_ENABLED": "0",  # nothing is sent anywhere
    "RAY_BACKEND_LOG_LEVEL": "fatal",
    "RAY_raylet_start_wait_time_s": "180",  # a busy machine is slow to start
}


@dataclass(frozen=True)
class NodeRoom:
    """What a node of a cluster offers: CPUs, and bytes of memory."""

    cpus: int
    memory: int


@dataclass(frozen=True)
class RayCluster:
    """A cluster that this process is connected to.

    Parameters
    ----------
    address
        As it was asked for; ``local`` for one on this machine that ends with the process.
    nodes
        What there was when the connection was made.
    """

    address: str
    nodes: tuple[NodeRoom, ...]

    def __str__(self) -> str:
        cpus = sum(node.cpus for node in self.nodes)
        return f"Ray cluster {self.address} of {len(self.nodes)} node(s), {cpus} CPU(s)"


@dataclass(frozen=True)
class WorkerNeeds:
    """What Ray sets aside for each worker: CPUs, and bytes of memory."""

    cpus: int
    memory: int


@contextmanager
def connected_cluster(address: str | None, *, cores: int) -> Iterator[RayCluster]:
    """Connect to a Ray cluster while the block runs.

    Parameters
    ----------
    address
        ``host:port`` of its head, ``auto`` for the one this machine is part of; None: what
        ``RAY_ADDRESS`` says, else a cluster on this machine alone, for this process.
    cores
        CPUs of that last one.

    Raises
    ------
    MissingExtraError
        When Ray is not installed.
    ConfigError
        When there is no cluster at the address.
    """
    if find_spec("ray") is None:
        raise MissingExtraError(
            "--engine ray: expected the package ray, it is not installed. In the repository: "
            "pip install -c constraints.txt '.[ray]', or take --engine local."
        )
    address = address or os.environ.get("RAY_ADDRESS") or "local"
    _check_reachable(address)
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    import ray.data  # an extra, and slow to import  # noqa: PLC0415

    _quieten(ray.data.DataContext.get_current())
    options: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    if address == "local":
        options |= {"num_cpus": cores, "include_dashboard": False}
    try:
        ray.init(address, **options)
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise ConfigError(f"--address {address}: {_explain(error)}") from error
    try:
        offers = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        nodes = [NodeRoom(int(o.get("CPU", 0)), int(o.get("memory", 0))) for o in offers]
        yield RayCluster(address, tuple(nodes))
    finally:
        ray.shutdown()


def over_cluster(
    open_work: Callable[[], Callable[[Item], Result]],
    items: Sequence[Item],
    *,
    workers: int,
    needs: WorkerNeeds,
) -> Generator[tuple[Item, Result]]:
    """Give each item with its result, worked out by actors of the connected cluster.

    Parameters
    ----------
    open_work
        Called once by each worker, gives what is called once per item. It, the items and the
        results are pickled.
    items
        In the order in which they are begun.
    workers
        Actors; fewer while the cluster has no room for all.
    needs
        Of each.

    Yields
    ------
    tuple
        Item and result. What an item's work raised is raised here.
    """
    import ray.data  # see above  # noqa: PLC0415

    rows = [{"index": i, "item": pickle.dumps(item)} for i, item in enumerate(items)]
    done = ray.data.from_items(rows, override_num_blocks=min(len(rows), _MAX_BLOCKS)).map(
        _Worker,
        fn_constructor_args=(open_work,),
        compute=ray.data.ActorPoolStrategy(
            size=min(workers, len(rows)), max_tasks_in_flight_per_actor=_TASKS_PER_WORKER
        ),
        num_cpus=needs.cpus,
        memory=needs.memory,
    )
    for index, result in _iterate(done):
        yield items[index], result


class _Worker:
    """One actor; what it needs is opened with its first item, so that errors come as an item's."""

    def __init__(self, open_work: Callable[[], Callable[[Any], Any]]) -> None:
        self._open = open_work
        self._work: Callable[[Any], Any] | None = None

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        result, error = None, None
        try:
            if self._work is None:
                self._work = self._open()
            result = self._work(pickle.loads(row["item"]))  # noqa: S301  what the driver pickled
        except (HpacellsError, OSError) as told:  # Ray would wrap it, and lose what it was
            error = told
        return {"index": row["index"], "result": pickle.dumps((result, error))}


def _iterate(done: "ray.data.Dataset") -> Iterator[tuple[int, Any]]:
    """Give (index, result) as blocks come; what a worker raised, as itself."""
    for batch in done.iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=0):
        for row in batch.to_pylist():
            result, error = pickle.loads(row["result"])  # noqa: S301  what our worker pickled
            if error is not None:
                raise error
            yield row["index"], result


def _quieten(context: "ray.data.DataContext") -> None:
    """Leave the terminal to this command's own progress and errors; Ray's logs stay in files."""
    logging.getLogger("ray.data").setLevel(logging.CRITICAL)
    context.enable_progress_bars = False
    context.issue_detectors_config.detectors = []


def _check_reachable(address: str) -> None:
    """Ask for the port of ``host:port`` before Ray does, which would ask for half a minute."""
    if address in {"auto", "local"}:
        return
    try:
        parts = urlsplit(address if "//" in address else f"//{address}")
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port = None, None
    if host is None or port is None:
        raise ConfigError(f"--address: expected host:port or auto, got {address!r}.")
    try:
        socket.create_connection((host, port), timeout=_REACH_S).close()
    except OSError as error:
        raise ConfigError(
            f"--address {address}: nothing answers there ({error}). Is the Ray cluster up ('ray "
            "status' on its head), and its port open to this machine?"
        ) from error


def _explain(error: Exception) -> str:
    words = " ".join(str(error).split())
    return (
        f"no Ray cluster that can be used ({words[:300]}). Start one with 'ray start --head', or "
        "leave --address out for one on this machine."
    )

"""Cells through a network on ONNX Runtime, on a CPU; and what every runtime's session keeps to.

Every cell is one call of the graph, and the graph runs each call on one thread; ``threads`` calls
run side by side. So neither the cells beside it nor the number of threads can change a cell's
result, bit for bit, whatever order the runtime sums in. On fields of about 20 cells this is no
slower than batches of eight: a batch is 7 % faster per cell, and on average a sixth of it is
padding.

Not here: GPUs, reduced precision (``model.torch_session``).
"""

from concurrent.futures import ThreadPoolExecutor
from typing import Literal, Protocol

import numpy as np
import numpy.typing as npt
import onnxruntime as ort

from hpacells.core.channels import CHANNELS
from hpacells.core.errors import ModelError
from hpacells.core.locations import N_LOCATIONS
from hpacells.runtime.graph import open_graph
from hpacells.runtime.model_folder import ModelFolder

__all__ = [
    "CellSession",
    "Device",
    "Precision",
    "Session",
    "check_answers",
    "check_cells",
    "open_session",
]

Device = Literal["cpu", "cuda"]
"""Where a network runs."""

Precision = Literal["float32", "bfloat16"]
"""Of its arithmetic."""

_INPUTS = ("crops", "cell_mask")
_OUTPUTS = ("logits", "embedding")


class CellSession(Protocol):
    """A network ready to run, whatever runs it. May be used from several threads."""

    model: ModelFolder

    def run(
        self, crops: npt.NDArray[np.uint8], cell_mask: npt.NDArray[np.bool_] | npt.NDArray[np.uint8]
    ) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        """Classify cells, as ``Session.run`` does."""
        ...


class Session:
    """A network ready to run; made by ``open_session``. May be used from several threads."""

    def __init__(self, model: ModelFolder, graph: ort.InferenceSession, *, threads: int) -> None:
        self.model = model
        self._graph = graph
        self._pool = ThreadPoolExecutor(threads, "classify") if threads > 1 else None

    def run(
        self, crops: npt.NDArray[np.uint8], cell_mask: npt.NDArray[np.bool_] | npt.NDArray[np.uint8]
    ) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        """Classify cells.

        Parameters
        ----------
        crops
            ``(N, 4, S, S)`` uint8 in the order of ``CHANNELS``, 8-bit scale; N may be 0.
        cell_mask
            ``(N, S, S)`` 0/1: inside the cell.

        Returns
        -------
        logits
            ``(N, K)`` float32, uncalibrated.
        embedding
            ``(N, D)`` float32.

        Raises
        ------
        ModelError
            When shapes or dtypes are not the model's, or the network gives NaN or infinity.
        """
        masks = check_cells(self.model, crops, cell_mask)
        n = len(crops)
        logits = np.zeros((n, N_LOCATIONS), np.float32)
        embedding = np.zeros((n, self.model.spec.embedding_size), np.float32)

        def classify(i: int) -> None:
            feed = {"crops": crops[i : i + 1], "cell_mask": masks[i : i + 1]}
            logits[i : i + 1], embedding[i : i + 1] = self._graph.run(_OUTPUTS, feed)

        for _ in (self._pool.map if self._pool else map)(classify, range(n)):
            pass
        check_answers(self.model, logits, embedding)
        return logits, embedding


def check_cells(
    model: ModelFolder,
    crops: npt.NDArray[np.uint8],
    cell_mask: npt.NDArray[np.bool_] | npt.NDArray[np.uint8],
) -> npt.NDArray[np.uint8]:
    """Refuse cells that are not the model's (ModelError); give their masks as uint8."""
    side = model.spec.crop_px
    n = crops.shape[0] if crops.ndim else 0
    expected = ((n, len(CHANNELS), side, side), (n, side, side))
    if (crops.shape, cell_mask.shape) != expected or crops.dtype != np.uint8:
        raise ModelError(
            f"model {model.model_id}: expected uint8 crops {expected[0]} and masks {expected[1]}, "
            f"got {crops.dtype} {crops.shape} and {cell_mask.shape}. "
            "Make the crops for this model: 'hpacells crop --model'."
        )
    return cell_mask.astype(np.uint8, copy=False)


def check_answers(
    model: ModelFolder, logits: npt.NDArray[np.float32], embedding: npt.NDArray[np.float32]
) -> None:
    """Refuse NaN and infinity (ModelError)."""
    if not (np.isfinite(logits).all() and np.isfinite(embedding).all()):
        raise ModelError(
            f"model {model.model_id}: its network gives NaN or infinity. The weights may be "
            "damaged: train or fetch the model again."
        )


def open_session(model: ModelFolder, *, threads: int = 1) -> Session:
    """Open a model's graph.

    Parameters
    ----------
    threads
        Cells classified at the same time within one call of ``run``.

    Raises
    ------
    ModelError
        When the graph cannot be loaded, or its inputs and outputs are not the contract's.
    """
    graph = open_graph(model.graph_path, input_sizes="equal")
    _check_signature(model, graph)
    return Session(model, graph, threads=threads)


def _check_signature(model: ModelFolder, graph: ort.InferenceSession) -> None:
    side, channels = model.spec.crop_px, len(CHANNELS)
    tails = {
        "crops": (channels, side, side),
        "cell_mask": (side, side),
        "logits": (N_LOCATIONS,),
        "embedding": (model.spec.embedding_size,),
    }
    nodes = {node.name: tuple(node.shape) for node in (*graph.get_inputs(), *graph.get_outputs())}
    if sorted(nodes) != sorted(tails):
        raise ModelError(
            f"{model.graph_path}: expected {', '.join(tails)}, got {', '.join(nodes)}. "
            "Export the model again."
        )
    for name, tail in tails.items():
        batch, *sides = nodes[name]
        # a name or None is a side that the graph leaves open
        fits = len(sides) == len(tail) and all(
            got == want or not isinstance(got, int)
            for got, want in zip((batch, *sides), (1, *tail), strict=True)
        )
        if not fits:
            raise ModelError(
                f"{model.graph_path}: expected {name} of shape (N, {', '.join(map(str, tail))}), "
                f"got {nodes[name]}. Export the model again."
            )

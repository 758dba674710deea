"""A segmentation network on ONNX Runtime, on a CPU; and what every runtime's session keeps to.

One thread a call: the result then doesn't depend on the machine's cores, and fields are worked on
side by side by processes, not inside the graph.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt
import onnxruntime as ort

from hpacells.core.errors import ModelError
from hpacells.runtime.graph import open_graph
from hpacells.runtime.segmenter_folder import MAP_STAINS, MAPS, SIDE_MULTIPLE, SegmenterFolder

__all__ = [
    "MapSession",
    "OpenSegmenter",
    "SegmenterSession",
    "check_maps",
    "check_stains",
    "open_segmenter",
]


class MapSession(Protocol):
    """A network ready to run, whatever runs it. May be used from several threads."""

    def run(
        self, stains: npt.NDArray[np.float32], present: npt.NDArray[np.bool_]
    ) -> npt.NDArray[np.float32]:
        """Compute the maps of one image, as ``SegmenterSession.run`` does."""
        ...


OpenSegmenter = Callable[[SegmenterFolder], MapSession]
"""Opens a segmenter's network on some runtime."""


class SegmenterSession:
    """A network ready to run; made by ``open_segmenter``. May be used from several threads."""

    def __init__(self, path: Path, graph: ort.InferenceSession) -> None:
        self._path = path
        self._graph = graph

    def run(
        self, stains: npt.NDArray[np.float32], present: npt.NDArray[np.bool_]
    ) -> npt.NDArray[np.float32]:
        """Compute the maps of one image.

        Parameters
        ----------
        stains
            ``(3, H, W)`` float32, normalised; sides are multiples of ``SIDE_MULTIPLE``.
        present
            ``(3,)`` bool: false where a stain is missing; its values are then not looked at.

        Returns
        -------
        ndarray
            ``(4, H, W)`` float32 in [0, 1], in the order of ``MAPS``.

        Raises
        ------
        ModelError
            When the sizes are not the network's, or it gives NaN.
        """
        check_stains(self._path, stains, present)
        feed = {
            "stains": stains[None].astype(np.float32, copy=False),
            "present": present[None].astype(np.float32),
        }
        maps: npt.NDArray[np.float32] = self._graph.run(["maps"], feed)[0][0]
        check_maps(self._path, maps)
        return maps


def check_stains(
    path: Path, stains: npt.NDArray[np.float32], present: npt.NDArray[np.bool_]
) -> None:
    """Refuse sizes that are not the network's (ModelError)."""
    n_stains = len(MAP_STAINS)
    sides = stains.shape[1:]
    fits = stains.ndim == 3 and stains.shape[0] == n_stains and present.shape == (n_stains,)
    if not fits or any(side == 0 or side % SIDE_MULTIPLE for side in sides):
        raise ModelError(
            f"{path}: expected stains ({n_stains}, H, W) with sides in multiples of "
            f"{SIDE_MULTIPLE} and {n_stains} flags, got {stains.shape} and {present.shape}"
        )


def check_maps(path: Path, maps: npt.NDArray[np.float32]) -> None:
    """Refuse NaN (ModelError)."""
    if not np.isfinite(maps).all():
        raise ModelError(f"{path}: the network gives NaN. Train or fetch it again.")


def open_segmenter(folder: SegmenterFolder) -> SegmenterSession:
    """Open a segmenter's graph.

    Raises
    ------
    ModelError
        When the graph cannot be loaded, or its inputs and outputs are not the contract's.
    """
    path = folder.graph_path
    graph = open_graph(path, input_sizes="differ")
    sides = {node.name: tuple(node.shape)[1:2] for node in graph.get_inputs()}
    sides |= {node.name: tuple(node.shape)[1:2] for node in graph.get_outputs()}
    wanted = {"stains": (len(MAP_STAINS),), "present": (len(MAP_STAINS),), "maps": (len(MAPS),)}
    if sides != wanted:
        raise ModelError(f"{path}: expected {wanted}, got {sides}. Export it again.")
    return SegmenterSession(path, graph)

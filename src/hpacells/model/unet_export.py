"""A trained ``CellUnet`` to a segmenter folder: safetensors, ONNX graph, ``segmenter.json``."""

import copy
import warnings
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save
from torch import Tensor

from hpacells.core.errors import ModelError
from hpacells.core.storage import atomic_path
from hpacells.model.export import strip_notes
from hpacells.model.unet import CellUnet, MapProbabilities
from hpacells.runtime.segmenter_folder import (
    MAP_STAINS,
    SEGMENTER_GRAPH,
    SEGMENTER_WEIGHTS,
    SIDE_MULTIPLE,
    SegmenterFolder,
    SegmenterSpec,
    load_segmenter,
    write_segmenter_spec,
)
from hpacells.runtime.segmenter_session import open_segmenter

__all__ = ["export_unet", "load_unet"]

_TOLERANCE = 1e-4
_OPSET = 20


def export_unet(network: CellUnet, spec: SegmenterSpec, folder: Path) -> SegmenterSpec:
    """Write a segmenter folder; ``segmenter.json`` last.

    Parameters
    ----------
    network
        Trained; it is copied, not changed.
    spec
        What ``segmenter.json`` says; architecture and file hashes are filled in.
    folder
        Made when missing.

    Returns
    -------
    SegmenterSpec
        As written.

    Raises
    ------
    ModelError
        When the exported graph does not compute what the network computes, to 1e-4.
    """
    folder.mkdir(parents=True, exist_ok=True)
    network = copy.deepcopy(network).cpu().eval()
    with atomic_path(folder / SEGMENTER_WEIGHTS) as temporary:
        state = {name: tensor.contiguous() for name, tensor in network.state_dict().items()}
        temporary.write_bytes(save(state))
    model = MapProbabilities(network).eval()
    with atomic_path(folder / SEGMENTER_GRAPH) as temporary:
        _write_graph(model, temporary)
        strip_notes(temporary)
    architecture = {"widths": list(network.widths)}
    _check_graph(SegmenterFolder(folder, spec), model)
    return write_segmenter_spec(folder, spec.model_copy(update={"architecture": architecture}))


def load_unet(folder: Path) -> tuple[CellUnet, SegmenterSpec]:
    """Read a segmenter folder back into a network, in evaluation mode.

    Raises
    ------
    ModelError
        When the folder is not a whole segmenter folder, or holds no weights.
    """
    found = load_segmenter(folder)
    if SEGMENTER_WEIGHTS not in found.spec.files:
        raise ModelError(f"{folder}: holds no {SEGMENTER_WEIGHTS}. Use a folder with its weights.")
    network = CellUnet(**found.spec.architecture)
    network.load_state_dict(load_file(folder / SEGMENTER_WEIGHTS))
    return network.eval(), found.spec


def _example(rows: int, columns: int) -> tuple[Tensor, Tensor]:
    rng = np.random.default_rng(0)
    stains = rng.random((1, len(MAP_STAINS), rows, columns), dtype=np.float32)
    return torch.from_numpy(stains), torch.ones(1, len(MAP_STAINS))


def _write_graph(model: MapProbabilities, path: Path) -> None:
    sides = {axis: SIDE_MULTIPLE * torch.export.Dim(f"tiles{axis}", min=1) for axis in (2, 3)}
    with warnings.catch_warnings():
        # the exporter's own use of deprecated interfaces; nothing the user can change
        warnings.simplefilter("ignore", DeprecationWarning)
        warnings.simplefilter("ignore", FutureWarning)
        torch.onnx.export(
            model,
            _example(4 * SIDE_MULTIPLE, 6 * SIDE_MULTIPLE),
            path,
            input_names=["stains", "present"],
            output_names=["maps"],
            dynamic_shapes=(sides, None),
            opset_version=_OPSET,
            dynamo=True,
            external_data=False,
            verbose=False,
        )


def _check_graph(folder: SegmenterFolder, model: MapProbabilities) -> None:
    """Compare graph and network on two sizes, with and without a stain."""
    session = open_segmenter(folder)
    for sides, missing in (((1, 3), None), ((5, 2), 1)):
        stains, present = _example(*(SIDE_MULTIPLE * side for side in sides))
        if missing is not None:
            present[:, missing] = 0.0
        with torch.no_grad():
            expected = model(stains, present)[0].numpy()
        got = session.run(stains[0].numpy(), present[0].numpy() > 0)
        gap = float(np.abs(expected - got).max())
        if not gap <= _TOLERANCE:
            raise ModelError(
                f"exported graph: maps differ from the network's by {gap:.2g}, expected at most "
                f"{_TOLERANCE}. Train in float32."
            )

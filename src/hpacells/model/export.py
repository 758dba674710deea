"""A trained classifier to a model folder: safetensors, ONNX graph, ``model.json``.

The graph is made once and checked against the network it came from. Weight standardisation of
NFNets (recomputed from the weights at every call) is folded into plain convolutions first; layers
of SubCell are put in the form that runs fastest (``model.subcell_graph``).
"""

import copy
import warnings
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import onnx
import onnxruntime
import torch
from safetensors.torch import load_file, save
from torch import Tensor, nn

from hpacells.core.channels import CHANNELS
from hpacells.core.errors import ModelError
from hpacells.core.storage import atomic_path
from hpacells.model.network import CellClassifier
from hpacells.model.pretrained import load_strictly
from hpacells.model.subcell_graph import fuse_layers
from hpacells.model.timm_parts import ScaledStdConv2d, ScaledStdConv2dSame
from hpacells.runtime.model_folder import (
    GRAPH_FILE,
    WEIGHTS_FILE,
    ModelSpec,
    load_model,
    write_model_spec,
)

__all__ = [
    "ExportableClassifier",
    "build_classifier",
    "export_model",
    "fold_weight_standardisation",
    "load_classifier",
    "strip_notes",
    "write_graph",
]

_TOLERANCE = 1e-4
_OPSET = 20
_STANDARDISED = (ScaledStdConv2d, ScaledStdConv2dSame)


class ExportableClassifier(Protocol):
    """A network of one answer per crop; a torch module."""

    crop_px: int
    input: Any
    """What prepares the crops; its ``words`` say how."""

    def __call__(self, crops: Tensor, cell_mask: Tensor) -> tuple[Tensor, Tensor]:
        """Give logits and embeddings."""
        ...


def build_classifier(spec: ModelSpec) -> CellClassifier:
    """Build the network of a ``model.json`` with random weights, in training mode."""
    return CellClassifier(
        spec.architecture.backbone,
        crop_px=spec.crop_px,
        embedding_size=spec.embedding_size,
        outside=spec.outside,
        **spec.architecture.kwargs,
    )


def load_classifier(folder: Path) -> tuple[CellClassifier, ModelSpec]:
    """Read a model folder back into a network, in evaluation mode.

    Raises
    ------
    ModelError
        When the folder is not a whole model folder, holds no weights, or those of another
        architecture.
    """
    found = load_model(folder)
    if found.weights_path is None:
        raise ModelError(f"{folder}: holds no {WEIGHTS_FILE}. Use a folder with its weights.")
    model = build_classifier(found.spec)
    load_strictly(model, load_file(found.weights_path), found.weights_path)
    return model.eval(), found.spec


def export_model(model: ExportableClassifier, spec: ModelSpec, folder: Path) -> ModelSpec:
    """Write a model folder; ``model.json`` last.

    Parameters
    ----------
    model
        Trained; it is copied, not changed.
    spec
        What ``model.json`` says; its normalisation, the network's own, and the files' hashes are
        filled in.
    folder
        Made when missing.

    Returns
    -------
    ModelSpec
        As written.

    Raises
    ------
    ModelError
        When the exported graph does not compute what the network computes (to 1e-4 of
        the largest value, or of 1).
    """
    folder.mkdir(parents=True, exist_ok=True)
    network: Any = copy.deepcopy(model)
    network = network.cpu().eval()
    with atomic_path(folder / WEIGHTS_FILE) as temporary:
        state = {name: tensor.contiguous() for name, tensor in network.state_dict().items()}
        temporary.write_bytes(save(state))
    with atomic_path(folder / GRAPH_FILE) as temporary:
        _write_graph(fuse_layers(fold_weight_standardisation(network)), temporary)
        strip_notes(temporary)
        _check_graph(temporary, network)
    return write_model_spec(folder, spec.model_copy(update={"normalisation": network.input.words}))


def fold_weight_standardisation(model: CellClassifier) -> CellClassifier:
    """Replace weight-standardised convolutions by plain ones that compute the same.

    Parameters
    ----------
    model
        Left as it is.

    Returns
    -------
    CellClassifier
        A copy.
    """
    model = copy.deepcopy(model)
    for parent in list(model.modules()):
        for name, child in list(parent.named_children()):
            padded_by_itself = isinstance(child, ScaledStdConv2dSame) and child.same_pad
            if isinstance(child, _STANDARDISED) and not padded_by_itself:
                setattr(parent, name, _plain_convolution(child))
    return model


def _plain_convolution(conv: Any) -> nn.Conv2d:
    plain = nn.Conv2d(
        conv.in_channels,
        conv.out_channels,
        conv.kernel_size,
        stride=conv.stride,
        padding=conv.padding,
        dilation=conv.dilation,
        groups=conv.groups,
        bias=conv.bias is not None,
    )
    with torch.no_grad():
        plain.weight.copy_(_standardised(conv))
        if plain.bias is not None:
            plain.bias.copy_(conv.bias)
    return plain.train(conv.training)


def _standardised(conv: Any) -> Tensor:
    """Compute the weights that the convolution really uses: (w - mean) / std · gain · scale."""
    weight = conv.weight.double()
    variance, mean = torch.var_mean(weight, dim=(1, 2, 3), keepdim=True, correction=0)
    gain = conv.gain.double() * conv.scale
    return ((weight - mean) * torch.rsqrt(variance + conv.eps) * gain).float()


def _example(side: int, n: int) -> tuple[Tensor, Tensor]:
    rng = np.random.default_rng(0)
    crops = rng.integers(0, 256, (n, len(CHANNELS), side, side), dtype=np.uint8)
    cell_mask = (rng.random((n, side, side)) < 0.6).astype(np.uint8)
    return torch.from_numpy(crops), torch.from_numpy(cell_mask)


def _write_graph(model: Any, path: Path) -> None:
    write_graph(
        model,
        _example(model.crop_px, 2),
        path,
        inputs=["crops", "cell_mask"],
        outputs=["logits", "embedding"],
    )


def write_graph(
    network: nn.Module,
    example: tuple[Tensor, ...],
    path: Path,
    *,
    inputs: list[str],
    outputs: list[str],
) -> None:
    """Write a network as an ONNX graph for any number of cells.

    Parameters
    ----------
    network
        In evaluation mode.
    example
        Its arguments, for two cells; all but the first axis keep their sizes.
    path
        The ONNX file.
    inputs, outputs
        Their names in the graph.
    """
    batch = ({0: torch.export.Dim("cells", min=1)}, *({0: torch.export.Dim.AUTO},) * len(example))
    with warnings.catch_warnings():
        # the exporter's own use of deprecated interfaces; nothing the user can change
        warnings.simplefilter("ignore", DeprecationWarning)
        warnings.simplefilter("ignore", FutureWarning)
        torch.onnx.export(
            network,
            example,
            path,
            input_names=inputs,
            output_names=outputs,
            dynamic_shapes=batch[: len(example)],
            opset_version=_OPSET,
            dynamo=True,
            external_data=False,
            verbose=False,
        )


def strip_notes(path: Path) -> None:
    """Remove what the exporter notes on every node: source files of the machine it ran on."""
    content = onnx.load_model(path)
    _clear_notes(content)
    for part in (content.graph, *content.functions):
        for item in (part, *part.node, *part.value_info):
            _clear_notes(item)
    for item in (*content.graph.input, *content.graph.output, *content.graph.initializer):
        _clear_notes(item)
    onnx.save_model(content, path)


def _clear_notes(item: Any) -> None:
    item.ClearField("doc_string")
    item.ClearField("metadata_props")


def _check_graph(path: Path, model: CellClassifier) -> None:
    """Compare graph and network on batches of one and of five."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(
        path.read_bytes(), options, providers=["CPUExecutionProvider"]
    )
    for n in (1, 5):
        crops, cell_mask = _example(model.crop_px, n)
        with torch.no_grad():
            expected = model(crops, cell_mask)
        feed = {"crops": crops.numpy(), "cell_mask": cell_mask.numpy()}
        got = session.run(["logits", "embedding"], feed)
        for name, left, right in zip(("logits", "embedding"), expected, got, strict=True):
            gap = float(np.abs(left.numpy() - right).max())
            if not gap <= _TOLERANCE * max(1.0, float(left.abs().max())):
                raise ModelError(
                    f"exported graph: {name} differ from the network's by {gap:.2g}, expected at "
                    f"most {_TOLERANCE}. Train in float32, or choose another backbone."
                )

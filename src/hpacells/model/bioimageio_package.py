"""A classifier of single cells in bioimage.io's format as a model folder.

The package is a ZIP file, or its description (``rdf.yaml``) and its weights; formats 0.3 to 0.5
are known. Only ONNX weights are taken: a graph of known operators, nothing that is run on being
opened. Before the graph stands what such a classifier is given: of the cell's bounding box, black
outside the cell, the stains red, green, blue, yellow, resized without keeping its aspect.
"""

import hashlib
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch
import yaml
from google.protobuf.message import DecodeError
from onnx import TensorProto, compose, helper, numpy_helper, version_converter
from torch import Tensor, nn

from hpacells.core.channels import CHANNELS
from hpacells.core.errors import ModelError
from hpacells.core.locations import N_LOCATIONS
from hpacells.core.storage import atomic_path
from hpacells.model.export import strip_notes, write_graph
from hpacells.runtime.graph import LOAD_ERRORS
from hpacells.runtime.model_folder import GRAPH_FILE, ModelSpec, write_model_spec

__all__ = ["CellBox", "convert_bioimageio"]

_DESCRIPTION = "rdf.yaml"
_KNOWN_FORMATS = ("0.3", "0.4", "0.5")
_MAX_BYTES = 10_000_000_000
"""More than any package; ``ZipFile`` reads no more than the sizes that it is told."""
_OPSET = 20


class CellBox(nn.Module):
    """The cell's bounding box, black outside the cell, resized to a square.

    Parameters
    ----------
    side
        Of the square, in pixels.
    gain, offset
        Applied to the grey values (0-255): ``grey * gain + offset``.

    Notes
    -----
    Pixel centres are those of ``cv2.resize`` with linear interpolation: the first and last pixel's
    outer edges meet the box's, and nothing outside of the box is looked at.
    """

    words = (
        "the cell's bounding box, black outside the cell, resized to a square without keeping its "
        "aspect; grey values 0-255 times the gain, plus the offset that the package states"
    )

    def __init__(self, side: int, *, gain: float = 1.0, offset: float = 0.0) -> None:
        super().__init__()
        self.side, self.gain, self.offset = side, gain, offset

    def forward(self, crops: Tensor, cell_mask: Tensor) -> Tensor:
        """Give ``(N, C, side, side)`` float32 of crops ``(N, C, S, S)``, masks ``(N, S, S)``."""
        mask = (cell_mask > 0).float()
        grey = crops.float() * mask.unsqueeze(1)
        rows = _places(mask.amax(dim=2), self.side)  # (N, side), in pixels of the crop
        columns = _places(mask.amax(dim=1), self.side)
        scale = 2.0 / crops.shape[-1]  # grid_sample counts from -1 to 1, edge to edge
        y = ((rows + 0.5) * scale - 1.0).unsqueeze(2).expand(-1, -1, self.side)
        x = ((columns + 0.5) * scale - 1.0).unsqueeze(1).expand(-1, self.side, -1)
        box = nn.functional.grid_sample(
            grey, torch.stack([x, y], dim=-1), padding_mode="border", align_corners=False
        )
        return box * self.gain + self.offset


def _places(seen: Tensor, side: int) -> Tensor:
    """Say where along an axis ``(N, S)`` the square's pixels lie within what is seen of the cell.

    An empty mask takes the whole axis.
    """
    n = seen.shape[1]
    at = torch.arange(n, dtype=torch.float32)
    empty = seen.amax(dim=1, keepdim=True) == 0
    seen = torch.where(empty, torch.ones_like(seen), seen)
    first = torch.where(seen > 0, at, float(n)).amin(dim=1, keepdim=True)
    last = torch.where(seen > 0, at, -1.0).amax(dim=1, keepdim=True)
    steps = (torch.arange(side, dtype=torch.float32) + 0.5) / side
    places = first + steps * (last + 1 - first) - 0.5
    return torch.minimum(torch.maximum(places, first), last)


def convert_bioimageio(
    spec: ModelSpec,
    files: Mapping[str, Path],
    folder: Path,
    *,
    tell: Callable[[str], None],
) -> ModelSpec:
    """Make a model folder of a package.

    Parameters
    ----------
    spec
        What ``model.json`` says beside what the package decides: licence, embedding, normalisation.
    files
        By name: one ZIP file, or the description and the weights.
    folder
        Where it is written, ``model.json`` last.
    tell
        Told the licence that the package states.

    Raises
    ------
    ModelError
        When the package is damaged, of a format that is not known, no classifier of single cells
        in the project's locations, or without ONNX weights.
    """
    where = f"model {spec.name}"
    content = _read_package(files, where)
    description = _read_description(content, where)
    licence = str(description.get("license") or spec.licence)
    tell(f"{spec.name}: its description states the licence {licence}.")
    box = CellBox(_input_side(description, where), **_read_scaling(description, where))
    network = _read_weights(description, content, where)
    graph = _join(box, network, spec.crop_px, where, probabilities=_are_probabilities(description))
    folder.mkdir(parents=True, exist_ok=True)
    with atomic_path(folder / GRAPH_FILE) as temporary:
        onnx.save_model(graph, temporary)
    width = graph.graph.output[1].type.tensor_type.shape.dim[1].dim_value
    return write_model_spec(
        folder,
        spec.model_copy(
            update={
                "licence": licence,
                "embedding_size": width,
                "normalisation": f"{box.words}: gain {box.gain:g}, offset {box.offset:g}",
            }
        ),
    )


def _read_package(files: Mapping[str, Path], where: str) -> dict[str, bytes]:
    """Give the files of a package by name; nothing is unpacked to a place that it names."""
    archives = [path for name, path in files.items() if name.endswith(".zip")]
    if not archives:
        return {name: path.read_bytes() for name, path in files.items()}
    try:
        with zipfile.ZipFile(archives[0]) as opened:
            fits = sum(member.file_size for member in opened.infolist()) <= _MAX_BYTES
            content = {name: opened.read(name) for name in opened.namelist() if fits}
    except (zipfile.BadZipFile, EOFError, RuntimeError) as error:
        raise ModelError(
            f"{where}: {archives[0]}: expected a bioimage.io package (ZIP), it cannot be read "
            f"({error}). Fetch it again."
        ) from error
    if not fits:
        raise ModelError(f"{where}: {archives[0]}: unpacks to more than {_MAX_BYTES} bytes.")
    return content


def _read_description(content: Mapping[str, bytes], where: str) -> dict[str, Any]:
    if _DESCRIPTION not in content:
        raise ModelError(
            f"{where}: expected {_DESCRIPTION} in the package, got {', '.join(sorted(content))}. "
            "Export it as a bioimage.io package."
        )
    try:
        description = yaml.safe_load(content[_DESCRIPTION])
    except yaml.YAMLError as error:
        raise ModelError(
            f"{where}: {_DESCRIPTION} is not YAML ({error}). Fetch it again."
        ) from error
    version = str(description.get("format_version")) if isinstance(description, dict) else "none"
    if not version.startswith(tuple(f"{known}." for known in _KNOWN_FORMATS)):
        raise ModelError(
            f"{where}: expected a description of bioimage.io's format {', '.join(_KNOWN_FORMATS)}, "
            f"got {version}. It needs a newer version of hpacells, or an older one of the package."
        )
    return dict(description)


def _input_side(description: Mapping[str, Any], where: str) -> int:
    """Read the side of the square that the network takes: ``(N, 4, side, side)``."""
    inputs = description.get("inputs") or [{}]
    axes, shape = inputs[0].get("axes"), inputs[0].get("shape")
    if isinstance(axes, list):  # format 0.5 gives each axis an entry
        shape = [
            len(axis["channel_names"]) if "channel_names" in axis else axis.get("size", 1)
            for axis in axes
        ]
    if isinstance(shape, dict):
        shape = shape.get("min")
    sides = [side for side in shape or () if isinstance(side, int)]
    if len(inputs) != 1 or sides[1:2] != [len(CHANNELS)] or len({*sides[2:]}) != 1:
        raise ModelError(
            f"{where}: expected one input of cells (N, {len(CHANNELS)}, S, S), the description "
            f"says {shape}. It is no classifier of single cells in four stains."
        )
    return int(sides[2])


def _read_scaling(description: Mapping[str, Any], where: str) -> dict[str, float]:
    """Read what is done to the grey values before the network: nothing, or a line."""
    scaling = {"gain": 1.0, "offset": 0.0}
    for step in description["inputs"][0].get("preprocessing") or ():
        kind, kwargs = step.get("name") or step.get("id"), step.get("kwargs") or {}
        if kind == "ensure_dtype":
            continue
        gain, offset = kwargs.get("gain", 1.0), kwargs.get("offset", 0.0)
        if kind != "scale_linear" or not all(isinstance(v, int | float) for v in (gain, offset)):
            raise ModelError(
                f"{where}: expected no preprocessing or scale_linear with one gain and offset, the "
                f"description asks for {kind} {kwargs}. It needs a newer version of hpacells."
            )
        scaling = {
            "gain": scaling["gain"] * gain,
            "offset": scaling["offset"] * gain + offset,
        }
    return scaling


def _are_probabilities(description: Mapping[str, Any]) -> bool:
    """Say whether the scores are probabilities; else they are logits."""
    output = (description.get("outputs") or [{}])[0]
    low_high = output.get("data_range") or (output.get("data") or {}).get("range")
    return low_high is not None and list(low_high) == [0, 1] and not output.get("postprocessing")


def _read_weights(
    description: Mapping[str, Any], content: Mapping[str, bytes], where: str
) -> onnx.ModelProto:
    """Read the ONNX graph, whose tensors all lie within it."""
    weights = description.get("weights") or {}
    entry = weights.get("onnx") or {}
    name = str(entry.get("source", "")).rpartition("/")[2]
    if name not in content:
        raise ModelError(
            f"{where}: expected ONNX weights in the package, the description has "
            f"{', '.join(sorted(weights)) or 'none'} ({name or 'no file'}). Weights that need code "
            "of the package are not run."
        )
    known, got = entry.get("sha256"), hashlib.sha256(content[name]).hexdigest()
    if known not in (None, got):
        raise ModelError(
            f"{where}: {name}: expected sha256 {known} (its description), got {got}. Fetch it "
            "again."
        )
    try:
        graph = onnx.load_model_from_string(content[name])
    except DecodeError as error:
        raise ModelError(f"{where}: {name} is no ONNX graph ({error}). Fetch it again.") from error
    outside = [
        tensor.name
        for tensor in graph.graph.initializer
        if tensor.data_location == TensorProto.EXTERNAL
    ]
    if outside:
        raise ModelError(
            f"{where}: {name}: expected all tensors within the file, {outside[0]} points to "
            "another file. Save the graph in one piece."
        )
    return graph


def _join(
    box: CellBox, network: onnx.ModelProto, crop_px: int, where: str, *, probabilities: bool
) -> onnx.ModelProto:
    """Put the box before a network and name what comes out: logits and embedding."""
    before = _box_graph(box, crop_px)
    try:
        network = version_converter.convert_version(network, _OPSET)
        network.ir_version = before.ir_version
        inputs = {i.name for i in network.graph.initializer}
        (given,) = (i.name for i in network.graph.input if i.name not in inputs)
        network = compose.add_prefix(network, "published/")
        joined = compose.merge_models(before, network, [("box", f"published/{given}")])
        _name_outputs(joined, probabilities=probabilities)
        onnx.checker.check_model(joined)
        return _with_widths(joined, crop_px)
    except (ValueError, RuntimeError, onnx.checker.ValidationError, *LOAD_ERRORS) as error:
        raise ModelError(
            f"{where}: its ONNX graph cannot be used for four stains and {N_LOCATIONS} locations: "
            f"{str(error).splitlines()[0]}. It is another network than its entry says."
        ) from error


def _box_graph(box: CellBox, crop_px: int) -> onnx.ModelProto:
    example = (
        torch.zeros(2, len(CHANNELS), crop_px, crop_px, dtype=torch.uint8),
        torch.zeros(2, crop_px, crop_px, dtype=torch.uint8),
    )
    with TemporaryDirectory(prefix="hpacells-") as folder:
        path = Path(folder) / "box.onnx"
        write_graph(box.eval(), example, path, inputs=["crops", "cell_mask"], outputs=["box"])
        strip_notes(path)
        return onnx.load_model(path)


def _name_outputs(joined: onnx.ModelProto, *, probabilities: bool) -> None:
    """Call the first output ``logits``, the second, flattened, ``embedding``.

    Without a second one, or with maps instead of features, the embedding is the logits.
    """
    graph = joined.graph
    names = [output.name for output in graph.output]
    scores = "scores_flat"
    graph.node.append(helper.make_node("Flatten", [names[0]], [scores]))
    if probabilities:
        for name, value in (("least", 1e-6), ("most", 1 - 1e-6), ("one", 1.0)):
            graph.initializer.append(numpy_helper.from_array(np.float32(value), name))
        graph.node.extend(
            [
                helper.make_node("Clip", [scores, "least", "most"], ["probability"]),
                helper.make_node("Sub", ["one", "probability"], ["remainder"]),
                helper.make_node("Div", ["probability", "remainder"], ["odds"]),
                helper.make_node("Log", ["odds"], ["logits"]),
            ]
        )
    else:
        graph.node.append(helper.make_node("Identity", [scores], ["logits"]))
    features = names[1] if len(names) > 1 else scores
    graph.node.append(helper.make_node("Flatten", [features], ["embedding"]))
    del graph.output[:]
    graph.output.extend(
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["cells", None])
        for name in ("logits", "embedding")
    )


def _with_widths(joined: onnx.ModelProto, crop_px: int) -> onnx.ModelProto:
    """Run the graph once, and write down how wide its outputs are."""
    session = onnxruntime.InferenceSession(
        joined.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    feed = {
        "crops": np.zeros((1, len(CHANNELS), crop_px, crop_px), np.uint8),
        "cell_mask": np.ones((1, crop_px, crop_px), np.uint8),
    }
    outputs = session.run(["logits", "embedding"], feed)
    if outputs[0].shape != (1, N_LOCATIONS):
        raise ValueError(f"expected {N_LOCATIONS} scores, got an array of {outputs[0].shape}")
    for output, values in zip(joined.graph.output, outputs, strict=True):
        output.type.tensor_type.shape.dim[1].dim_value = values.shape[1]
    return joined

"""A segmenter folder: ``segmenter.json``, ``segmenter.onnx`` and the weights it was made from.

Its files have other names than those of a classifier (``runtime.model_folder``), so that neither
is ever taken for the other. ``segmenter.json`` is written last and holds the sha256 of the other
files; nothing here is a pickle. The graph takes ``stains`` float32 ``(N, 3, H, W)``, normalised,
and ``present`` float32 ``(N, 3)``, 0 where a stain is missing, and gives ``maps`` float32
``(N, 4, H, W)`` in [0, 1]; H and W are multiples of ``SIDE_MULTIPLE``.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from hpacells.core.channels import Channel
from hpacells.core.errors import ModelError
from hpacells.core.provenance import sha256_file
from hpacells.core.storage import write_json

__all__ = [
    "MAPS",
    "MAP_STAINS",
    "SEGMENTER_GRAPH",
    "SEGMENTER_SPEC",
    "SEGMENTER_WEIGHTS",
    "SIDE_MULTIPLE",
    "SegmenterFolder",
    "SegmenterSpec",
    "load_segmenter",
    "write_segmenter_spec",
]

SEGMENTER_SPEC = "segmenter.json"
SEGMENTER_GRAPH = "segmenter.onnx"
SEGMENTER_WEIGHTS = "segmenter.safetensors"

MAP_STAINS = (Channel.NUCLEUS, Channel.MICROTUBULES, Channel.ER)
"""Stains that the network sees, in the order of its channel axis; never the protein."""

MAPS = ("cell", "border", "nucleus", "seed")
"""Maps that the network gives, in the order of their axis: foreground, outlines of cells, nuclei,
and one connected region per cell."""

SIDE_MULTIPLE = 16
"""Sides of the network's input are multiples of this many pixels."""


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class SegmenterSpec(_Frozen):
    """The content of ``segmenter.json``."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    """Short name, also the folder's."""
    version: str
    """Version of these weights."""
    description: str = ""
    """One line: what it was trained on and what it is good for."""
    architecture: dict[str, Any] = {}
    """Arguments that the model package builds the network with."""
    stains: tuple[str, ...] = tuple(stain.value for stain in MAP_STAINS)
    """Colours in the order of the graph's channel axis."""
    maps: tuple[str, ...] = MAPS
    """Names of the maps, in their order."""
    pixel_size_um: float = Field(ge=0.1, le=1.0)
    """µm per pixel that the network was trained at."""
    normalisation: str
    """What is done to the grey values before the graph, in words."""
    training: dict[str, Any] = {}
    """Where the weights come from: the data's hash, the seed, the whole configuration."""
    licence: str
    """SPDX identifier, or words, for the weights."""
    files: dict[str, str] = {}
    """File name → sha256; ``write_segmenter_spec`` fills it."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        stains = tuple(stain.value for stain in MAP_STAINS)
        if self.stains != stains or self.maps != MAPS:
            raise ModelError(
                f"segmenter {self.name}: expected the stains {', '.join(stains)} and the maps "
                f"{', '.join(MAPS)}, got {', '.join(self.stains)} and {', '.join(self.maps)}. "
                "It needs another version of hpacells."
            )
        return self


@dataclass(frozen=True)
class SegmenterFolder:
    """A segmenter folder whose files were found whole.

    Parameters
    ----------
    path
        The folder.
    spec
        Its ``segmenter.json``.
    """

    path: Path
    spec: SegmenterSpec

    @property
    def graph_path(self) -> Path:
        """The ONNX graph."""
        return self.path / SEGMENTER_GRAPH

    @property
    def graph_sha256(self) -> str:
        """The graph's hash: it decides what the network computes."""
        return self.spec.files[SEGMENTER_GRAPH]


def write_segmenter_spec(folder: Path, spec: SegmenterSpec) -> SegmenterSpec:
    """Write ``segmenter.json`` with the hashes of the files beside it; do it last.

    Parameters
    ----------
    folder
        Holds the graph and, unless left out, the weights.
    spec
        Its ``files`` are replaced.

    Returns
    -------
    SegmenterSpec
        As written.

    Raises
    ------
    ModelError
        When there is no graph in the folder.
    """
    if not (folder / SEGMENTER_GRAPH).is_file():
        raise ModelError(f"{folder}: expected {SEGMENTER_GRAPH}, there is none. Export it first.")
    names = [n for n in (SEGMENTER_GRAPH, SEGMENTER_WEIGHTS) if (folder / n).is_file()]
    hashed = spec.model_copy(update={"files": {n: sha256_file(folder / n) for n in names}})
    write_json(folder / SEGMENTER_SPEC, hashed.model_dump(mode="json"))
    return hashed


def load_segmenter(folder: Path) -> SegmenterFolder:
    """Read a segmenter folder and verify every file it names.

    Raises
    ------
    ModelError
        When ``segmenter.json`` is missing or malformed, its stains or maps are not this
        version's, or a file is missing or not the one whose sha256 is written.
    """
    path = folder / SEGMENTER_SPEC
    if not path.is_file():
        raise ModelError(f"{folder}: not a segmenter folder, there is no {SEGMENTER_SPEC}.")
    try:
        spec = SegmenterSpec.model_validate_json(path.read_bytes())
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "file"
        raise ModelError(f"{path}: {where}: {first['msg']}. Export it again.") from error
    if SEGMENTER_GRAPH not in spec.files or not spec.files.keys() <= {
        SEGMENTER_GRAPH,
        SEGMENTER_WEIGHTS,
    }:
        raise ModelError(
            f"{path}: expected the files {SEGMENTER_GRAPH} and perhaps {SEGMENTER_WEIGHTS}, got "
            f"{', '.join(spec.files) or 'none'}. Export it again."
        )
    for name, expected in spec.files.items():
        file = folder / name
        got = sha256_file(file) if file.is_file() else "no such file"
        if got != expected:
            raise ModelError(f"{file}: expected sha256 {expected}, got {got}. Export it again.")
    return SegmenterFolder(folder, spec)

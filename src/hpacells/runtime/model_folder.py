"""A model folder: ``model.json``, ``model.onnx`` and, unless left out to save room, the weights.

``model.json`` is ``ModelSpec``: everything that has to be known to use the network, so that
nothing about it is written in code. It is written last and holds the sha256 of the other files:
a folder without it, or with another file beside it, is not a model. Nothing here is a pickle.
"""

import base64
import re
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from hpacells.core.channels import CHANNELS, Channel
from hpacells.core.crop_spec import CropSpec
from hpacells.core.errors import ModelError
from hpacells.core.locations import LOCATION_KEYS, N_LOCATIONS
from hpacells.core.provenance import sha256_file
from hpacells.core.storage import write_json

__all__ = [
    "DOUBT_LEVELS",
    "GRAPH_FILE",
    "LSE_SHARPNESS",
    "NULL_FILE",
    "SPEC_FILE",
    "TERMS_FILE",
    "TOP_SHARE",
    "WEIGHTS_FILE",
    "Architecture",
    "Calibration",
    "Cloud",
    "Doubt",
    "ModelFolder",
    "ModelSpec",
    "Postprocessing",
    "Training",
    "load_model",
    "pack",
    "unpack",
    "write_model_spec",
]

SPEC_FILE = "model.json"
GRAPH_FILE = "model.onnx"
WEIGHTS_FILE = "model.safetensors"
TERMS_FILE = "terms.onnx"
"""Of a model that tells more terms apart than the project's locations."""
NULL_FILE = "variation_null.json"
"""What scores cells get that do not differ by design (``runtime.variation_null``)."""
_FILES = (GRAPH_FILE, WEIGHTS_FILE, TERMS_FILE, NULL_FILE)

LSE_SHARPNESS, TOP_SHARE = 2.0, 0.25
"""Constants of ``lse`` and ``top_mean`` pooling: those of training (``model.pooling``)."""

DOUBT_LEVELS = (*(i / 100 for i in range(100)), 0.995, 0.998, 0.999, 1.0)
"""Shares of the ordinary cells at which ``Doubt`` keeps quantiles: finer at the end."""

STAINS = tuple(channel.value for channel in CHANNELS)
_FORMER = re.compile(rb'"border_(floor|full_area|without_nucleus)": [0-9.]+,')
"""Constants of folders written when border cells were weighed by their area: passed over."""


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Architecture(_Frozen):
    """What the network is, enough to build it again from its weights."""

    backbone: str
    """Name of the backbone, a timm model."""
    kwargs: dict[str, Any] = {}
    """Arguments that the model package builds it with."""


class Calibration(_Frozen):
    """Per class ``probability = sigmoid(scale · logit + bias)``.

    Negative's constants apply to its derived logit where ``Postprocessing.negative`` derives it.
    """

    scale: tuple[float, ...] = (1.0,) * N_LOCATIONS
    """Factor on the logit, one per location, above 0 (no unit)."""
    bias: tuple[float, ...] = (0.0,) * N_LOCATIONS
    """Added after scaling, one per location (logits)."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if len(self.scale) != N_LOCATIONS or len(self.bias) != N_LOCATIONS:
            raise ValueError(f"calibration: expected {N_LOCATIONS} scales and biases")
        if min(self.scale) <= 0:
            raise ValueError("calibration: a scale must be above 0, or the order of cells turns")
        return self


class Postprocessing(_Frozen):
    """From cell probabilities to image and blend scores (``runtime.postprocess``)."""

    image_pooling: Literal["max", "lse", "noisy_or", "top_mean", "mean"] = "lse"
    """How the calibrated logits of a field's cells become one image logit: what the model was
    trained with."""
    lse_sharpness: float = Field(default=LSE_SHARPNESS, gt=0)
    """``r`` in ``log(mean(exp(r · logit))) / r``: towards 0 the mean, large the maximum."""
    top_share: float = Field(default=TOP_SHARE, gt=0, le=1)
    """Share of the cells, the highest, that ``top_mean`` averages; at least one cell."""
    blend: Literal["mix", "product"] = "mix"
    """``mix``: weighted sum of cell and image score; ``product``: each to its weight's power."""
    cell_weight: float = Field(default=0.7, ge=0, le=1)
    """Weight of the cell score in the blend."""
    image_weight: float = Field(default=0.3, ge=0, le=1)
    """Weight of the image score in the blend; the two add up to 1."""
    border_power: float = Field(default=1.0, ge=0, le=4)
    """The blend of a border cell times its ``chance_inside`` to this power; 0: as a whole cell."""
    negative: Literal["own", "one_minus_max", "product"] = "own"
    """Score of Negative: the network's own, 1 - the largest other, or the product of (1 - p)."""
    negative_damping: float = Field(default=0.0, ge=0, le=4)
    """The blends of the other classes times (1 - p_negative) to this power."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if abs(self.cell_weight + self.image_weight - 1) > 1e-6:
            raise ValueError(
                f"postprocessing: cell_weight {self.cell_weight} and image_weight "
                f"{self.image_weight} must add up to 1"
            )
        return self


def pack(values: npt.NDArray[np.floating]) -> str:
    """Write numbers as text: little-endian float32 in base64, row by row."""
    return base64.b64encode(np.ascontiguousarray(values, "<f4").tobytes()).decode("ascii")


def unpack(text: str) -> npt.NDArray[np.float64]:
    """Read what ``pack`` wrote, flat.

    Raises
    ------
    ValueError
        When it is not base64 of whole, finite numbers.
    """
    values = np.frombuffer(base64.b64decode(text, validate=True), "<f4").astype(np.float64)
    if not np.isfinite(values).all():
        raise ValueError("expected finite numbers")
    return values


class Cloud(_Frozen):
    """Where points lie: their mean, the axes along which they vary most, and how much."""

    mean: str
    """``(D,)``, as all numbers here packed (``pack``)."""
    axes: str
    """``(A, D)`` unit vectors."""
    spread: str
    """``(A + 1,)`` standard deviations along the axes; the last one of everything else."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        mean, axes, spread = unpack(self.mean), unpack(self.axes), unpack(self.spread)
        if len(axes) != len(mean) * (len(spread) - 1) or not (spread > 0).all():
            raise ValueError(
                f"cloud: expected A axes for A + 1 spreads above 0, got {len(mean)} numbers of the "
                f"mean, {len(axes)} of axes, {len(spread)} of spread"
            )
        return self


class Doubt(_Frozen):
    """What the cells were like that the model was trained on (``runtime.doubt``)."""

    crop: Cloud
    """Of what stands in the crops."""
    embedding: Cloud
    """Of the embeddings."""
    levels: tuple[str, str, str]
    """Quantiles, at ``DOUBT_LEVELS``, of the held-out cells' distances from the two clouds and of
    the entropies of their probabilities, each packed."""
    total: str
    """The same of the largest of a cell's three ranks."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        for part in (*self.levels, self.total):
            values = unpack(part)
            if len(values) != len(DOUBT_LEVELS) or (np.diff(values) < 0).any():
                raise ValueError(f"doubt: expected {len(DOUBT_LEVELS)} ascending quantiles")
        return self


class Training(_Frozen):
    """Where the weights come from."""

    data_hash: str
    """sha256 over the training data's table."""
    n_fields: int = Field(ge=0)
    """Fields trained on."""
    seed: int
    """Seed of the training."""
    split_sha256: str = ""
    """Of the file that says which fields were held out, and which fold the others were in."""
    config: dict[str, Any] = {}
    """The training's whole configuration."""


class ModelSpec(_Frozen):
    """The content of ``model.json``."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    """Short name, also the folder's."""
    version: str
    """Version of this model."""
    description: str = ""
    """One line: what it was trained on and what it is good for."""
    architecture: Architecture
    """The network."""
    stains: tuple[str, ...] = STAINS
    """Colours in the order of the graph's channel axis."""
    needs: tuple[Channel, ...] = ()
    """Stains that it cannot do without; it takes zeros for any other that was not acquired."""
    crop_px: int = Field(ge=16, le=1024)
    """Side of a crop, in crop pixels."""
    pixel_size_um: float = Field(ge=0.02, le=2.0)
    """µm per crop pixel."""
    outside: Literal["keep", "zero"] = "zero"
    """What the network sees outside the cell; the graph does it."""
    normalisation: str
    """What the graph does to the grey values, in words."""
    locations: tuple[str, ...] = LOCATION_KEYS
    """Keys of the locations, in the order of the logits."""
    embedding_size: int = Field(gt=0)
    """Length of a cell's embedding."""
    terms: tuple[str, ...] = ()
    """What ``terms.onnx`` tells apart, given a cell's embedding; empty where there is none."""
    calibration: Calibration = Calibration()
    """From logits to probabilities."""
    postprocessing: Postprocessing = Postprocessing()
    """From probabilities to scores."""
    doubt: Doubt | None = None
    """How unusual a cell is; None where nothing was fitted."""
    fitted: dict[str, str] = {}
    """What of calibration, post-processing, doubt and the null of variation was fitted, and on
    what, in words."""
    training: Training
    """Where the weights come from."""
    licence: str
    """SPDX identifier, or words, for the weights."""
    citation: str = ""
    """What to name where results are published; empty for a model of one's own."""
    files: dict[str, str] = {}
    """File name → sha256; ``write_model_spec`` fills it."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.locations != LOCATION_KEYS:
            raise ModelError(
                f"model {self.name}: expected the locations {', '.join(LOCATION_KEYS)}, in this "
                f"order, got {', '.join(self.locations)}. It needs another version of hpacells."
            )
        if self.stains != STAINS:
            raise ModelError(
                f"model {self.name}: expected the stains {', '.join(STAINS)}, in this order, "
                f"got {', '.join(self.stains)}. Train or export it again."
            )
        return self

    def crop_spec(self) -> CropSpec:
        """Give the crops that the network was trained on."""
        return CropSpec(self.crop_px, self.pixel_size_um, self.outside)


@dataclass(frozen=True)
class ModelFolder:
    """A model folder whose files were found whole.

    Parameters
    ----------
    path
        The folder.
    spec
        Its ``model.json``.
    """

    path: Path
    spec: ModelSpec

    @property
    def graph_path(self) -> Path:
        """The ONNX graph."""
        return self.path / GRAPH_FILE

    @property
    def weights_path(self) -> Path | None:
        """The weights, or None where the folder leaves them out."""
        return self.path / WEIGHTS_FILE if WEIGHTS_FILE in self.spec.files else None

    @property
    def terms_path(self) -> Path | None:
        """The graph from embeddings to terms, or None where there is none."""
        return self.path / TERMS_FILE if TERMS_FILE in self.spec.files else None

    def require_stains(self, missing: Collection[Channel]) -> None:
        """Refuse fields that lack a stain which the network cannot do without (ModelError)."""
        lacking = [stain for stain in self.spec.needs if stain in missing]
        if lacking:
            raise ModelError(
                f"model {self.model_id}: expected fields with {', '.join(self.spec.needs)}, there "
                f"is no {' and no '.join(lacking)}. Take one that does without: 'hpacells models'."
            )

    @property
    def model_id(self) -> str:
        """Name, version and the first digits of the graph's hash."""
        return f"{self.spec.name}-{self.spec.version}@{self.spec.files[GRAPH_FILE][:12]}"

    @property
    def size_bytes(self) -> int:
        """Bytes of the files together."""
        return sum((self.path / name).stat().st_size for name in self.spec.files)


def write_model_spec(folder: Path, spec: ModelSpec) -> ModelSpec:
    """Write ``model.json`` with the hashes of the files that stand beside it; do it last.

    Parameters
    ----------
    folder
        Holds ``model.onnx`` and, unless left out, ``model.safetensors``.
    spec
        Its ``files`` are replaced.

    Returns
    -------
    ModelSpec
        As written.

    Raises
    ------
    ModelError
        When there is no graph in the folder.
    """
    present = [name for name in _FILES if (folder / name).is_file()]
    if GRAPH_FILE not in present:
        raise ModelError(f"{folder}: expected {GRAPH_FILE}, there is none. Export the model first.")
    hashed = spec.model_copy(update={"files": {n: sha256_file(folder / n) for n in present}})
    write_json(folder / SPEC_FILE, hashed.model_dump(mode="json"))
    return hashed


def load_model(folder: Path) -> ModelFolder:
    """Read a model folder and verify every file it names.

    Raises
    ------
    ModelError
        When ``model.json`` is missing or malformed, its locations or stains are not this
        version's, or a file is missing or not the one whose sha256 is written.
    """
    path = folder / SPEC_FILE
    if not path.is_file():
        raise ModelError(
            f"{folder}: not a model folder, there is no {SPEC_FILE}. "
            "'hpacells models' lists the models that can be used."
        )
    try:
        spec = ModelSpec.model_validate_json(_FORMER.sub(b"", path.read_bytes()))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "file"
        raise ModelError(f"{path}: {where}: {first['msg']}. Export the model again.") from error
    if GRAPH_FILE not in spec.files:
        raise ModelError(f"{path}: names no {GRAPH_FILE}. Export the model again.")
    for name, expected in spec.files.items():
        _verify(folder, name, expected)
    return ModelFolder(folder, spec)


def _verify(folder: Path, name: str, expected: str) -> None:
    path = folder / name
    if name not in _FILES:
        raise ModelError(
            f"{folder / SPEC_FILE}: expected the files {', '.join(_FILES)}, got {name}"
        )
    if not path.is_file():
        raise ModelError(f"{path}: missing. Fetch or export the model again.")
    got = sha256_file(path)
    if got != expected:
        raise ModelError(
            f"{path}: expected sha256 {expected}, got {got}: the file is damaged or another "
            "model's. Fetch or export the model again."
        )

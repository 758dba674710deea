"""What variation a classifier's own error makes of cells that do not differ by design.

``variation_null.json`` in a model folder, hashed in ``model.json`` as every file there; a run
folder gets a copy, so that whoever reads it later judges by the same. The numbers are fitted and
applied by ``variation.null``; here is what they are and where they are found.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Self

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from hpacells.core.errors import ModelError
from hpacells.core.location import read_content
from hpacells.core.storage import atomic_path, write_json
from hpacells.runtime.model_folder import NULL_FILE, load_model, write_model_spec
from hpacells.runtime.registry import WEIGHTS_FOLDER, list_models

__all__ = [
    "NULL_LEVELS",
    "FoundNull",
    "KindNull",
    "VariationNull",
    "attach_null",
    "copy_null",
    "find_null",
    "read_null",
]

NULL_LEVELS = tuple(i / 200 for i in range(1, 181))
"""Shares of the null fields at which quantiles are kept: .005 … .9; above, a tail goes on."""

_READ_WITH = "Fit it again with scripts/fit_variation_null.py, or train the model again."


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class KindNull(_Frozen):
    """The distribution of one transformed score, given what a field's cells are like."""

    expected: tuple[float, ...]
    """Coefficients, one a feature, of the expected value."""
    spread: tuple[float, ...]
    """The same of the logarithm of the standard deviation."""
    quantiles: tuple[float, ...]
    """Of the standardised residuals, at ``NULL_LEVELS``."""
    tail: float = Field(gt=0)
    """Mean excess of the residuals above the last quantile."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if len(self.quantiles) != len(NULL_LEVELS) or (np.diff(self.quantiles) < 0).any():
            raise ValueError(f"null: expected {len(NULL_LEVELS)} ascending quantiles")
        if len(self.expected) != len(self.spread):
            raise ValueError("null: expected as many coefficients of the spread as of the mean")
        return self


class VariationNull(_Frozen):
    """The content of ``variation_null.json``."""

    format: Literal[1] = 1
    """Raised when the features or their use change."""
    features: tuple[str, ...]
    """Names of the features, in the order of the coefficients."""
    lowest: tuple[float, ...]
    """Of each feature in the null fields; a field beyond counts as at the limit."""
    highest: tuple[float, ...]
    """As ``lowest``."""
    spatial: KindNull
    """Null of the spatial score."""
    intensity: KindNull
    """Null of the intensity score."""
    n_fields: int = Field(gt=0)
    """Fields that it was fitted on."""
    source: str
    """Which fields, in words."""
    amount_weights: tuple[float, ...] = ()
    """Of ``variation.amounts``, taught by known amounts; without them intensity is judged by the
    spread of amounts that are corrected within the field."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        lengths = {len(self.features), len(self.lowest), len(self.highest)}
        lengths |= {len(self.spatial.expected), len(self.intensity.expected)}
        if len(lengths) > 1:
            raise ValueError(f"null: expected one number a feature, got {sorted(lengths)}")
        return self


@dataclass(frozen=True)
class FoundNull:
    """A null, or why there is none.

    Parameters
    ----------
    null
        None where p and q have to stay null.
    why
        What is missing and what to do, a sentence; empty where there is a null.
    """

    null: VariationNull | None
    why: str = ""


def read_null(folder: Path) -> VariationNull | None:
    """Read the null of a model folder or run folder; None where there is none.

    Raises
    ------
    ModelError
        When it is malformed, or of another version.
    """
    path = folder / NULL_FILE
    if not path.is_file():
        return None
    try:
        return VariationNull.model_validate_json(read_content(path))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "file"
        raise ModelError(f"{path}: {where}: {first['msg']}. {_READ_WITH}") from error


def find_null(run_folder: Path) -> FoundNull:
    """Find the null that a run is judged by.

    The run took a copy of its model's; of one made before its model had one, the shipped model of
    the same network is asked.

    Raises
    ------
    ModelError
        As ``read_null``.
    """
    null = read_null(run_folder)
    made_by = _model_id(run_folder)
    if null is None and made_by is not None:
        for name in list_models():
            model = load_model(WEIGHTS_FOLDER / name)
            null = read_null(model.path) if model.model_id == made_by else null
    if null is not None:
        return FoundNull(null)
    model_name = f"the model of this run, {made_by}," if made_by else "the model of these tables"
    return FoundNull(
        None,
        f"No p and q: {model_name} has no measurement-error null ({NULL_FILE}), so a high score "
        "may be the classifier's own error. A training with enough held-out fields fits one; "
        "scripts/fit_variation_null.py fits one on simulated fields.",
    )


def _model_id(run_folder: Path) -> str | None:
    path = run_folder / "settings.json"
    if not path.is_file():
        return None
    try:
        settings = json.loads(read_content(path))
    except ValueError:
        return None
    return settings.get("model_id") if isinstance(settings, dict) else None


def copy_null(source: Path, run_folder: Path) -> None:
    """Copy the null of a model folder, or of another run of it, into a run folder."""
    if (source / NULL_FILE).is_file():
        with atomic_path(run_folder / NULL_FILE) as temporary:
            temporary.write_bytes(read_content(source / NULL_FILE))


def attach_null(folder: Path, null: VariationNull) -> None:
    """Write a null into a finished model folder, and its hash and origin into ``model.json``.

    Raises
    ------
    ModelError
        When it is not a whole model folder.
    """
    spec = load_model(folder).spec
    write_json(folder / NULL_FILE, null.model_dump(mode="json"))
    fitted = {**spec.fitted, "variation": null.source}
    write_model_spec(folder, spec.model_copy(update={"fitted": fitted}))

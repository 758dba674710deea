"""Which published models are known by name: ``published.yaml``, and the user's own list.

An entry says what a model is for, and where its files come from; fetching them is
``runtime.published_weights``, turning them into a model folder ``model.published``. Own entries
stand in ``$HPACELLS_MODELS``, else ``$XDG_CONFIG_HOME/hpacells/models.yaml``, else
``~/.config/hpacells/models.yaml``, in the same form.
"""

import os
import re
from collections.abc import Collection, Mapping
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from hpacells.core.channels import Channel
from hpacells.core.errors import ConfigError, ModelError
from hpacells.runtime.published_weights import PublishedFile, PublishedWeights

__all__ = [
    "KNOWN_MODELS",
    "PublishedModel",
    "RegisteredFile",
    "choose_variant",
    "known_models",
    "own_list",
    "read_models",
]

KNOWN_MODELS = Path(__file__).with_name("published.yaml")
"""The entries that come with hpacells."""

_SEEDS = re.compile(r"\[(\d)-(\d)\]")


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class RegisteredFile(_Frozen):
    """A file of an entry, or several whose addresses differ in one digit."""

    url: str = Field(pattern=r"^(https?|file)://")
    """Where it is published; ``[0-9]`` in it stands for ten files."""
    name: str = ""
    """Its name in the cache; that at the end of the address when empty."""
    sha256: str | None = Field(default=None, pattern=r"^[0-9a-f]{64}$")
    """Its hash; None where none is known: then that of the first sight counts."""
    sha256_source: str = "its publisher"
    """Who says that the file has this hash, in words."""
    member: str | None = None
    """Path inside the archive at the address, where that is a ZIP file."""

    def files(self) -> list[PublishedFile]:
        """Give the files that it stands for."""
        digits = _SEEDS.search(self.url)
        urls = [self.url]
        if digits is not None:
            first, last = (int(digit) for digit in digits.groups())
            urls = [_SEEDS.sub(str(i), self.url, count=1) for i in range(first, last + 1)]
        return [
            PublishedFile(
                self.name or url.rpartition("/")[2],
                url,
                self.sha256,
                self.member,
                self.sha256_source,
            )
            for url in urls
        ]


class PublishedModel(_Frozen):
    """An entry: a published model, and where its files come from."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9._-]*$")
    """What it is called on the command line, and its folder in the cache."""
    task: Literal["classifier", "segmenter"]
    """``classifier``: for ``--model``; ``segmenter``: for ``--segmenter``."""
    format: Literal["subcell", "bioimageio", "as_published"]
    """How a model folder is made of the files (``model.published``); ``as_published``: they are
    used as they are."""
    title: str
    """What it is, in one line."""
    good_for: str
    """What to take it for, in one line."""
    stains: tuple[Channel, ...]
    """Stains that it looks at, in the order of its input."""
    pixel_size_um: float = Field(ge=0.02, le=2.0)
    """µm per pixel at which it looks at a field."""
    classes: str
    """What it tells apart, in words."""
    size_mb: float = Field(gt=0)
    """What is fetched, in megabytes."""
    licence: str
    """SPDX identifier, or words, for the weights."""
    notice: str = ""
    """What else has to be known before they are fetched: origin, who may use them."""
    citation: str
    """What to name where results are published."""
    family: str = ""
    """Models of one family do the same with other stains."""
    options: dict[str, Any] = {}
    """Of the conversion, by keyword."""
    files: tuple[RegisteredFile, ...] = Field(min_length=1)
    """All of them are needed."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if (self.task == "segmenter") != (self.format == "as_published"):
            raise ValueError(f"{self.name}: a {self.task} cannot be of format {self.format}")
        names = [file.name for file in self.weights.files]
        if len(set(names)) < len(names) or any(Path(n).name != n or not n for n in names):
            raise ValueError(f"{self.name}: expected one plain name for each file, got {names}")
        return self

    @property
    def weights(self) -> PublishedWeights:
        """Its files, to be fetched."""
        return PublishedWeights(
            name=self.name,
            title=self.title,
            licence=self.licence,
            notice=f"{self.notice} Cite: {self.citation}.".lstrip(),
            files=tuple(one for file in self.files for one in file.files()),
        )

    @property
    def folder(self) -> Path:
        """Where the model folder that is made of a classifier's files lies."""
        return self.weights.model_folder


def own_list() -> Path:
    """Say where the user's own entries stand; the file need not exist."""
    if own := os.environ.get("HPACELLS_MODELS"):
        return Path(own).expanduser()
    base = os.environ.get("XDG_CONFIG_HOME")
    return (Path(base) if base else Path.home() / ".config") / "hpacells" / "models.yaml"


@cache
def known_models() -> Mapping[str, PublishedModel]:
    """Read the entries that come with hpacells: name → entry."""
    return MappingProxyType({entry.name: entry for entry in _read_list(KNOWN_MODELS)})


def read_models() -> Mapping[str, PublishedModel]:
    """Read the known entries and the user's own.

    Returns
    -------
    mapping
        Name → entry, the known ones first.

    Raises
    ------
    ConfigError
        When the user's list cannot be read, an entry is malformed, or a name stands twice.
    """
    found = dict(known_models())
    path = own_list()
    for entry in _read_list(path) if path.is_file() else ():
        if entry.name in found:
            raise ConfigError(
                f"{path}: the name {entry.name} stands twice. Give your entry another one."
            )
        found[entry.name] = entry
    return found


def _read_list(path: Path) -> list[PublishedModel]:
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(f"{path}: cannot be read as YAML ({error})") from error
    entries = content.get("models") if isinstance(content, dict) else None
    if not isinstance(entries, list):
        raise ConfigError(f"{path}: expected 'models:' and a list of entries below it")
    try:
        return [PublishedModel.model_validate(entry) for entry in entries]
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "entry"
        raise ConfigError(
            f"{path}: {where}: {first['msg']}. {KNOWN_MODELS} shows the form."
        ) from error


def choose_variant(
    name: str, models: Mapping[str, PublishedModel], missing: Collection[Channel]
) -> PublishedModel:
    """Choose the model of a family that does without stains.

    Parameters
    ----------
    name
        The model asked for; it is taken where it looks at none of the missing stains.
    models
        As ``read_models`` gives them.
    missing
        Stains that the fields do not have.

    Returns
    -------
    PublishedModel
        Of its family, the one that looks at most of the stains that are there.

    Raises
    ------
    ModelError
        When each of the family looks at a missing stain.
    """
    wanted = models[name]
    absent = set(missing)
    family = [m for m in models.values() if m.family == wanted.family and m.family]
    fitting = [m for m in (wanted, *family) if not absent & set(m.stains)]
    if not fitting:
        looked_at = ", ".join(stain for stain in wanted.stains if stain in absent)
        raise ModelError(
            f"model {name}: it looks at {looked_at}, which --missing says is not there, and no "
            "other of its family does without. 'hpacells models' lists the stains of each."
        )
    return wanted if wanted in fitting else max(fitting, key=lambda model: len(model.stains))

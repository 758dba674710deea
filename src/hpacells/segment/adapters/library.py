"""The seam between a segmenter and the library that runs its network.

Everything of another library stands behind ``Library.open``: what comes back are plain functions on
arrays. A test puts a small network of its own there.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel

from hpacells.core.channels import Channel
from hpacells.core.errors import ConfigError, MissingExtraError
from hpacells.core.provenance import sha256_file
from hpacells.runtime.published_weights import PublishedWeights, install_weights
from hpacells.segment.stain_input import present_flags

__all__ = ["Files", "Library", "Network", "PublishedSegmenter", "open_networks"]

Network = Callable[[npt.NDArray[np.float32]], npt.NDArray[np.generic]]
"""``(C, h, w)`` float32 shares of the full scale to maps or ids on the same grid."""

Files = tuple[tuple[str, Path], ...]
"""``(name, path)`` of weight files, sorted by name."""


@dataclass(frozen=True)
class Library:
    """A library that runs networks.

    Parameters
    ----------
    package
        Name that it is imported by.
    distribution
        Name that it is installed by; its version is written beside the results.
    extra
        Extra of hpacells that installs it.
    open
        Weight files by name, and a device (``cpu``, ``cuda``), to networks by name.
    """

    package: str
    distribution: str
    extra: str
    open: Callable[[Mapping[str, Path], str], Mapping[str, Network]]

    def require(self, segmenter: str) -> None:
        """Stop before anything is fetched when the library is not installed.

        Raises
        ------
        MissingExtraError
            Saying which extra to install.
        """
        if not self.installed():
            raise MissingExtraError(
                f"segmenter {segmenter}: expected the package {self.distribution}, it is not "
                "installed. In the repository: pip install -c constraints.txt "
                f"'.[{self.extra}]', or take --segmenter unet."
            )

    def installed(self) -> bool:
        """Say whether it can be imported, without importing it."""
        parent, _, child = self.package.rpartition(".")
        # a child is asked for only where its parent is: find_spec would raise
        return (not parent or find_spec(parent) is not None) and (
            find_spec(f"{parent}.{child}" if parent else child) is not None
        )

    def versions(self) -> dict[str, str]:
        """Give the versions that decide the result: the library's and torch's."""
        found = {}
        for name in (self.distribution, "torch"):
            try:
                found[name] = version(name)
            except PackageNotFoundError:
                continue
        return found


@lru_cache(maxsize=2)
def open_networks(library: Library, files: Files, device: str) -> Mapping[str, Network]:
    """Open networks once for a process.

    Parameters
    ----------
    library
        What opens them.
    files
        ``(name, path)`` of the weight files.
    device
        Where they run.

    Raises
    ------
    ConfigError
        When the device is ``cuda`` and there is none.
    """
    if device == "cuda" and not import_module("torch").cuda.is_available():
        raise ConfigError("device: expected cpu or a GPU that PyTorch can use, there is none")
    return library.open(dict(files), device)


class PublishedSegmenter:
    """What every segmenter of published networks shares: for a frozen dataclass with these fields.

    Raises
    ------
    ConfigError
        When the missing stains are none of the three, or all of them.
    MissingExtraError
        When the library is not installed; then nothing is fetched.
    ModelError
        When the weights cannot be had.
    """

    config: BaseModel
    missing: tuple[Channel, ...]
    weights: PublishedWeights
    library: Library
    name: str
    _files: Files

    def __post_init__(self) -> None:
        self._check_missing()
        self.library.require(self.name)
        files = tuple(sorted(install_weights(self.weights).items()))
        object.__setattr__(self, "_files", files)

    def _check_missing(self) -> None:
        present_flags(self.missing)

    @property
    def settings(self) -> dict[str, object]:
        """Configuration, missing stains, weights and library versions, as JSON-ready values."""
        known = {file.name: file.sha256 for file in self.weights.files}
        return {
            **self.config.model_dump(mode="json"),
            "missing": sorted(stain.value for stain in self.missing),
            # where no checksum is published: that of the file in use
            "weights_sha256": {
                name: known[name] or sha256_file(path) for name, path in self._files
            },
            "versions": self.library.versions(),
        }

"""Segmenters by name: the one contract field of view → matched nuclei and cells."""

from collections.abc import Callable, Collection, Mapping
from types import MappingProxyType
from typing import Protocol

from hpacells.core.channels import CHANNELS, Channel
from hpacells.core.errors import ConfigError
from hpacells.core.fov import FieldOfView
from hpacells.core.masks import CellMasks
from hpacells.segment.adapters.atlas import AtlasSegmenter
from hpacells.segment.adapters.cellpose import CellposeSegmenter
from hpacells.segment.adapters.instanseg import InstansegSegmenter
from hpacells.segment.unet import UnetSegmenter
from hpacells.segment.watershed import WatershedSegmenter

__all__ = [
    "ADAPTERS",
    "DEFAULT_SEGMENTER",
    "SEGMENTERS",
    "Segmenter",
    "get_segmenter",
    "segmenter_names",
]


class Segmenter(Protocol):
    """Something that outlines the cells of one field; it can be pickled."""

    @property
    def name(self) -> str:
        """Name in the registry, written beside every result."""
        ...

    @property
    def settings(self) -> dict[str, object]:
        """What decides the result besides the field, as JSON-ready values."""
        ...

    def __call__(self, fov: FieldOfView) -> CellMasks:
        """Outline nuclei and cells; a field without any gives masks without any."""
        ...


SEGMENTERS: Mapping[str, Callable[..., Segmenter]] = MappingProxyType(
    {"unet": UnetSegmenter, "watershed": WatershedSegmenter}
)
"""Name to what makes the segmenter with its default settings; these two need nothing else."""

ADAPTERS: Mapping[str, Callable[..., Segmenter]] = MappingProxyType(
    {"hpa-unet": AtlasSegmenter, "cellpose": CellposeSegmenter, "instanseg": InstansegSegmenter}
)
"""Published segmenters: each needs an extra, and fetches its weights when it is first made."""

DEFAULT_SEGMENTER = "unet"

_EARLIER_NAMES = {"atlas": "hpa-unet"}


def segmenter_names() -> list[str]:
    """Give every name that ``get_segmenter`` knows: the built-in ones, then the published ones."""
    return [*sorted(SEGMENTERS), *sorted(ADAPTERS)]


def get_segmenter(name: str, *, missing: Collection[Channel] = ()) -> Segmenter:
    """Make a segmenter with its default settings.

    Parameters
    ----------
    name
        A key of ``SEGMENTERS`` or ``ADAPTERS``; ``atlas`` is an earlier name of ``hpa-unet``.
    missing
        Stains that were not acquired, in any order; what stands in their place is not looked at.

    Raises
    ------
    ConfigError
        When there is none of this name, or it cannot do without a missing stain.
    MissingExtraError
        When a published one needs a package that is not installed.
    ModelError
        When its weights cannot be fetched or are not the expected ones.
    """
    found = {**ADAPTERS, **SEGMENTERS}
    name = _EARLIER_NAMES.get(name, name)
    if name not in found:
        raise ConfigError(
            f"--segmenter: expected one of {', '.join(segmenter_names())}, got {name!r}"
        )
    if not missing:
        return found[name]()
    if name == WatershedSegmenter.name:
        raise ConfigError(
            "--missing: the watershed segmenter looks at every stain. Take --segmenter unet."
        )
    return found[name](missing=tuple(stain for stain in CHANNELS if stain in missing))

"""One field of view: where its files are, what is known of it, and its pixels."""

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from functools import partial, wraps
from pathlib import Path
from types import MappingProxyType
from typing import Any, Concatenate, ParamSpec, TypeVar

import numpy as np
import numpy.typing as npt

from hpacells.core.channels import CHANNELS, Channel
from hpacells.core.errors import ImageError, InputError
from hpacells.core.locations import format_class_ids

__all__ = [
    "BIT_DEPTHS",
    "DEFAULT_PIXEL_SIZE_UM",
    "METADATA_COLUMNS",
    "FieldOfView",
    "FovRecord",
    "full_scale",
    "once_per_field",
    "to_8bit",
]

Asked = ParamSpec("Asked")
Result = TypeVar("Result")

DEFAULT_PIXEL_SIZE_UM = 0.08
"""Pixel size of full-resolution atlas PNG fields, in µm."""

MAX_FOV_ID_BYTES = 200
"""A file name has at most 255 bytes, and files made of a field add endings to its id."""
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")

BIT_DEPTHS = range(8, 17)
"""How many bits of grey values cameras give; what is above 8 stands in 16-bit files."""

METADATA_COLUMNS = ("gene", "antibody", "cell_line", "plate", "well", "sample")
"""What a table may say of a field besides its labels; also attributes of ``FovRecord``."""


@dataclass(frozen=True)
class FovRecord:
    """One field's files and what is known of it, before any pixel is read.

    Parameters
    ----------
    fov_id
        File stem without the colour; not empty, without path separators and control characters,
        at most ``MAX_FOV_ID_BYTES`` long.
    paths
        One file per stain, all four. A missing file is kept as a path that does not exist:
        reading it raises ``ImageError`` so that one bad field does not stop a run.
    pixel_size_um
        µm per pixel where the table or the rule of the format says so; None: ask the file.
    image_locations
        Class ids of the *image* label; None where no table names the field.
    planes
        The channel that a stain is within its file, by name or by number from 1, as declared.
        A stain without one has a file of its own.
    scene
        Which image of files that hold several, counted from 1.
    max_value
        Grey value of full scale in 16-bit files, as declared or found for the whole data set;
        None: ask the file, else 65535.
    """

    fov_id: str
    paths: Mapping[Channel, Path]
    pixel_size_um: float | None = None
    image_locations: tuple[int, ...] | None = None
    gene: str | None = None
    antibody: str | None = None
    cell_line: str | None = None
    plate: str | None = None
    well: str | None = None
    sample: str | None = None
    planes: Mapping[Channel, str] = field(default_factory=dict)
    scene: int = 1
    max_value: int | None = None

    def __post_init__(self) -> None:
        if (
            not self.fov_id
            or "/" in self.fov_id
            or "\\" in self.fov_id
            or self.fov_id in (".", "..")
        ):
            raise InputError(
                f"expected a field id without path separators, got {self.fov_id!r}. Rename it."
            )
        if len(os.fsencode(self.fov_id)) > MAX_FOV_ID_BYTES or _CONTROL.search(self.fov_id):
            raise InputError(
                f"expected a field id of at most {MAX_FOV_ID_BYTES} bytes without control "
                f"characters (it names the masks), got {self.fov_id!r}. Rename it."
            )
        if set(self.paths) != set(CHANNELS):
            missing = [c.value for c in CHANNELS if c not in self.paths]
            raise InputError(f"field {self.fov_id}: no path for stain(s) {', '.join(missing)}")
        object.__setattr__(self, "paths", MappingProxyType(dict(self.paths)))
        object.__setattr__(self, "planes", MappingProxyType(dict(self.planes)))

    def metadata(self) -> dict[str, str | None]:
        """Give what tables say of the field, as columns: metadata, and ``image_labels`` as text."""
        locations = self.image_locations
        return {
            **{name: getattr(self, name) for name in METADATA_COLUMNS},
            "image_labels": None if locations is None else format_class_ids(locations),
        }

    def __reduce__(self) -> tuple[Any, ...]:
        # a read-only mapping does not pickle, and records travel to worker processes
        values = {item.name: getattr(self, item.name) for item in fields(self)}
        values |= {"paths": dict(self.paths), "planes": dict(self.planes)}
        return partial(FovRecord, **values), ()


@dataclass(frozen=True)
class FieldOfView:
    """The four registered stains of one place.

    Parameters
    ----------
    fov_id
        As in its record.
    pixels
        ``(C, H, W)`` uint8 or uint16 in the order of ``CHANNELS``, as stored, never rescaled.
    pixel_size_um
        µm per pixel, the same in both directions.
    max_value
        Grey value that means full scale: 2 to the number of bits, minus 1; 255, or 4095 for 12 bits
        in a 16-bit file, or 65535.
    record
        Where it came from; None for a field made in memory.
    remembered
        What ``once_per_field`` keeps.

    Raises
    ------
    ImageError
        When shape, dtype or pixel size is impossible.
    """

    fov_id: str
    pixels: npt.NDArray[np.uint8] | npt.NDArray[np.uint16]
    pixel_size_um: float
    max_value: int
    record: FovRecord | None = field(default=None, compare=False)
    remembered: dict[Any, Any] = field(default_factory=dict, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.pixels.ndim != 3 or self.pixels.shape[0] != len(CHANNELS):
            raise ImageError(
                f"field {self.fov_id}: expected pixels ({len(CHANNELS)}, H, W), "
                f"got shape {self.pixels.shape}"
            )
        if self.pixels.dtype not in (np.uint8, np.uint16):
            raise ImageError(
                f"field {self.fov_id}: expected 8- or 16-bit grey values, got {self.pixels.dtype}"
            )
        if 0 in self.pixels.shape:
            raise ImageError(f"field {self.fov_id}: the image is empty ({self.pixels.shape})")
        if not (np.isfinite(self.pixel_size_um) and 0.005 <= self.pixel_size_um <= 5.0):
            raise ImageError(
                f"field {self.fov_id}: expected a pixel size of 0.005 to 5 µm, "
                f"got {self.pixel_size_um}. Give --pixel-size-um."
            )
        if self.max_value not in {full_scale(bits) for bits in BIT_DEPTHS}:
            raise ImageError(f"field {self.fov_id}: full scale {self.max_value} is not known")

    @property
    def height(self) -> int:
        """Rows."""
        return int(self.pixels.shape[1])

    @property
    def width(self) -> int:
        """Columns."""
        return int(self.pixels.shape[2])

    def channel(self, channel: Channel) -> npt.NDArray[np.uint8] | npt.NDArray[np.uint16]:
        """Return one stain ``(H, W)``, a view in the stored dtype."""
        return self.pixels[channel.position]


def once_per_field(
    function: Callable[Concatenate[FieldOfView, Asked], Result], /
) -> Callable[Concatenate[FieldOfView, Asked], Result]:
    """Let a function of a field's pixels be worked out once, however many stages ask for it.

    Its other arguments must be hashable; the answer lives as long as the field and is shared, so
    whoever gets it must not change it.
    """

    @wraps(function)
    def remember(fov: FieldOfView, /, *args: Asked.args, **kwargs: Asked.kwargs) -> Result:
        question = (function, args, tuple(sorted(kwargs.items())))
        if question not in fov.remembered:
            fov.remembered[question] = function(fov, *args, **kwargs)
        answer: Result = fov.remembered[question]
        return answer

    return remember


def full_scale(bits: int) -> int:
    """Give the grey value of full scale.

    Examples
    --------
    >>> full_scale(12)
    4095
    """
    return 2**bits - 1


def to_8bit(
    pixels: npt.NDArray[np.uint8] | npt.NDArray[np.uint16], max_value: int
) -> npt.NDArray[np.uint8]:
    """Rescale grey values to the 8-bit scale by the full-scale value alone.

    Parameters
    ----------
    pixels
        Any shape, uint8 or uint16.
    max_value
        Grey value that becomes 255.

    Returns
    -------
    ndarray
        uint8, same shape; rounded half up, values above ``max_value`` become 255.
    """
    if pixels.dtype == np.uint8 and max_value == 255:
        return pixels  # type: ignore[return-value]
    scaled = (pixels.astype(np.uint32) * 255 + max_value // 2) // max_value
    return np.minimum(scaled, 255).astype(np.uint8)

"""An open image of several channels, whatever file format it comes from."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path

import numpy as np
import numpy.typing as npt

from hpacells.core.errors import ImageError

__all__ = [
    "MAX_CHANNELS",
    "MAX_SIDE_PX",
    "ChannelSource",
    "check_side",
    "check_size",
    "check_square",
]

MAX_SIDE_PX = 20_000
"""Longest side that is read: an image above it is taken for a mistake or a decompression bomb."""

MAX_CHANNELS = 64
"""More than any multiplexed panel of such fields has; a file above it is taken for a mistake."""

_MAX_BYTES = 4_000_000_000


@dataclass(frozen=True)
class ChannelSource:
    """An open image of several channels.

    Parameters
    ----------
    path
        Named in errors.
    names
        Of its channels in the file's order, empty where one has none.
    pixel_size_um
        µm per pixel, None where the file does not say.
    max_value
        Grey value of full scale, None where the file does not say.
    dtype
        Of its grey values.
    read
        Gives the channel at a position from 0, ``(H, W)``.
    digest
        Gives the SHA-256 of the image's content.
    """

    path: Path
    names: tuple[str, ...]
    pixel_size_um: float | None
    max_value: int | None
    dtype: np.dtype[np.generic]
    read: Callable[[int], npt.NDArray[np.integer]]
    digest: Callable[[], str]


def check_side(height: int, width: int, path: Path) -> None:
    """Refuse an empty image, and one too large to be a field."""
    if not (0 < height <= MAX_SIDE_PX and 0 < width <= MAX_SIDE_PX):
        raise ImageError(
            f"{path}: expected sides of 1 to {MAX_SIDE_PX} pixels, got {width}x{height}. "
            "Cut it into fields."
        )


def check_size(
    sizes: Mapping[str, int], dtype: np.dtype[np.generic], path: Path, *, channel_axes: str = "C"
) -> int:
    """Give the number of channels, before anything is decoded.

    Parameters
    ----------
    sizes
        Steps of each axis, by its letter (Y rows, X columns, C channels, Z depth, T time).
    dtype
        Of the grey values.
    path
        Named in errors.
    channel_axes
        Letters of axes whose steps are channels.

    Raises
    ------
    ImageError
        Depth or time of more than one step, no integers, or too large: a decompression bomb
        declares such sizes.
    """
    rows, columns = sizes.get("Y", 0), sizes.get("X", 0)
    check_side(rows, columns, path)
    if np.dtype(dtype).kind not in "iu":
        raise ImageError(
            f"{path}: expected integer grey values, got {dtype}. Convert to 8 or 16 bits."
        )
    others = {axis: n for axis, n in sizes.items() if axis not in "YX" and n != 1}
    n = prod(others.values())
    if len(others) > 1 or any(axis not in channel_axes for axis in others):
        listed = ", ".join(f"{axis} {n}" for axis, n in sizes.items())
        raise ImageError(
            f"{path}: expected channels, rows and columns, got {listed} (Z depth, T time, "
            "S samples). Save one plane per channel, for example a projection."
        )
    n_bytes = n * rows * columns * np.dtype(dtype).itemsize
    if not 1 <= n <= MAX_CHANNELS or n_bytes > _MAX_BYTES:
        raise ImageError(
            f"{path}: expected 1 to {MAX_CHANNELS} channels and at most "
            f"{_MAX_BYTES / 1e9:.0f} GB, got {n} and {n_bytes / 1e9:.1f} GB. Save it in parts."
        )
    return n


def check_square(across: float, down: float, path: Path | str) -> float:
    """Give the one size of a pixel in µm.

    Raises
    ------
    ImageError
        The two sizes are more than 1 % apart.
    """
    if abs(across - down) > 0.01 * max(across, down):
        raise ImageError(
            f"{path}: expected square pixels, got {across:g} x {down:g} µm. Resample the image."
        )
    return across

"""What the network of the ``unet`` segmenter is given: three stains, normalised per field.

This is the one place that decides the normalisation; training uses it too. It stands outside the
graph because it needs the whole field, also where the field is worked on in tiles.
"""

from collections.abc import Collection

import cv2
import numpy as np
import numpy.typing as npt

from hpacells.core.channels import Channel
from hpacells.core.errors import ConfigError, ImageError
from hpacells.core.fov import FieldOfView, once_per_field
from hpacells.runtime.segmenter_folder import MAP_STAINS
from hpacells.segment.resolution import WorkingScale
from hpacells.segment.stains import bright_end, brightest_level, percentiles
from hpacells.segment.structure import has_structure

__all__ = [
    "NORMALISATION",
    "network_grid",
    "normalise_stain",
    "present_flags",
    "shows_structure",
    "stain_on_grid",
    "stain_stack",
]

NORMALISATION = (
    "sqrt(clip((v - low) / max(high - low, 0.01), 0, 1)); v share of the full scale at the working "
    "resolution, low and high its 2 % and 99.8 % points in the field; where 0.2 % of the field is "
    "more than 50 µm² and all below high is background without structure, high is the level that "
    "50 µm² exceed, if that lies more than 4 (high - low) above low; 0 for a stain without "
    "structure of 2 to 20 µm"
)
"""What ``stain_stack`` does, in words, for ``segmenter.json``."""

_PERCENTILES = (2.0, 50.0, 99.8)
_BRIGHT_SHARE = 1 - _PERCENTILES[-1] / 100
_SMALLEST_UM2 = 50.0
"""Less than a nucleus: so much of a large field is bright enough to be its bright end."""
_CELLS_SHARE = 0.25
"""Structure of a field full of cells, however dim; its bright end is not that of a speck."""
_MIN_SPAN = 0.01
_MAX_ENLARGEMENT = 4.0
_MAX_PIXELS = 100_000_000
"""Of a working image: 3.2 mm squared at 0.32 µm, and 1.2 GB for the stains alone."""


def network_grid(
    shape: tuple[int, int], pixel_size_um: float, working_pixel_um: float
) -> WorkingScale:
    """Choose the grid that the network sees: its own pixel size, finer or coarser than the field.

    Parameters
    ----------
    shape
        Rows and columns of the field.
    pixel_size_um
        µm per pixel of the field.
    working_pixel_um
        µm per pixel that the network was trained at.

    Returns
    -------
    WorkingScale
        A field coarser than four times ``working_pixel_um`` is enlarged four times and no more:
        there is nothing to see in it.

    Raises
    ------
    ImageError
        When the grid would have more than 100 million pixels.
    """
    ratio = min(_MAX_ENLARGEMENT, pixel_size_um / working_pixel_um)
    rows, columns = (max(1, round(side * ratio)) for side in shape)
    if rows * columns > _MAX_PIXELS:
        down_mm, across_mm = (side * pixel_size_um / 1000 for side in shape)
        raise ImageError(
            f"expected a field of at most {_MAX_PIXELS / 1e6:g} million pixels at "
            f"{pixel_size_um / ratio:.3g} µm, got {shape[0]} x {shape[1]} pixels of "
            f"{pixel_size_um:g} µm ({down_mm:.3g} x {across_mm:.3g} mm), which makes "
            f"{rows * columns / 1e6:.0f} million. Check the pixel size, or cut the field into "
            "parts."
        )
    return WorkingScale((rows, columns), pixel_size_um / ratio)


def stain_stack(fov: FieldOfView, grid: WorkingScale) -> npt.NDArray[np.float32]:
    """Bring the stains of a field to the network's grid, each normalised.

    Returns
    -------
    ndarray
        ``(3, h, w)`` float32 in [0, 1], in the order of ``MAP_STAINS``; 0 for a stain that shows
        nothing of the size of cells.
    """
    stack = np.zeros((len(MAP_STAINS), *grid.shape), np.float32)
    for plane, channel in zip(stack, MAP_STAINS, strict=True):
        if shows_structure(fov, channel, grid):
            stain = stain_on_grid(fov, channel, grid)
            plane[:] = normalise_stain(stain, grid, source_um=fov.pixel_size_um)
    return stack


@once_per_field
def shows_structure(fov: FieldOfView, channel: Channel, grid: WorkingScale) -> bool:
    """Say whether a stain shows anything of the size of cells, looked at on a grid."""
    stain = stain_on_grid(fov, channel, grid)
    return has_structure(stain, grid.pixel_um, source_um=fov.pixel_size_um)


@once_per_field
def stain_on_grid(
    fov: FieldOfView, channel: Channel, grid: WorkingScale
) -> npt.NDArray[np.float32]:
    """Bring one stain to a grid that is finer or coarser than the field.

    Returns
    -------
    ndarray
        ``(h, w)`` float32 shares of the full scale, read-only.
    """
    stain = fov.channel(channel)
    if grid.shape[0] <= fov.height and grid.shape[1] <= fov.width:
        reduced = grid.reduce(stain, fov.max_value)
        reduced.setflags(write=False)
        return reduced
    share = stain.astype(np.float32) / np.float32(fov.max_value)
    enlarged = cv2.resize(share, grid.shape[::-1], interpolation=cv2.INTER_LINEAR)
    enlarged = enlarged.astype(np.float32, copy=False).reshape(grid.shape)
    enlarged.setflags(write=False)
    return enlarged


def normalise_stain(
    stain: npt.NDArray[np.float32], grid: WorkingScale, *, source_um: float
) -> npt.NDArray[np.float32]:
    """Bring a stain to 0 (background) … 1 (its bright end), dim parts lifted by a square root.

    Parameters
    ----------
    stain
        ``(h, w)`` float32 shares of the full scale: the whole field.
    grid
        What it lies on.
    source_um
        µm per pixel of the field.

    Returns
    -------
    ndarray
        ``(h, w)`` float32 in [0, 1]; a constant stain becomes 0; a span below 1 % of the full scale
        is not stretched to all of it.
    """
    low, middle, high = percentiles(stain, _PERCENTILES)
    smallest_px = grid.px2(_SMALLEST_UM2)
    if _BRIGHT_SHARE * stain.size > smallest_px:
        brightest = brightest_level(stain[stain >= high], smallest_px)  # those are more than enough
        end = bright_end(low, middle, high, brightest=brightest, min_contrast=_MIN_SPAN)
        if end != high and not has_structure(
            np.minimum(stain, np.float32(high)),
            grid.pixel_um,
            source_um=source_um,
            least=_CELLS_SHARE,
        ):
            high = end
    shown = stain - np.float32(low)
    shown /= np.float32(max(high - low, _MIN_SPAN))
    return np.sqrt(np.clip(shown, 0.0, 1.0, out=shown), out=shown)


def present_flags(missing: Collection[Channel]) -> npt.NDArray[np.bool_]:
    """Say which of the network's stains are there, ``(3,)`` bool in the order of ``MAP_STAINS``.

    Raises
    ------
    ConfigError
        When a missing stain is none of the network's, or no stain is left.
    """
    known = ", ".join(stain.value for stain in MAP_STAINS)
    others = sorted(set(missing) - set(MAP_STAINS))
    if others:
        raise ConfigError(
            f"missing stains: expected some of {known}, got {', '.join(others)}. The others are "
            "never looked at."
        )
    flags = np.array([stain not in missing for stain in MAP_STAINS])
    if not flags.any():
        raise ConfigError(f"missing stains: expected at least one of {known} to be there")
    return flags

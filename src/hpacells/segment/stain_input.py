"""What the network of the ``unet`` segmenter is given: three stains, normalised per field.

This is the one place that decides the normalisation; training uses it too. It stands outside the
graph because it needs the whole field, also where the field is worked on in tiles.
"""

from collections.abc import Collection

import cv2
import numpy as np
import numpy.typing as npt

from hpacells.core.channels import Channel
from hpacells.core.errors import ConfigError
from hpacells.core.fov import FieldOfView
from hpacells.runtime.segmenter_folder import MAP_STAINS
from hpacells.segment.resolution import WorkingScale

__all__ = [
    "NORMALISATION",
    "network_grid",
    "normalise_stain",
    "present_flags",
    "stain_on_grid",
    "stain_stack",
]

NORMALISATION = (
    "sqrt(clip((v - low) / max(high - low, 0.01), 0, 1)); v share of the full scale at the working "
    "resolution, low and high its 2 % and 99.8 % points in the field"
)
"""What ``normalise_stain`` does, in words, for ``segmenter.json``."""

_PERCENTILES = (2.0, 99.8)
_MIN_SPAN = 0.01
_MAX_ENLARGEMENT = 4.0


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
    """
    ratio = min(_MAX_ENLARGEMENT, pixel_size_um / working_pixel_um)
    rows, columns = (max(1, round(side * ratio)) for side in shape)
    return WorkingScale((rows, columns), pixel_size_um / ratio)


def stain_stack(fov: FieldOfView, grid: WorkingScale) -> npt.NDArray[np.float32]:
    """Bring the stains of a field to the network's grid, each normalised.

    Returns
    -------
    ndarray
        ``(3, h, w)`` float32 in [0, 1], in the order of ``MAP_STAINS``.
    """
    stack = np.empty((len(MAP_STAINS), *grid.shape), np.float32)
    for plane, channel in zip(stack, MAP_STAINS, strict=True):
        plane[:] = normalise_stain(stain_on_grid(fov, channel, grid))
    return stack


def stain_on_grid(
    fov: FieldOfView, channel: Channel, grid: WorkingScale
) -> npt.NDArray[np.float32]:
    """Bring one stain to a grid that is finer or coarser than the field.

    Returns
    -------
    ndarray
        ``(h, w)`` float32 shares of the full scale.
    """
    stain = fov.channel(channel)
    if grid.shape[0] <= fov.height and grid.shape[1] <= fov.width:
        return grid.reduce(stain, fov.max_value)
    share = stain.astype(np.float32) / np.float32(fov.max_value)
    enlarged = cv2.resize(share, grid.shape[::-1], interpolation=cv2.INTER_LINEAR)
    return enlarged.astype(np.float32, copy=False).reshape(grid.shape)


def normalise_stain(
    stain: npt.NDArray[np.float32],
) -> npt.NDArray[np.float32]:
    """Bring a stain to 0 (background) … 1 (its bright end), dim parts lifted by a square root.

    Parameters
    ----------
    stain
        ``(h, w)`` float32 shares of the full scale: the whole field.

    Returns
    -------
    ndarray
        ``(h, w)`` float32 in [0, 1]; a constant stain becomes 0, and a span below 1 % of the full
        scale is not stretched to all of it.
    """
    low, high = np.percentile(stain, _PERCENTILES)
    span = max(float(high - low), _MIN_SPAN)
    return np.sqrt(np.clip((stain - np.float32(low)) / np.float32(span), 0.0, 1.0))


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

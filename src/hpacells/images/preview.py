"""Small pictures of a field for people to look at. Never an input to a measurement.

Each stain is shrunk by averaging and stretched by itself: 0 stays black, the grey value that
99.8 % of its pixels don't exceed becomes white. A stain that is nearly dark is not stretched beyond
16 times, or noise would look like staining. So brightness cannot be compared between stains or
fields.
"""

from collections.abc import Sequence

import cv2
import numpy as np
import numpy.typing as npt

from hpacells.core.channels import CHANNELS, Channel
from hpacells.core.errors import ConfigError
from hpacells.core.fov import FieldOfView, once_per_field

__all__ = [
    "PREVIEW_SIDE_PX",
    "composite_rgb",
    "grey_preview",
    "lay_strip",
    "preview_shape",
    "stain_strip",
    "strip_step",
]

PREVIEW_SIDE_PX = 768
"""Longest side of the previews that a run keeps."""

_STRIP_ROW_STEP = 8
"""Each plane of a strip begins at a multiple of this, a JPEG's block: none bleeds into the next."""

_WHITE_SHARE = 0.998
_LEAST_WHITE = 16 / 255  # of full scale
_COLOURS = {
    Channel.MICROTUBULES: (1.0, 0.0, 0.0),
    Channel.PROTEIN: (0.0, 1.0, 0.0),
    Channel.NUCLEUS: (0.0, 0.0, 1.0),
    Channel.ER: (0.25, 0.25, 0.0),
}


def composite_rgb(
    fov: FieldOfView, *, max_side: int, channels: tuple[Channel, ...] = CHANNELS
) -> npt.NDArray[np.uint8]:
    """Lay the stains over each other.

    Parameters
    ----------
    fov
        The field.
    max_side
        Longest side of the picture in pixels; a smaller field keeps its size.
    channels
        Those to show, at least one.

    Returns
    -------
    ndarray
        ``(h, w, 3)`` uint8 RGB: microtubules red, protein green, nucleus blue, ER faint yellow.
    """
    planes = [_stretched(fov, channel, max_side) for channel in channels]
    picture = np.zeros((3, *planes[0].shape), np.uint8)
    for plane, channel in zip(planes, channels, strict=True):
        for colour, share in zip(picture, _COLOURS[channel], strict=True):
            if share:
                cv2.addWeighted(colour, 1.0, plane, share, 0.0, dst=colour)  # 255 at most
    return np.asarray(cv2.merge(list(picture)), np.uint8)


def grey_preview(fov: FieldOfView, channel: Channel, *, max_side: int) -> npt.NDArray[np.uint8]:
    """Show one stain in grey.

    Parameters
    ----------
    fov
        The field.
    channel
        The stain.
    max_side
        Longest side of the picture in pixels; a smaller field keeps its size.

    Returns
    -------
    ndarray
        ``(h, w)`` uint8.
    """
    return _stretched(fov, channel, max_side)


def stain_strip(fov: FieldOfView, *, max_side: int) -> npt.NDArray[np.uint8]:
    """Lay the four stains below each other in one grey picture, for viewers that tint them.

    Parameters
    ----------
    fov
        The field.
    max_side
        Longest side of one plane in pixels; a smaller field keeps its size.

    Returns
    -------
    ndarray
        ``(4 * step, w)`` uint8: the planes in the order of ``CHANNELS``, as ``lay_strip``.
    """
    return lay_strip([_stretched(fov, channel, max_side) for channel in CHANNELS])


def lay_strip(planes: Sequence[npt.NDArray[np.uint8]]) -> npt.NDArray[np.uint8]:
    """Lay planes ``(h, w)`` below each other, each continued with its last row to ``strip_step``.

    Returns
    -------
    ndarray
        ``(len(planes) * step, w)`` uint8.
    """
    missing = strip_step(len(planes[0])) - len(planes[0])
    return np.concatenate([np.pad(plane, ((0, missing), (0, 0)), "edge") for plane in planes])


def strip_step(height: int) -> int:
    """Give the rows from one plane of a strip to the next, a multiple of a JPEG's block.

    Examples
    --------
    >>> strip_step(761)
    768
    """
    return height + -height % _STRIP_ROW_STEP


def preview_shape(height: int, width: int, *, max_side: int) -> tuple[int, int]:
    """Give (height, width) in pixels of the preview of a field of that size.

    Examples
    --------
    >>> preview_shape(1000, 3000, max_side=768)
    (256, 768)
    """
    scale = min(1.0, max_side / max(height, width, 1))
    return max(1, round(height * scale)), max(1, round(width * scale))


@once_per_field
def _stretched(fov: FieldOfView, channel: Channel, max_side: int) -> npt.NDArray[np.uint8]:
    """Shrink and stretch to 0 … 255 ``(h, w)`` uint8; what is brighter than white is white."""
    if max_side < 1:
        raise ConfigError(f"expected a longest side of at least 1 pixel, got {max_side}")
    plane: cv2.typing.MatLike = fov.channel(channel)
    scale = max_side / max(plane.shape)
    if scale < 1:
        size = preview_shape(fov.height, fov.width, max_side=max_side)[::-1]
        plane = _shrink(plane, size)
    counts = cv2.calcHist([plane], [0], None, [fov.max_value + 1], [0, fov.max_value + 1])
    bright = int(np.searchsorted(np.cumsum(counts, dtype=np.float64), _WHITE_SHARE * plane.size))
    white = max(bright, _LEAST_WHITE * fov.max_value)
    stretched = np.asarray(cv2.convertScaleAbs(plane, alpha=255 / white), np.uint8)
    stretched.setflags(write=False)
    return stretched


def _shrink(plane: cv2.typing.MatLike, size: tuple[int, int]) -> cv2.typing.MatLike:
    """Bring a plane to ``size`` (w, h), by halves as far as they go: those take next to no time."""
    height, width = plane.shape
    while not (width % 2 or height % 2) and 2 * size[0] <= width and 2 * size[1] <= height:
        width, height = width // 2, height // 2
        plane = cv2.resize(plane, (width, height), interpolation=cv2.INTER_AREA)
    # by less than a half the neighbours are an average, and a fifth of the work
    is_little = 2 * size[0] > width and 2 * size[1] > height
    way = cv2.INTER_LINEAR if is_little else cv2.INTER_AREA
    return cv2.resize(plane, size, interpolation=way).reshape(size[::-1])

"""Small pictures of a field for people to look at. Never an input to a measurement.

Each stain is shrunk by area averaging and stretched by itself: 0 stays black, the grey value that
99.8 % of its pixels don't exceed becomes white. A stain that is nearly dark is not stretched beyond
16 times, or noise would look like staining. So brightness cannot be compared between stains or
fields.
"""

import cv2
import numpy as np
import numpy.typing as npt

from hpacells.core.channels import CHANNELS, Channel
from hpacells.core.errors import ConfigError
from hpacells.core.fov import FieldOfView, once_per_field

__all__ = ["composite_rgb", "grey_preview"]

_WHITE_SHARE = 0.998
_LEAST_WHITE = 16 / 255  # of full scale
_COLOURS = {
    Channel.MICROTUBULES: (1.0, 0.0, 0.0),
    Channel.PROTEIN: (0.0, 1.0, 0.0),
    Channel.NUCLEUS: (0.0, 0.0, 1.0),
    Channel.ER: (0.25, 0.25, 0.0),
}


def composite_rgb(fov: FieldOfView, *, max_side: int) -> npt.NDArray[np.uint8]:
    """Lay the four stains over each other.

    Parameters
    ----------
    fov
        The field.
    max_side
        Longest side of the picture in pixels; a smaller field keeps its size.

    Returns
    -------
    ndarray
        ``(h, w, 3)`` uint8 RGB: microtubules red, protein green, nucleus blue, ER faint yellow.
    """
    planes = [_stretched(fov, channel, max_side) for channel in CHANNELS]
    picture = np.zeros((3, *planes[0].shape), np.uint8)
    for plane, channel in zip(planes, CHANNELS, strict=True):
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


@once_per_field
def _stretched(fov: FieldOfView, channel: Channel, max_side: int) -> npt.NDArray[np.uint8]:
    """Shrink and stretch to 0 … 255 ``(h, w)`` uint8; what is brighter than white is white."""
    if max_side < 1:
        raise ConfigError(f"expected a longest side of at least 1 pixel, got {max_side}")
    plane: cv2.typing.MatLike = fov.channel(channel)
    scale = max_side / max(plane.shape)
    if scale < 1:
        size = (max(1, round(fov.width * scale)), max(1, round(fov.height * scale)))
        if not (fov.width % 2 or fov.height % 2) and scale <= 0.5:  # halving takes next to no time
            half = (fov.width // 2, fov.height // 2)
            plane = cv2.resize(plane, half, interpolation=cv2.INTER_AREA)
        plane = cv2.resize(plane, size, interpolation=cv2.INTER_AREA).reshape(size[::-1])
    counts = cv2.calcHist([plane], [0], None, [fov.max_value + 1], [0, fov.max_value + 1])
    bright = int(np.searchsorted(np.cumsum(counts, dtype=np.float64), _WHITE_SHARE * plane.size))
    white = max(bright, _LEAST_WHITE * fov.max_value)
    stretched = np.asarray(cv2.convertScaleAbs(plane, alpha=255 / white), np.uint8)
    stretched.setflags(write=False)
    return stretched

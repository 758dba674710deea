"""Small pictures of a field for people to look at. Never an input to a measurement.

Each stain is shrunk by area averaging and stretched by itself: 0 stays black, its 99.8 percentile
becomes white. A stain that is nearly dark is not stretched beyond 16 times, or noise would look
like staining. So brightness cannot be compared between stains or fields.
"""

import cv2
import numpy as np
import numpy.typing as npt

from hpacells.core.channels import CHANNELS, Channel
from hpacells.core.errors import ConfigError
from hpacells.core.fov import FieldOfView

__all__ = ["composite_rgb", "grey_preview"]

_WHITE_PERCENTILE = 99.8
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
    colours = np.array([_COLOURS[channel] for channel in CHANNELS], np.float32)
    picture = np.stack(planes, axis=-1) @ colours  # (h, w, C) @ (C, 3)
    return _to_bytes(picture)


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
    return _to_bytes(_stretched(fov, channel, max_side))


def _stretched(fov: FieldOfView, channel: Channel, max_side: int) -> npt.NDArray[np.float32]:
    """Shrink and stretch to 0 … 1 ``(h, w)`` float32."""
    if max_side < 1:
        raise ConfigError(f"expected a longest side of at least 1 pixel, got {max_side}")
    plane = fov.channel(channel)
    scale = max_side / max(plane.shape)
    if scale < 1:
        size = (max(1, round(fov.width * scale)), max(1, round(fov.height * scale)))
        plane = cv2.resize(plane, size, interpolation=cv2.INTER_AREA)  # type: ignore[assignment]
    white = max(np.percentile(plane, _WHITE_PERCENTILE), _LEAST_WHITE * fov.max_value)
    return np.minimum(plane.astype(np.float32) / np.float32(white), np.float32(1))


def _to_bytes(picture: npt.NDArray[np.float32]) -> npt.NDArray[np.uint8]:
    return np.rint(np.clip(picture, 0, 1) * 255).astype(np.uint8)

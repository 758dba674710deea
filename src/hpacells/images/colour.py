"""Colour files to one grey plane, where there is only one thing it can be.

Some exports store a stain in colour. Two kinds are unmistakable and are read: all planes equal
(grey saved as RGB), and the stain's own colour times a grey image (red, green, blue; yellow is
red and green together), as the public atlas's JPEGs are. An alpha plane counts for nothing when it
is the same everywhere. Everything else is refused: a composite of stains, the colour of another
stain than the name says, an alpha plane that means something.

In a PNG or TIFF the dark planes must be exactly 0. JPEG stores colour coarsely, so noise leaks
into them: their mean may reach 15 % of the bright plane's mean plus half a grey value (measured on
atlas stains coloured and stored at quality 50 to 95: at most 13 %).
"""

from pathlib import Path

import numpy as np
import numpy.typing as npt

from hpacells.core.channels import Channel
from hpacells.core.errors import ImageError

__all__ = ["grey_plane"]

_LIT_PLANES = {
    Channel.MICROTUBULES: (0,),
    Channel.PROTEIN: (1,),
    Channel.NUCLEUS: (2,),
    Channel.ER: (0, 1),
}
_JPEG_LEAK = 0.15
_JPEG_SLACK = 0.5
_JPEG_GREY_STEP = 2


def grey_plane(
    image: npt.NDArray[np.integer], channel: Channel, path: Path, *, lossy: bool
) -> npt.NDArray[np.integer]:
    """Reduce a decoded file to one plane.

    Parameters
    ----------
    image
        ``(H, W)``, ``(H, W, 3)`` or ``(H, W, 4)``: grey, RGB, RGB and alpha.
    channel
        The stain that the file is said to hold.
    path
        Named in errors.
    lossy
        True for JPEG, whose colour planes are noisy.

    Returns
    -------
    ndarray
        ``(H, W)`` in the stored type; grey files come back as they are.

    Raises
    ------
    ImageError
        More than one reading is possible.
    """
    if image.ndim == 2:
        return image
    if image.shape[2] == 4 and image[..., 3].min() != image[..., 3].max():
        raise ImageError(
            f"{path}: expected a grey image, got one with transparency that varies. "
            "Save it as 8- or 16-bit grey."
        )
    planes = [image[..., i] for i in range(3)]
    step = _JPEG_GREY_STEP if lossy else 0
    if _distance(planes[0], planes[1]) <= step and _distance(planes[1], planes[2]) <= step:
        return np.ascontiguousarray(planes[1])
    lit = _LIT_PLANES[channel]
    means = [float(plane.mean()) for plane in planes]
    bright = min(means[i] for i in lit)
    allowed = _JPEG_LEAK * bright + _JPEG_SLACK if lossy else 0.0
    dark_enough = all(means[i] <= allowed for i in range(3) if i not in lit)
    balanced = max(means[i] for i in lit) - bright <= allowed
    if not lossy and len(lit) == 2:
        balanced = _distance(planes[lit[0]], planes[lit[1]]) == 0
    if not (dark_enough and balanced):
        red, green, blue = (f"{mean:.1f}" for mean in means)
        raise ImageError(
            f"{path}: expected a grey image, or one coloured {channel.value} alone, got colours "
            f"(mean red {red}, green {green}, blue {blue}). Save each stain as a grey file."
        )
    return np.ascontiguousarray(planes[lit[0]])


def _distance(a: npt.NDArray[np.integer], b: npt.NDArray[np.integer]) -> int:
    """Give the largest difference of two planes, without wrapping in unsigned types."""
    return int((np.maximum(a, b) - np.minimum(a, b)).max())

"""A field's stains as pictures of one size, for figures: from its images, or from a run's previews.

Each stain is stretched by itself over the whole field (``images.preview``), so a cell cut out of
such a picture looks as it does in its field.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from hpacells.core.channels import CHANNELS, Channel
from hpacells.core.errors import ImageError
from hpacells.core.fov import FieldOfView
from hpacells.images.preview import composite_rgb, grey_preview, strip_step
from hpacells.predict.run_folder import COMPOSITE, PREVIEWS, STAINS

__all__ = ["StainPictures", "picture_stains", "read_previews"]

Picture = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class StainPictures:
    """Pictures of one field, all of one size, of the proportions of its masks.

    Parameters
    ----------
    composite
        ``(h, w, 3)`` uint8 RGB.
    stains
        Each stain's ``(h, w)`` uint8, in the order in which they are to be shown.
    """

    composite: Picture
    stains: Mapping[Channel, Picture]

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of the pictures."""
        return self.composite.shape[0], self.composite.shape[1]


def picture_stains(
    fov: FieldOfView, *, max_side: int | None = None, stains: tuple[Channel, ...] = CHANNELS
) -> StainPictures:
    """Make pictures of a field's own pixels.

    Parameters
    ----------
    fov
        The field.
    max_side
        Longest side of the pictures in pixels; None: as the field.
    stains
        Those that the composite consists of and that are shown by themselves, at least one.
    """
    side = max_side or max(fov.height, fov.width)
    return StainPictures(
        composite_rgb(fov, max_side=side, channels=stains),
        {stain: grey_preview(fov, stain, max_side=side) for stain in stains},
    )


def read_previews(run_folder: Path, fov_id: str) -> StainPictures:
    """Read the small pictures that a run keeps of a field.

    Raises
    ------
    ImageError
        When one is missing or damaged, or the two do not fit each other.
    """
    composite = _read_jpeg(run_folder / PREVIEWS / COMPOSITE / f"{fov_id}.jpg", in_colour=True)
    path = run_folder / PREVIEWS / STAINS / f"{fov_id}.jpg"
    strip = _read_jpeg(path, in_colour=False)
    height, width = composite.shape[:2]
    step = strip_step(height)
    if strip.shape != (step * len(CHANNELS), width):
        raise ImageError(
            f"{path}: expected {len(CHANNELS)} planes of {height} x {width} below each other, got "
            f"a picture {strip.shape}. Make the run again."
        )
    planes = {stain: strip[stain.position * step :][:height] for stain in CHANNELS}
    return StainPictures(composite, planes)


def _read_jpeg(path: Path, *, in_colour: bool) -> Picture:
    content = np.fromfile(path, np.uint8) if path.is_file() else np.zeros(0, np.uint8)
    flag = cv2.IMREAD_COLOR_RGB if in_colour else cv2.IMREAD_GRAYSCALE
    picture = cv2.imdecode(content, flag) if len(content) else None
    if picture is None:
        raise ImageError(
            f"{path}: expected the field's preview, it is missing or damaged. Make the run again."
        )
    return np.asarray(picture, np.uint8)

"""How a cell is cut out of its field: the crop's size, its scale, what stands outside the cell."""

from dataclasses import dataclass
from typing import Literal

from hpacells.core.errors import ConfigError

__all__ = ["CropSpec"]


@dataclass(frozen=True)
class CropSpec:
    """A square window of fixed physical size.

    Parameters
    ----------
    crop_px
        Side ``S`` in pixels of the crop, 16-1024.
    pixel_size_um
        µm per pixel of the crop (not of the field).
    outside
        ``zero``: pixels outside the cell are 0 when the classifier sees them; ``keep``: they stay.
        A store holds the pixels and the mask, so both can be made from it.
    """

    crop_px: int
    pixel_size_um: float
    outside: Literal["keep", "zero"] = "zero"

    def __post_init__(self) -> None:
        if not 16 <= self.crop_px <= 1024:
            raise ConfigError(f"--crop-px: expected 16-1024 pixels, got {self.crop_px}")
        if not 0.02 <= self.pixel_size_um <= 2.0:
            raise ConfigError(f"crop pixel size: expected 0.02 to 2 µm, got {self.pixel_size_um}")

"""Settings of the published segmenters, in µm where they are lengths or areas."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

__all__ = ["AtlasConfig", "CellposeConfig", "Device", "InstansegConfig"]

Device = Literal["cpu", "cuda"]


class _AdapterConfig(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    device: Device = "cpu"
    """Where the network runs; a GPU that is not there is an error."""

    min_cell_um2: float = Field(default=40.0, ge=0)
    """Smaller cells that the frame does not cut are debris, in µm²."""


class AtlasConfig(_AdapterConfig):
    """How cells are read from the maps of the atlas's networks."""

    pixel_um: float = Field(default=0.32, ge=0.1, le=1.0)
    """Pixel size that the networks see: a quarter of the atlas's 0.08 µm, in µm."""

    nucleus_level: float = Field(default=0.5, gt=0, lt=1)
    """Value of the nucleus map above which a pixel is nucleus."""

    cell_level: float = Field(default=0.5, gt=0, lt=1)
    """Value of the cell map above which a pixel is cell."""

    min_nucleus_um2: float = Field(default=25.0, ge=0)
    """Smaller nuclei that the frame does not cut are debris, in µm²."""

    tile_px: int = Field(default=1280, ge=64, le=8192)
    """Side of the tiles that larger working images are computed in, without their margins."""


class CellposeConfig(_AdapterConfig):
    """How Cellpose is asked."""

    pixel_um: float = Field(default=0.5, ge=0.1, le=2.0)
    """Pixel size that the network sees, in µm: nuclei are then 20 to 40 px across and cells 40 to
    100, inside the 7.5 to 120 px that it was trained on."""


class InstansegConfig(_AdapterConfig):
    """How InstanSeg is asked."""

    pixel_um: float = Field(default=0.5, ge=0.1, le=2.0)
    """Pixel size that the network sees and was trained at, in µm."""

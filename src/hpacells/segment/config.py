"""Settings of the segmenters, all in µm so that they hold at any pixel size."""

from pydantic import BaseModel, ConfigDict, Field, model_validator

__all__ = ["MeasureConfig", "SegmentConfig", "UnetConfig"]


class SegmentConfig(BaseModel):
    """How nuclei and cell bodies are found without weights."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    working_pixel_um: float = Field(default=0.32, ge=0.1, le=1.0)
    """Pixel size that fields are brought to before anything is looked for, in µm; a field that is
    coarser than this is worked on as it is."""

    min_contrast: float = Field(default=0.008, gt=0, lt=1)
    """Share of the full scale that a stain must span to be used; below it the stain is blank."""

    nucleus_blur_um: float = Field(default=0.5, gt=0, le=5)
    """Standard deviation of the Gaussian that the nucleus stain is smoothed with, in µm."""

    nucleus_level: float = Field(default=0.4, gt=0, lt=1)
    """Where the edge of a nucleus lies between the background (0) and its own brightness (1)."""

    nucleus_even_um: float = Field(default=0.5, ge=0, le=5)
    """Standard deviation of the Gaussian that evens a nucleus out (nucleoli, chromatin) before
    touching nuclei are split, in µm."""

    nucleus_neck: float = Field(default=0.6, gt=0, le=1)
    """Two nuclei that touch are split when the neck between them is narrower than this share of
    the smaller one's width; 1 splits at every neck."""

    min_split_um2: float = Field(default=45.0, ge=0)
    """A part smaller than this is no nucleus of its own: it goes back to the one it touches, so
    that fragments and lobes stay together, in µm²."""

    min_nucleus_um2: float = Field(default=25.0, ge=0)
    """Smaller nuclei are debris, in µm²."""

    min_border_nucleus_um2: float = Field(default=8.0, ge=0)
    """The same for nuclei that the frame cuts, in µm²."""

    body_blur_um: float = Field(default=0.6, gt=0, le=5)
    """Standard deviation of the Gaussian that microtubules and ER are smoothed with, in µm."""

    body_level: float = Field(default=0.7, gt=0, le=2)
    """The cells' threshold as a share of Otsu's threshold of the log intensities: under 1, for
    bodies are dim at their edges."""

    body_level_range: tuple[float, float] = (0.015, 0.10)
    """Least and most that the cells' threshold can be, as shares of the bright end of the stains:
    a field without background would put Otsu's threshold inside the cells."""

    body_gap_um: float = Field(default=0.5, ge=0, le=5)
    """Gaps in a cell body up to about twice this width are closed, in µm."""

    body_thin_um: float = Field(default=0.7, ge=0, le=5)
    """Threads thinner than about twice this are cut off the cell bodies, in µm."""

    min_body_ring_um: float = Field(default=1.0, ge=0, le=10)
    """Every cell holds at least its nucleus and a ring of this width around it, in µm."""

    max_reach_um: float = Field(default=45.0, gt=0, le=500)
    """No part of a cell is farther from its nucleus than this, in µm."""

    valley_weight_um: float = Field(default=50.0, ge=0, le=500)
    """How a border between touching cells is drawn: the way from the nucleus in µm, against the
    depth of the dark valley between the cells times this many µm. 0: halfway."""

    valley_blur_um: float = Field(default=0.8, gt=0, le=10)
    """Standard deviation of the Gaussian that leaves of the stains' texture only what is wide
    enough to be a valley between cells, in µm."""

    min_cell_um2: float = Field(default=40.0, ge=0)
    """Smaller cells that the frame does not cut are debris, in µm²."""

    @model_validator(mode="after")
    def _check_ranges(self) -> "SegmentConfig":
        low, high = self.body_level_range
        if not 0 < low <= high < 1:
            raise ValueError(
                f"body_level_range: expected 0 < least <= most < 1, got {self.body_level_range}"
            )
        return self


class UnetConfig(BaseModel):
    """How cells are read from the maps of the network, and how large images are cut."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    cell_level: float = Field(default=0.5, gt=0, lt=1)
    """Probability of being a cell from which on a pixel is one."""

    nucleus_level: float = Field(default=0.5, gt=0, lt=1)
    """The same for nuclei."""

    seed_level: float = Field(default=0.5, gt=0, lt=1)
    """The same for seeds: each connected region above it grows into one cell."""

    faint_seed_level: float = Field(default=0.25, gt=0, lt=1)
    """The level for a place large enough for a cell in which no seed reaches ``seed_level``."""

    border_level: float = Field(default=0.5, gt=0, lt=1)
    """Probability of being a border from which on a pixel parts such places."""

    min_seed_um2: float = Field(default=1.5, ge=0)
    """Smaller seeds are noise, in µm²."""

    merge_border: float = Field(default=0.2, ge=0, lt=1)
    """Two cells are one when the border's probability along their common edge is below this on
    average: the nuclei of one cell got a seed each."""

    smooth_um: float = Field(default=0.32, ge=0, le=5)
    """Standard deviation of the Gaussian that the cells' map is smoothed with, in µm."""

    min_cell_um2: float = Field(default=40.0, ge=0)
    """Smaller cells that the frame does not cut are debris, in µm²."""

    min_nucleus_um2: float = Field(default=8.0, ge=0)
    """Smaller pieces of nucleus inside a cell are dropped, in µm²."""

    tile_px: int = Field(default=1280, ge=64, le=8192)
    """Side of the tiles that a working image is computed in, without their margins; up to 1536
    working pixels it is computed in one piece."""

    @model_validator(mode="after")
    def _check_levels(self) -> "UnetConfig":
        if self.faint_seed_level > self.seed_level:
            raise ValueError(
                f"faint_seed_level: expected at most seed_level {self.seed_level}, "
                f"got {self.faint_seed_level}"
            )
        return self


class MeasureConfig(BaseModel):
    """What is too small to be a cell."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    min_cell_um2: float = Field(default=40.0, ge=0)
    """A smaller cell is debris, in µm²."""

    min_bare_cell_um2: float = Field(default=120.0, ge=0)
    """The same for a cell without a nucleus in a field whose cells have nuclei, in µm²."""

"""Settings of the segmenters, all in µm so that they hold at any pixel size."""

from itertools import pairwise
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

__all__ = ["BorderPolicy", "MeasureConfig", "QualityConfig", "SegmentConfig", "UnetConfig"]

BorderPolicy = Literal["keep", "flag", "reject"]
"""What becomes of cells that the frame cuts: ``keep``: they are ok like all others; ``flag``: their
status is border; ``reject``: that, and those all but certainly more than half outside are
rejected."""


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

    cell_level: float = Field(default=0.8, gt=0, lt=1)
    """Probability of being a cell from which on a pixel is one. High, so that outlines end where a
    cell leaves the focus and not where its glow ends."""

    nucleus_level: float = Field(default=0.5, gt=0, lt=1)
    """The same for nuclei."""

    seed_level: float = Field(default=0.5, gt=0, lt=1)
    """The same for seeds: each connected region above it grows into one cell."""

    split_levels: tuple[float, ...] = (0.8, 0.9, 0.95, 0.98, 0.99, 0.995, 0.998, 0.999)
    """A seed is parted where at one of these levels it falls into regions as large as nuclei: two
    nuclei are one cell's only where the network is certain all the way from one to the other. In
    real dense fields nuclei of neighbours lie closer together than in the simulated ones that the
    network has seen. Rising, above ``seed_level``; none: seeds are never parted."""

    min_split_um2: float = Field(default=20.0, ge=0)
    """Smaller regions of a seed do not part it, in µm²."""

    faint_seed_level: float = Field(default=0.25, gt=0, lt=1)
    """The level for a place large enough for a cell in which no seed reaches ``seed_level``."""

    border_level: float = Field(default=0.5, gt=0, lt=1)
    """Probability of being a border from which on a pixel parts such places."""

    min_seed_um2: float = Field(default=1.5, ge=0)
    """Smaller seeds are noise, in µm²."""

    merge_border: float = Field(default=0.1, ge=0, lt=1)
    """Two cells are one when the border's probability along their common edge is below this on
    average: the nuclei of one cell got a seed each."""

    max_condensed_um2: float = Field(default=25.0, ge=0)
    """Two touching cells with no more nucleus than this each, alike in size and far smaller than
    the field's other nuclei, are one that is about to divide, its chromosomes parted and condensed,
    in µm²; 0: they stay two."""

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
        levels = (self.seed_level, *self.split_levels, 1.0)
        if any(low >= high for low, high in pairwise(levels)):
            raise ValueError(
                f"split_levels: expected rising levels between seed_level {self.seed_level} and 1, "
                f"got {self.split_levels}"
            )
        return self


class QualityConfig(BaseModel):
    """From where on something is wrong with a cell or a field: the ``qc_`` columns."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    area_range_um2: tuple[float, float] = (80.0, 6000.0)
    """A cell outside these is an area outlier in any field, in µm²; ordinary lines' medians lie
    between 250 and 1400."""

    area_spreads: float = Field(default=3.5, gt=0)
    """An area outlier lies more than this many robust standard deviations of the logarithm from
    the median of the field's whole cells."""

    min_area_spread: float = Field(default=0.25, gt=0)
    """That standard deviation is taken to be at least this, so that even fields have none by
    chance: 3.5 times it is a factor of 2.4."""

    min_reference_cells: int = Field(default=8, ge=3)
    """With fewer whole cells in the field, only ``area_range_um2`` decides."""

    focus_pixel_um: float = Field(default=0.32, gt=0, le=1)
    """Pixel size that sharpness is measured at, in µm, the ``unet`` segmenter's; the field's own
    where coarser."""

    max_focus_pixel_um: float = Field(default=0.4, gt=0, le=2)
    """Coarser fields do not show whether they are sharp: no cell is out of focus, in µm."""

    min_sharpness: float = Field(default=0.35, ge=0)
    """A cell is out of focus when the sharpness (fine over coarse structure) of its microtubules
    and of its ER is below this. Sharp cells have 0.5 to 1.4, the same ones blurred by a Gaussian
    of 0.4 µm 0.3 to 0.7, of 0.8 µm 0.1 to 0.3."""

    min_structure: float = Field(default=0.006, ge=0)
    """Least coarse structure (root mean square, share of the full scale) that a stain must have in
    a cell for its sharpness to count."""

    saturation_level: float = Field(default=0.98, gt=0, le=1)
    """Grey values from this share of the full scale on are saturated; JPEG ripples the top."""

    max_saturated_share: float = Field(default=0.05, ge=0, lt=1)
    """A cell is saturated when more than this share of it is so in microtubules, ER or protein."""

    max_saturated_nucleus: float = Field(default=0.25, ge=0, lt=1)
    """The same for the nucleus stain, as a share of the nucleus."""

    merge_pixel_um: float = Field(default=0.5, gt=0, le=2)
    """Pixel size that the shapes of cells are looked at for merges, in µm."""

    min_second_nucleus: float = Field(default=0.4, gt=0, le=1)
    """Parts of nucleus count as nuclei from this share of the field's median nucleus on."""

    max_nuclei_gap_um: float = Field(default=8.0, gt=0)
    """Two nuclei farther apart than this belong to two cells, in µm."""

    min_neck: float = Field(default=0.8, gt=0, le=1)
    """A cell with two nuclei is two cells when the neck between them is narrower than this share
    of what the narrower side is wide at its nucleus."""

    stain_pixel_um: float = Field(default=0.64, gt=0, le=2)
    """Pixel size that stains are compared at, in µm; the field's own where coarser."""

    max_stain_pixel_um: float = Field(default=1.3, gt=0, le=5)
    """In coarser fields nuclei have no shape: stains are not compared, in µm."""

    nucleus_area_range_um2: tuple[float, float] = (40.0, 700.0)
    """What is as large as a nucleus, in µm²."""

    min_like_nuclei: int = Field(default=3, ge=1)
    """A stain with fewer shapes like nuclei is not taken for the nucleus stain."""

    @model_validator(mode="after")
    def _check_ranges(self) -> "QualityConfig":
        for name in ("area_range_um2", "nucleus_area_range_um2"):
            low, high = getattr(self, name)
            if not 0 <= low < high:
                raise ValueError(f"{name}: expected 0 <= least < most, got {(low, high)}")
        return self


class MeasureConfig(BaseModel):
    """Which cells count, and what is said of their quality."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    min_cell_um2: float = Field(default=40.0, ge=0)
    """A smaller cell is debris, in µm²."""

    min_bare_cell_um2: float = Field(default=120.0, ge=0)
    """The same for a cell without a nucleus in a field whose cells have nuclei, in µm²."""

    border: BorderPolicy = "reject"
    """What becomes of cells that the frame cuts."""

    min_chance_inside: float = Field(default=0.1, ge=0, le=1)
    """``reject``: a cell less likely than this to be at least half inside the frame is rejected.
    Low: a cell that counts and is lost costs more than one too many, which weighs little in the
    submission."""

    quality: QualityConfig = Field(default_factory=QualityConfig)
    """From where on something is wrong with a cell or a field."""

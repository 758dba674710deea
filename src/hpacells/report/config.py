"""Settings of the report page and of figures."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from hpacells.images.outlines import INSET_PX, TOLERANCE_PX

__all__ = ["FigureSettings", "ReportSettings"]


class ReportSettings(BaseModel):
    """What the report page shows and how large it may become."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    fields_per_page: int = Field(default=100, ge=1)
    """Fields shown with their picture and cells in one file."""

    max_pages: int = Field(default=10, ge=1)
    """Files of a larger run, the most variable fields first; the other fields are rows only."""

    map: Literal["pca", "umap"] = "pca"
    """How embeddings become a map of cells; umap needs the extra of that name, and time."""

    max_listed_fields: int = Field(default=5000, ge=1)
    """Rows of the table of fields, and of the table of failed fields."""

    max_associations: int = Field(default=200, ge=0)
    """Rows of the table of what goes with variation, those of the smallest q."""

    min_score: float = Field(default=0.3, ge=0.0, le=1.0)
    """Score from which a location is listed for a cell or a field; the top one always is."""

    few_cells: int = Field(default=5, ge=1)
    """Fewer ok cells than this in a field: the page warns."""

    outline_tolerance_px: float = Field(default=TOLERANCE_PX, ge=0.0)
    """How far a drawn outline may leave the mask's, in pixels of the preview."""

    outline_inset_px: float = Field(default=INSET_PX, ge=0.0)
    """How far inside the mask's edge an outline is drawn, in pixels of the preview."""

    max_image_bytes: int = Field(default=380_000, ge=2000)
    """A field's picture above this many bytes is compressed further."""


class FigureSettings(BaseModel):
    """How a figure of a field or of a cell is drawn."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    width_mm: float = Field(default=180.0, ge=40.0, le=1000.0)
    """Width of the whole figure; a journal's page has about 180 mm, one column 85."""

    dpi: int = Field(default=300, ge=50, le=1200)
    """Pixels per inch of what is pixels: a PNG, and the pictures in a PDF or SVG."""

    outlines: bool = True
    """Whether cells are outlined."""

    names: Literal["full", "id", "none"] = "full"
    """What is written into each outlined cell: id and short name of its location, the id alone,
    nothing."""

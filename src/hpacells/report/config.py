"""Settings of the report page."""

from pydantic import BaseModel, ConfigDict, Field

__all__ = ["ReportSettings"]


class ReportSettings(BaseModel):
    """What the report page shows and how large it may become."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    max_pictured_fields: int = Field(default=100, ge=0)
    """Fields shown with their picture and cells; of a larger run, the most variable ones."""

    max_listed_fields: int = Field(default=5000, ge=1)
    """Rows of the table of fields, and of the table of failed fields."""

    min_score: float = Field(default=0.3, ge=0.0, le=1.0)
    """Score from which a location is listed for a cell or a field; the top one always is."""

    few_cells: int = Field(default=5, ge=1)
    """Fewer ok cells than this in a field: the page warns."""

    outline_tolerance_px: float = Field(default=0.6, ge=0.0)
    """How far a drawn outline may leave the mask's, in pixels of the preview."""

    outline_inset_px: float = Field(default=1.0, ge=0.0)
    """How far inside the mask's edge an outline is drawn, in pixels of the preview."""

    max_image_bytes: int = Field(default=190_000, ge=2000)
    """A preview above this many bytes is compressed further (two images a field)."""

"""Settings of a review: what is shown of a cell, and where the page is served."""

from pydantic import BaseModel, ConfigDict, Field

__all__ = ["ReviewSettings", "ServerSettings"]


class ReviewSettings(BaseModel):
    """What experts are shown."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    min_score: float = Field(default=0.5, ge=0.0, le=1.0)
    """Score from which a location is proposed for a cell; the top one always is."""

    window_share: float = Field(default=2.0, ge=1.0)
    """Side of the square that is cut out around a cell, in longest sides of its box."""

    window_px: int = Field(default=640, ge=32)
    """Longest side of that picture in pixels; a larger window is shrunk."""

    jpeg_quality: int = Field(default=88, ge=1, le=100)
    """Of that picture."""

    kept_fields: int = Field(default=6, ge=1)
    """Fields whose stains stay in memory, 24 MB each at 2048²; others are read again."""

    kept_pictures: int = Field(default=400, ge=1)
    """Pictures of cells that stay in memory, about 0.2 MB each."""


class ServerSettings(BaseModel):
    """Where the page is served."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    host: str = "127.0.0.1"
    """Address to listen on; any but this machine's own asks for a token."""

    port: int = Field(default=8642, ge=0, le=65535)
    """Port to listen on; 0: any free one."""

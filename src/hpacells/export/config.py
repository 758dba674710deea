"""Settings of an export."""

from enum import StrEnum
from pathlib import Path
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, model_validator

from hpacells.core.errors import ConfigError

__all__ = ["ExportFormat", "ExportSettings"]


class ExportFormat(StrEnum):
    """What a run folder can be written as."""

    KAGGLE = "kaggle"
    CSV = "csv"
    GEOJSON = "geojson"
    OME_ZARR = "ome-zarr"
    ANNDATA = "anndata"
    COCO = "coco"
    PROFILES = "profiles"
    IMAGEJ = "imagej"


_OPTION_OF = {
    "sample_submission": ExportFormat.KAGGLE,
    "gz": ExportFormat.GEOJSON,
    "ngff": ExportFormat.OME_ZARR,
    "labels_only": ExportFormat.OME_ZARR,
    "images": ExportFormat.OME_ZARR,
}


class ExportSettings(BaseModel):
    """What is written, and how."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    to: ExportFormat
    """The format."""

    sample_submission: Path | None = None
    """kaggle: a CSV whose IDs say which images are submitted, in which order."""

    gz: bool = False
    """geojson: compress each file."""

    ngff: Literal["0.4", "0.5"] = "0.5"
    """ome-zarr: version of the format; 0.4 is Zarr version 2, 0.5 is Zarr version 3."""

    labels_only: bool = False
    """ome-zarr: leave the images out."""

    images: Path | None = None
    """ome-zarr: where the images lie now; None: where the run found them."""

    @model_validator(mode="after")
    def _check_options(self) -> Self:
        for name, owner in _OPTION_OF.items():
            if self.to is not owner and name in self.model_fields_set:
                flag = "--" + name.replace("_", "-")
                raise ConfigError(f"{flag} belongs to '--to {owner}', not to '--to {self.to}'.")
        if self.labels_only and self.images is not None:
            raise ConfigError("--images and --labels-only contradict each other. Leave one out.")
        return self

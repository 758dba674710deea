"""What decides a run's results; stored in ``settings.json``, and the same for as long as it lives.

How many workers and threads do the work is not a setting: it cannot change a result (``plan``).
"""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from hpacells import __version__
from hpacells.core.channels import Channel
from hpacells.core.provenance import sha256_file
from hpacells.runtime.model_folder import SPEC_FILE, ModelFolder
from hpacells.runtime.session import PRECISION, RUNTIME
from hpacells.segment.config import BorderPolicy, MeasureConfig
from hpacells.segment.registry import DEFAULT_SEGMENTER, Segmenter

__all__ = ["RUN_FORMAT", "RunSettings", "describe_settings"]

RUN_FORMAT = 3
"""Version of a run folder's files; a folder of another version is not continued."""


class RunSettings(BaseModel):
    """What the user asks of a run."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    images: str
    """Where the images come from: an absolute path, or a URL."""

    model: str
    """Path of the model folder."""

    segmenter: str = DEFAULT_SEGMENTER
    """Name in the registry of segmenters."""

    missing: tuple[Channel, ...] = ()
    """Stains that were not acquired; the segmenter does not look at them, the classifier gets
    zeros."""

    border: BorderPolicy = "reject"
    """What becomes of cells that the frame cuts."""

    pixel_size_um: float | None = None
    """µm per pixel of every field; None: by the rule of the format."""

    channels: str | None = None
    """Which channel is which stain in files of several; None: as the files name them."""

    bit_depth: int | None = None
    """Bits of grey values in 16-bit files; None: as tables and files say, or by a look at them."""

    runtime: Literal["onnx"] = RUNTIME
    """What runs the network."""

    precision: Literal["float32"] = PRECISION
    """Of the network's arithmetic."""

    def measure_config(self) -> MeasureConfig:
        """Say which cells count."""
        return MeasureConfig(border=self.border)


def describe_settings(
    settings: RunSettings, model: ModelFolder, segmenter: Segmenter
) -> dict[str, Any]:
    """Give everything that a continued run must agree with, as JSON-ready values.

    The model counts by its content: the same files in another place are the same model.
    """
    return {
        "format": RUN_FORMAT,
        "hpacells": __version__,
        "images": settings.images,
        "model_id": model.model_id,
        "model_description": model.spec.description,
        "model_sha256": sha256_file(model.path / SPEC_FILE),
        "segmenter": settings.segmenter,
        "segmenter_settings": segmenter.settings,
        "measure_settings": settings.measure_config().model_dump(mode="json"),
        "pixel_size_um": settings.pixel_size_um,
        "channels": settings.channels,
        "bit_depth": settings.bit_depth,
        "runtime": settings.runtime,
        "precision": settings.precision,
    }

"""What decides a run's results; stored in ``settings.json``, and the same for as long as it lives.

How many workers and threads do the work is not a setting: it cannot change a result (``plan``).
"""

from typing import Any, Self

from pydantic import BaseModel, ConfigDict, model_validator

from hpacells import __version__
from hpacells.core.channels import Channel
from hpacells.core.provenance import sha256_file
from hpacells.predict.networks import Networks, RuntimeName
from hpacells.runtime.model_folder import SPEC_FILE, ModelFolder
from hpacells.runtime.session import Device, Precision
from hpacells.segment.config import BorderPolicy, MeasureConfig
from hpacells.segment.registry import DEFAULT_SEGMENTER, Segmenter

__all__ = ["RUN_FORMAT", "RunSettings", "describe_settings"]

RUN_FORMAT = 4
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

    runtime: RuntimeName = "onnx"
    """What runs the networks."""

    device: Device = "cpu"
    """Where they run."""

    precision: Precision = "float32"
    """Of their arithmetic."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        _ = self.networks  # refuses what does not go together
        return self

    @property
    def networks(self) -> Networks:
        """Say how the networks are run."""
        return Networks(self.runtime, self.device, self.precision)

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
        **settings.networks.describe(),
    }

"""The weights of the published segmenters, by the adapters' names.

What is known of them stands in ``runtime/published.yaml``. Of the atlas's networks the publisher
gives checksums, in bioimage.io's descriptions. Of Cellpose's the one there was found at others who
use the same file, not at its publisher. Of InstanSeg's none was found: the first sight is written
down instead (``runtime.published_weights``).
"""

from collections.abc import Mapping
from types import MappingProxyType

from hpacells.runtime.published_models import known_models
from hpacells.runtime.published_weights import PublishedWeights

__all__ = [
    "ATLAS_WEIGHTS",
    "CELLPOSE_WEIGHTS",
    "CELL_FILE",
    "INSTANSEG_WEIGHTS",
    "NUCLEUS_FILE",
    "SEGMENTER_WEIGHTS",
]

NUCLEUS_FILE = "nuclei_model.pt"
CELL_FILE = "cell_model.pt"

_known = known_models()
ATLAS_WEIGHTS = _known["hpa-unet"].weights
CELLPOSE_WEIGHTS = _known["cellpose"].weights
INSTANSEG_WEIGHTS = _known["instanseg"].weights

SEGMENTER_WEIGHTS: Mapping[str, PublishedWeights] = MappingProxyType(
    {w.name: w for w in (ATLAS_WEIGHTS, CELLPOSE_WEIGHTS, INSTANSEG_WEIGHTS)}
)
"""Name of the segmenter → its weights."""

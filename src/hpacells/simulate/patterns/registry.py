"""Class id to pattern and brightness. A new location gets its function and its line here."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from hpacells.core.locations import LOCATION_KEYS
from hpacells.simulate.patterns import cytoplasmic, cytoskeleton, nuclear
from hpacells.simulate.stains import StainedCell
from hpacells.simulate.texture import FloatImage

__all__ = ["PATTERNS", "Pattern"]

Draw = Callable[[StainedCell, np.random.Generator], FloatImage]


@dataclass(frozen=True)
class Pattern:
    """How to draw a location, and its usual brightness beside the others in a mixture."""

    draw: Draw
    level: float


_BY_KEY: dict[str, Pattern] = {
    "nucleoplasm": Pattern(nuclear.nucleoplasm, 0.55),
    "nuclear_membrane": Pattern(nuclear.nuclear_membrane, 0.95),
    "nucleoli": Pattern(nuclear.nucleoli, 0.95),
    "nucleoli_fibrillar_center": Pattern(nuclear.fibrillar_centers, 1.25),
    "nuclear_speckles": Pattern(nuclear.nuclear_speckles, 0.95),
    "nuclear_bodies": Pattern(nuclear.nuclear_bodies, 1.15),
    "endoplasmic_reticulum": Pattern(cytoplasmic.endoplasmic_reticulum, 0.7),
    "golgi_apparatus": Pattern(cytoplasmic.golgi_apparatus, 1.0),
    "intermediate_filaments": Pattern(cytoskeleton.intermediate_filaments, 0.8),
    "actin_filaments": Pattern(cytoskeleton.actin_filaments, 0.8),
    "microtubules": Pattern(cytoskeleton.microtubules, 0.8),
    "mitotic_spindle": Pattern(cytoskeleton.mitotic_spindle, 1.0),
    "centrosome": Pattern(cytoskeleton.centrosome, 1.25),
    "plasma_membrane": Pattern(cytoplasmic.plasma_membrane, 0.85),
    "mitochondria": Pattern(cytoplasmic.mitochondria, 0.9),
    "aggresome": Pattern(cytoplasmic.aggresome, 1.1),
    "cytosol": Pattern(cytoplasmic.cytosol, 0.45),
    "vesicles": Pattern(cytoplasmic.vesicles, 0.9),
}

PATTERNS: dict[int, Pattern] = {
    class_id: _BY_KEY[key] for class_id, key in enumerate(LOCATION_KEYS) if key in _BY_KEY
}
"""Every class but Negative, which draws nothing."""

"""Class id to pattern and brightness. A new location gets its module and its line here."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from hpacells.core.locations import LOCATION_KEYS
from hpacells.simulate.patterns import (
    actin_filaments,
    aggresome,
    centrosome,
    cytosol,
    endoplasmic_reticulum,
    golgi_apparatus,
    intermediate_filaments,
    microtubules,
    mitochondria,
    mitotic_spindle,
    nuclear_bodies,
    nuclear_membrane,
    nuclear_speckles,
    nucleoli,
    nucleoli_fibrillar_center,
    nucleoplasm,
    plasma_membrane,
    vesicles,
)
from hpacells.simulate.stains import StainedCell
from hpacells.simulate.texture import FloatImage

__all__ = ["PATTERNS", "Draw", "Pattern"]

Draw = Callable[[StainedCell, np.random.Generator, np.random.Generator], FloatImage]


@dataclass(frozen=True)
class Pattern:
    """How to draw a location.

    Parameters
    ----------
    draw
        Of its module.
    level
        Usual brightness beside the others in a mixture.
    grain
        Power of the antibody's grain: 1 on even areas, less on lines and dots, where the
        protein is dense.
    """

    draw: Draw
    level: float
    grain: float = 0.5


_BY_KEY: dict[str, Pattern] = {
    "nucleoplasm": Pattern(nucleoplasm.draw, 0.75, grain=0.7),
    "nuclear_membrane": Pattern(nuclear_membrane.draw, 0.95),
    "nucleoli": Pattern(nucleoli.draw, 0.85, grain=0.8),
    "nucleoli_fibrillar_center": Pattern(nucleoli_fibrillar_center.draw, 1.25),
    "nuclear_speckles": Pattern(nuclear_speckles.draw, 0.95),
    "nuclear_bodies": Pattern(nuclear_bodies.draw, 1.5),
    "endoplasmic_reticulum": Pattern(endoplasmic_reticulum.draw, 0.8, grain=1.0),
    "golgi_apparatus": Pattern(golgi_apparatus.draw, 1.2),
    "intermediate_filaments": Pattern(intermediate_filaments.draw, 0.85),
    "actin_filaments": Pattern(actin_filaments.draw, 0.85),
    "microtubules": Pattern(microtubules.draw, 0.85),
    "mitotic_spindle": Pattern(mitotic_spindle.draw, 1.0),
    "centrosome": Pattern(centrosome.draw, 1.5),
    "plasma_membrane": Pattern(plasma_membrane.draw, 0.9, grain=1.0),
    "mitochondria": Pattern(mitochondria.draw, 0.7, grain=1.2),
    "aggresome": Pattern(aggresome.draw, 1.5),
    "cytosol": Pattern(cytosol.draw, 0.65, grain=1.0),
    "vesicles": Pattern(vesicles.draw, 1.3),
}

PATTERNS: dict[int, Pattern] = {
    class_id: _BY_KEY[key] for class_id, key in enumerate(LOCATION_KEYS) if key in _BY_KEY
}
"""Every class but Negative, which draws nothing."""

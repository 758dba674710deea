"""Microtubules (class 10): the same network as the red stain.

Looks like the red stain seen through another antibody: patchy, beaded, sometimes mostly the
stable filaments near the nucleus, sometimes with a bright organising centre and a cytosolic haze of
unpolymerised tubulin.
"""

import numpy as np

from hpacells.simulate.patterns.ground import even_substance
from hpacells.simulate.stains import StainedCell
from hpacells.simulate.texture import FloatImage, blur_um, smooth_noise, to_unit

__all__ = ["draw"]


def draw(
    stained: StainedCell, antibody: np.random.Generator, rng: np.random.Generator
) -> FloatImage:
    """Follow the microtubules of the red stain, with an antibody's unevenness."""
    cell = stained.anatomy
    power = antibody.uniform(0.9, 1.6)
    central = max(0.0, antibody.uniform(-0.6, 0.8))
    patchy = antibody.uniform(0.1, 0.35)
    beaded = antibody.uniform(0.1, 0.4)
    haze = max(0.0, antibody.uniform(-0.1, 0.12))
    clear = antibody.uniform(0.1, 0.6)
    uneven = 1 + patchy * smooth_noise(cell.shape, cell.pixel_um, 3.0, rng=rng)
    uneven += beaded * smooth_noise(cell.shape, cell.pixel_um, 0.5, rng=rng)
    crowd = blur_um(stained.microtubules, 0.8, cell.pixel_um)
    lines = np.maximum(stained.microtubules - np.float32(clear) * crowd, 0)
    image = to_unit(lines, 97) ** np.float32(power)
    image = image * np.clip(uneven, 0.15, None)
    if central > 0 and not cell.mitotic:
        image *= 1 - central * (1 - cell.height)
    image += haze * even_substance(cell, flat=0.3) * (1 - 0.5 * cell.in_nucleus)
    return (image * cell.body).astype(np.float32)

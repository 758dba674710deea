"""Mitotic spindle (class 11): the bipolar bundle of fibres of a dividing cell.

Looks like a spindle between two poles with the chromosomes in its middle; some proteins sit on
the fibres, some gather at the poles, and most leave a haze in the rounded cell. Cells that do not
divide show nothing.
"""

import numpy as np

from hpacells.simulate.marks import draw_spots
from hpacells.simulate.patterns.ground import even_substance
from hpacells.simulate.stains import StainedCell
from hpacells.simulate.texture import FloatImage, to_unit
from hpacells.simulate.tubules import spindle_fibres

__all__ = ["draw"]


def draw(
    stained: StainedCell, antibody: np.random.Generator, rng: np.random.Generator
) -> FloatImage:
    """Draw the spindle of a dividing cell; nothing in others."""
    cell = stained.anatomy
    shared = antibody.uniform(0.3, 0.8)
    at_poles = max(0.0, antibody.uniform(-0.6, 1.2))
    haze = antibody.uniform(0.02, 0.3)
    if not cell.mitotic:
        return np.zeros(cell.shape, np.float32)
    image = shared * stained.microtubules + (1 - shared) * spindle_fibres(cell, rng)
    image = to_unit(image.astype(np.float32), 97)
    if at_poles > 0:
        image += draw_spots(
            cell.shape,
            cell.poles,
            sigmas_um=np.full(len(cell.poles), rng.uniform(0.4, 0.8)),
            levels=np.full(len(cell.poles), at_poles),
            pixel_um=cell.pixel_um,
        )
    image += haze * even_substance(cell, flat=0.5) * (1 - 0.6 * cell.in_nucleus)
    return (image * cell.body).astype(np.float32)

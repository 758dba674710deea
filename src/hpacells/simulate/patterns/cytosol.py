"""Cytosol (class 16): the fluid around the organelles.

Looks like a smooth or granular filling of the cytoplasm, brightest where the cell is thick, around
the nucleus and along bundles of microtubules, fading at its thin margin; vacuoles are holes in it.
The nucleus is darker, equal or a little brighter, as the protein is kept out or let in; that share
belongs to the antibody, with some scatter between cells.
"""

import numpy as np

from hpacells.simulate.marks import draw_spots
from hpacells.simulate.patterns.ground import (
    along_tubules,
    draw_tubule_share,
    even_substance,
    thickness,
)
from hpacells.simulate.stains import StainedCell
from hpacells.simulate.texture import FloatImage, smooth_noise

__all__ = ["draw"]


def draw(
    stained: StainedCell, antibody: np.random.Generator, rng: np.random.Generator
) -> FloatImage:
    """Fill the cytoplasm, with the nucleus in the share of this antibody."""
    cell = stained.anatomy
    usual = float(np.clip(np.exp(antibody.normal(-0.95, 0.45)), 0.08, 1.0))
    flat = antibody.uniform(0.1, 0.75)
    around_er = antibody.uniform(0.0, 0.3)
    clumped = antibody.uniform(0.05, 0.25)
    following = antibody.uniform(0.2, 1.0)
    holes = antibody.uniform(0.0, 0.3)
    on_tubules = draw_tubule_share(antibody)
    inside = min(usual * float(np.exp(rng.normal(0.0, 0.2))), 1.4)
    thick = even_substance(
        cell, flat=flat, rise_um=rng.uniform(0.4, 1.6), steep=rng.uniform(0.2, 1.0)
    )
    thick *= thickness(stained, length_um=rng.uniform(0.7, 2.0), power=following)
    ground = (1 - around_er) * thick + around_er * np.minimum(stained.er, 1.3)
    outer = ground * (1 - cell.in_nucleus) + inside * 0.8 * cell.in_nucleus
    level = 1 + clumped * smooth_noise(cell.shape, cell.pixel_um, rng.uniform(0.8, 2.6), rng=rng)
    level += rng.uniform(0.03, 0.2) * smooth_noise(
        cell.shape, cell.pixel_um, rng.uniform(3.0, 18.0), rng=rng
    )
    image = np.clip(level, 0.05, None) * (1 - 0.35 * inside * cell.nucleoli) * outer
    image *= along_tubules(stained, on_tubules)
    if rng.random() < holes:
        image *= 1 - np.minimum(_vacuoles(stained, rng), 0.85)
    return (image * cell.body).astype(np.float32)


def _vacuoles(stained: StainedCell, rng: np.random.Generator) -> FloatImage:
    """Draw round holes of 0.5-2 µm near the nucleus."""
    cell = stained.anatomy
    places = cell.random_places(cell.in_cytoplasm * cell.height, int(rng.integers(2, 16)), rng)
    return draw_spots(
        cell.shape,
        places,
        sigmas_um=rng.gamma(4.0, 0.12, len(places)),
        levels=np.full(len(places), 1.0),
        pixel_um=cell.pixel_um,
    )

"""Nucleoli, fibrillar centers (class 3): where ribosomal genes are read.

Look like one to a dozen small bright spots inside each nucleolus, sometimes strung like a necklace;
the nucleolus around them and the nucleoplasm carry a faint haze. Spot size and number belong to
the antibody; large nucleoli have more.
"""

import numpy as np

from hpacells.simulate.marks import draw_spots
from hpacells.simulate.stains import StainedCell
from hpacells.simulate.texture import FloatImage

__all__ = ["draw"]


def draw(
    stained: StainedCell, antibody: np.random.Generator, rng: np.random.Generator
) -> FloatImage:
    """Put a few small bright spots inside each nucleolus."""
    cell = stained.anatomy
    size_um = antibody.uniform(0.13, 0.28)
    crowd = antibody.uniform(0.4, 1.6)
    in_nucleolus = antibody.uniform(0.0, 0.28)
    haze = min(0.3, 0.04 * float(np.exp(antibody.normal(0.0, 0.8))))
    places = []
    for centre, radius in zip(cell.nucleolus_centres, cell.nucleolus_radii_um, strict=True):
        count = 1 + int(rng.poisson(crowd * radius**1.3))
        reach = 0.68 * radius * np.sqrt(rng.random(count)) / cell.pixel_um
        turn = rng.uniform(0, 2 * np.pi, count)
        places.append(centre + np.stack([reach * np.sin(turn), reach * np.cos(turn)], axis=1))
    if not places:
        return np.zeros(cell.shape, np.float32)
    spots = np.concatenate(places)
    image = draw_spots(
        cell.shape,
        spots,
        sigmas_um=size_um * rng.uniform(0.75, 1.3, len(spots)),
        levels=rng.uniform(0.45, 1.1, len(spots)),
        pixel_um=cell.pixel_um,
    )
    image = np.minimum(image, 1.4) + in_nucleolus * cell.nucleoli + haze * cell.in_nucleus
    return (image * cell.body).astype(np.float32)

"""Golgi apparatus (class 7): stacks of cisternae beside the centrosome.

Looks like a bright ribbon of short curved pieces at one side of the nucleus. By antibody and cell
state it is compact, spread out along the nucleus, or fragmented into mini-stacks; small carriers
are scattered through the cytoplasm and some of the protein is still in the ER.
"""

import numpy as np

from hpacells.simulate.filaments import Gait, draw_filaments, grow_paths
from hpacells.simulate.marks import draw_spots
from hpacells.simulate.patterns.ground import distance_from_um
from hpacells.simulate.stains import StainedCell
from hpacells.simulate.texture import FloatImage, blur_um, to_unit

__all__ = ["draw"]

_GAIT = Gait(step_um=0.3, wobble=0.35, edge_turn=1.0, nucleus_turn=1.2, curl=0.08)


def draw(
    stained: StainedCell, antibody: np.random.Generator, rng: np.random.Generator
) -> FloatImage:
    """Stack short ribbons beside the nucleus, on the centrosome's side."""
    cell = stained.anatomy
    width_um = antibody.uniform(0.32, 0.6)
    fragmenting = antibody.choice([0.08, 0.3, 0.8], p=[0.6, 0.25, 0.15])
    carriers = antibody.uniform(0.0, 30.0)
    in_er = max(0.0, antibody.uniform(-0.1, 0.16))
    broken = rng.random() < fragmenting
    spread_um = rng.uniform(2.2, 4.5) if broken else rng.uniform(1.0, 2.8)
    gap = distance_from_um(cell, cell.centrosome)
    close = np.exp(np.minimum(cell.nucleus_depth_um, 0) / np.float32(3.0 if broken else 1.8))
    room = np.exp(-0.5 * np.square(gap / np.float32(spread_um))) * close * cell.in_cytoplasm
    starts = cell.random_places(room, int(rng.integers(8, 28)), rng)
    radial = np.arctan2(*(starts - cell.centre).T)
    turned = radial + np.pi / 2 + rng.normal(0, 2.0 if broken else 0.6, len(starts))
    lengths = rng.uniform(0.5, 1.2, len(starts)) if broken else rng.uniform(1.2, 4.2, len(starts))
    paths = grow_paths(cell, starts, turned, lengths_um=lengths, gait=_GAIT, rng=rng)
    lines = draw_filaments(cell, paths, width_um=width_um, rng=rng, contrast=0.4)
    image = to_unit(blur_um(lines, 0.12, cell.pixel_um), 95)
    dust = cell.random_places(cell.in_cytoplasm * cell.height, int(rng.poisson(carriers)), rng)
    image += draw_spots(
        cell.shape,
        dust,
        sigmas_um=np.full(len(dust), 0.15),
        levels=rng.uniform(0.1, 0.45, len(dust)),
        pixel_um=cell.pixel_um,
    )
    image = np.minimum(image, 1.6) + in_er * stained.er
    return (image * (1 - 0.8 * cell.in_nucleus) * cell.body).astype(np.float32)

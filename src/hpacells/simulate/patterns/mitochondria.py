"""Mitochondria (class 14): threads and dots along the microtubules.

Look like short worm-like threads, long ones along the cell, a net, or dots where they are
fragmented; densest around the nucleus or at one side of it, thinning out towards the rim, over a
dark cell. Weak antibodies show only a brightening of the cytoplasm near the nucleus over a grainy
cell. Thickness, sharpness and background belong to the antibody; length and spread to the cell.
"""

import numpy as np

from hpacells.simulate.filaments import Gait, draw_filaments, grow_paths
from hpacells.simulate.patterns.ground import (
    distance_from_um,
    even_substance,
    thickness,
)
from hpacells.simulate.stains import StainedCell
from hpacells.simulate.texture import FloatImage, blur_um, smooth_noise, smoothstep, to_unit

__all__ = ["draw"]

_WORM = Gait(step_um=0.35, wobble=0.33, edge_turn=1.2, nucleus_turn=1.5, curl=0.08)
_THREAD = Gait(step_um=0.4, wobble=0.2, edge_turn=1.2, nucleus_turn=1.5, curl=0.04)


def draw(
    stained: StainedCell, antibody: np.random.Generator, rng: np.random.Generator
) -> FloatImage:
    """Scatter worm-like threads along the microtubules, denser around the nucleus."""
    cell = stained.anatomy
    width_um = antibody.uniform(0.15, 0.32)
    blurred = max(0.0, antibody.uniform(-0.9, 0.6))
    haze = min(0.5, 0.03 * float(np.exp(antibody.normal(0.0, 1.0))))
    inside = antibody.uniform(0.3, 2.4)
    over = 1 - min(0.6, float(antibody.exponential(0.15)))  # threads above and below the nucleus
    clumped = antibody.uniform(0.2, 1.2)
    fall_um = np.float32(rng.uniform(0.07, 0.36) * np.sqrt(cell.cytoplasm_um2 + 1))
    near = np.exp(np.minimum(cell.nucleus_depth_um + 0.4, 0) / fall_um)
    room = cell.in_cytoplasm * (0.03 + near) * smoothstep(cell.edge_um, 0.2, 1.4)
    thick = thickness(stained, length_um=1.2, power=0.5)
    clumps = smooth_noise(cell.shape, cell.pixel_um, rng.uniform(0.8, 2.5), rng=rng)
    room = room * thick * np.exp(np.float32(clumped) * clumps)
    if rng.random() < 0.4 and not cell.mitotic:  # gathered at one side, with the centrosome
        gap = distance_from_um(cell, cell.centrosome) / np.float32(rng.uniform(6.0, 14.0))
        room = room * (np.float32(0.15) + np.exp(-gap * gap))
    count = int(np.clip(rng.uniform(0.08, 0.45) * cell.cytoplasm_um2, 40, 500))
    starts = cell.random_places(room.astype(np.float32), count, rng)
    radial = np.arctan2(*(starts - cell.centre).T)
    around = np.pi / 2 if rng.random() < 0.5 else 0.0  # a ring about the nucleus, or rays
    look = rng.random()  # fragmented, worms, or long threads along the cell
    long = look > 0.75
    along = np.where(
        rng.random(len(starts)) < (0.7 if long else 0.3), cell.direction, radial + around
    )
    mean_um = 0.35 if look < 0.25 else rng.uniform(1.4, 2.8) if long else rng.uniform(0.6, 1.5)
    paths = grow_paths(
        cell,
        starts,
        along + rng.normal(0, 0.35 if long else 0.6, len(starts)),
        lengths_um=np.maximum(rng.gamma(3.0, mean_um, len(starts)), 0.6),
        gait=_THREAD if long else _WORM,
        rng=rng,
    )
    lines = draw_filaments(cell, paths, width_um=width_um, rng=rng, contrast=0.5)
    lines = (1 - blurred) * lines + blurred * blur_um(lines, 0.35, cell.pixel_um)
    image = np.minimum(to_unit(lines.astype(np.float32), 95), 1.5) * (1 - over * cell.in_nucleus)
    share = 1 - (1 - inside) * cell.in_nucleus
    image = image * (0.4 + 0.6 * cell.height)
    image += haze * even_substance(cell, flat=0.5, rise_um=0.8) * share
    return (image * cell.body).astype(np.float32)

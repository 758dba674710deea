"""Intermediate filaments (class 8): vimentin, keratins and their like.

Look like wavy, curling bundles thicker than microtubules. Vimentin is a mesh that is densest at
the nucleus; in some cells it collapses into a cage around it; keratin fills the cell with a net;
a few antibodies show long parallel bundles. The manner belongs to the antibody.
"""

import numpy as np

from hpacells.simulate.filaments import Gait, draw_filaments, grow_paths
from hpacells.simulate.stains import StainedCell
from hpacells.simulate.texture import FloatImage, blur_um, to_unit

__all__ = ["draw"]

_KINDS = {  # reach in µm, filaments per µm², mean length in µm, wobble, headings
    "mesh": ((3.0, 8.0), 0.09, (10.0, 18.0), 0.38, "around"),
    "cage": ((1.2, 2.4), 0.08, (8.0, 14.0), 0.40, "around"),
    "keratin": ((9.0, 20.0), 0.14, (7.0, 14.0), 0.46, "any"),
    "bundles": ((6.0, 14.0), 0.05, (14.0, 24.0), 0.16, "along"),
}


def draw(
    stained: StainedCell, antibody: np.random.Generator, rng: np.random.Generator
) -> FloatImage:
    """Draw wavy bundles: a mesh, a cage, a net or long bundles."""
    cell = stained.anatomy
    kind = str(antibody.choice(list(_KINDS), p=[0.45, 0.15, 0.25, 0.15]))
    width_um = antibody.uniform(0.24, 0.46)
    blurred = antibody.uniform(0.2, 0.9)
    reach, density, lengths, wobble, manner = _KINDS[kind]
    count = int(np.clip(density * rng.uniform(0.7, 1.3) * cell.cytoplasm_um2, 14, 150))
    near = np.exp(np.minimum(cell.nucleus_depth_um, 0) / np.float32(rng.uniform(*reach)))
    starts = cell.random_places(cell.in_cytoplasm * near * (cell.edge_um > 0.8), count, rng)
    headings = np.arctan2(*(starts - cell.centre).T) + rng.normal(0, 0.7, len(starts))
    if manner == "around":
        headings += np.pi / 2 * rng.choice([-1, 1], len(starts))
    elif manner == "along":
        headings = cell.direction + rng.normal(0, 0.35, len(starts))
    paths = grow_paths(
        cell,
        starts,
        headings,
        lengths_um=rng.gamma(4.0, rng.uniform(*lengths) / 4.0, len(starts)),
        gait=Gait(step_um=0.5, wobble=wobble, edge_turn=1.4, nucleus_turn=1.0, curl=0.10),
        rng=rng,
    )
    lines = draw_filaments(cell, paths, width_um=width_um, rng=rng, contrast=0.55)
    image = lines + blurred * blur_um(lines, 0.6, cell.pixel_um)
    over = 1 - antibody.uniform(0.4, 0.8) * cell.in_nucleus
    image = image * over * (0.35 + 0.65 * cell.height) * cell.body
    return to_unit(image.astype(np.float32), 97)

"""Nuclear bodies (class 5): Cajal bodies, PML bodies, paraspeckles and their like.

Look like two to twenty small round spots in the nucleoplasm, away from the nucleoli, over a haze.
Number and size go with the kind of body: few and large (0.8 µm) or many and tiny (0.3 µm).
"""

import numpy as np

from hpacells.simulate.marks import draw_spots
from hpacells.simulate.stains import StainedCell
from hpacells.simulate.texture import FloatImage, smooth_noise, smoothstep

__all__ = ["draw"]


def draw(
    stained: StainedCell, antibody: np.random.Generator, rng: np.random.Generator
) -> FloatImage:
    """Put small round spots into the nucleus, away from the nucleoli."""
    cell = stained.anatomy
    usual = float(np.exp(antibody.uniform(np.log(2.5), np.log(14.0))))
    size_um = antibody.uniform(0.15, 0.42) * (usual / 6.0) ** -0.2
    haze = min(0.5, 0.09 * float(np.exp(antibody.normal(0.0, 0.9))))
    count = int(np.clip(rng.poisson(usual), 2, 20))
    room = smoothstep(cell.nucleus_depth_um, 0.4, 1.1) * (1 - cell.nucleoli)
    places = cell.random_places(room, count, rng)
    image = draw_spots(
        cell.shape,
        places,
        sigmas_um=size_um * np.exp(rng.normal(0.0, 0.18, len(places))),
        levels=rng.uniform(0.5, 1.15, len(places)),
        pixel_um=cell.pixel_um,
    )
    clumps = np.clip(1 + 0.2 * smooth_noise(cell.shape, cell.pixel_um, 1.2, rng=rng), 0.3, 2.0)
    image += haze * clumps * cell.in_nucleus * (1 - 0.7 * cell.nucleoli)
    return (image * cell.body).astype(np.float32)

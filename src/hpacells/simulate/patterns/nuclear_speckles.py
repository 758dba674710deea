"""Nuclear speckles (class 4): stores of splicing factors.

Look like ten to fifty irregular islands of many sizes in the nucleoplasm, never in the nucleoli,
over a nucleoplasmic haze that can be almost as bright. Fine or coarse by antibody.
"""

import numpy as np

from hpacells.simulate.stains import StainedCell
from hpacells.simulate.texture import FloatImage, smooth_noise, smoothstep

__all__ = ["draw"]


def draw(
    stained: StainedCell, antibody: np.random.Generator, rng: np.random.Generator
) -> FloatImage:
    """Scatter irregular islands in the nucleoplasm, outside the nucleoli."""
    cell = stained.anatomy
    length_um = antibody.uniform(0.75, 1.35)
    threshold = antibody.uniform(0.45, 0.95)
    sharp = antibody.uniform(0.35, 0.9)
    haze = antibody.uniform(0.06, 0.5)
    room = smoothstep(cell.nucleus_depth_um, 0.2, 0.8) * (1 - cell.nucleoli)
    relief = smooth_noise(cell.shape, cell.pixel_um, length_um, rng=rng)
    relief += 0.35 * smooth_noise(cell.shape, cell.pixel_um, 0.4, rng=rng)
    relief += 0.3 * smooth_noise(cell.shape, cell.pixel_um, 3.0, rng=rng)
    low = threshold + rng.normal(0, 0.06)
    islands = smoothstep(relief, low, low + sharp) * (0.75 + 0.2 * np.clip(relief - low, 0, 1.5))
    image = islands * room + haze * rng.uniform(0.7, 1.3) * cell.in_nucleus * (
        1 - 0.75 * cell.nucleoli
    )
    return (image * cell.body).astype(np.float32)

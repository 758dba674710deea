"""Nuclear membrane (class 1): the envelope of the nucleus.

Looks like a smooth rim 0.4-0.6 µm wide around the nucleus, sometimes with folds across it, over a
faint inner haze from the envelope above and below. Antibodies against the inner side (lamins) haze
the nucleus; those against the outer side run out into the ER.
"""

import numpy as np

from hpacells.simulate.stains import StainedCell
from hpacells.simulate.texture import FloatImage, smooth_noise

__all__ = ["draw"]


def draw(
    stained: StainedCell, antibody: np.random.Generator, rng: np.random.Generator
) -> FloatImage:
    """Draw the rim of the nucleus, with now and then a fold."""
    cell = stained.anatomy
    width_um = antibody.uniform(0.16, 0.28)
    haze = antibody.uniform(0.04, 0.42)
    into_er = max(0.0, antibody.uniform(-0.12, 0.22))
    uneven = antibody.uniform(0.08, 0.35)
    folding = antibody.uniform(0.1, 0.5)
    rim = np.exp(-0.5 * np.square((cell.nucleus_depth_um - 0.12) / np.float32(width_um)))
    around = np.clip(
        1 + uneven * smooth_noise(cell.shape, cell.pixel_um, rng.uniform(1.0, 3.0), rng=rng), 0.3, 2
    )
    image = rim * around + haze * rng.uniform(0.7, 1.3) * cell.in_nucleus * around
    image += into_er * stained.er * (1 - cell.in_nucleus)
    if rng.random() < folding:
        sheet = smooth_noise(cell.shape, cell.pixel_um, rng.uniform(5.0, 9.0), rng=rng)
        fold = np.exp(-np.square(sheet / np.float32(rng.uniform(0.03, 0.06))))
        image += rng.uniform(0.25, 0.7) * fold * cell.in_nucleus
    return (image * cell.body).astype(np.float32)

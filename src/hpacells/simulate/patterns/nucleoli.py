"""Nucleoli (class 2): the bodies that are dark in the nucleus stain.

Look like one to several round or lobed bodies, filled, with soft edges. Some antibodies stain the
rim (granular part) more than the core; many also leave haze in the nucleoplasm, and in the
cytoplasm, where the protein is made. Nucleoli of one cell are not equally bright.
"""

import numpy as np

from hpacells.simulate.patterns.ground import even_substance, thickness
from hpacells.simulate.stains import StainedCell
from hpacells.simulate.texture import FloatImage, smooth_noise

__all__ = ["draw"]


def draw(
    stained: StainedCell, antibody: np.random.Generator, rng: np.random.Generator
) -> FloatImage:
    """Fill the nucleoli, with a rim and a nucleoplasmic haze by the antibody."""
    cell = stained.anatomy
    rimmed = antibody.random() < 0.2
    grainy = antibody.uniform(0.05, 0.3)
    haze = min(0.4, 0.04 * float(np.exp(antibody.normal(0.0, 0.9))))
    outside = min(0.3, 0.025 * float(np.exp(antibody.normal(0.0, 0.8))))
    flat = antibody.uniform(0.1, 0.6)
    texture = 0.9 + grainy * smooth_noise(cell.shape, cell.pixel_um, rng.uniform(0.4, 1.0), rng=rng)
    texture += 0.22 * smooth_noise(cell.shape, cell.pixel_um, 4.0, rng=rng)
    if rimmed:
        texture = texture * (0.5 + 2.0 * cell.nucleoli * (1 - cell.nucleoli))
    body = cell.nucleoli * np.clip(texture, 0.2, 1.5)
    image = body + haze * rng.uniform(0.7, 1.3) * cell.in_nucleus * (1 - 0.5 * cell.nucleoli)
    cytoplasm = even_substance(cell, flat=flat) * thickness(stained, length_um=1.2, power=0.5)
    image += outside * rng.uniform(0.7, 1.3) * cytoplasm * (1 - cell.in_nucleus)
    return (image * cell.body).astype(np.float32)

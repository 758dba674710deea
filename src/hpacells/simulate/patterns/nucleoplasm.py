"""Nucleoplasm (class 0): the space of the nucleus.

Looks like an evenly or finely clumped nucleus. Most antibodies leave the nucleoli dark, some fill
them too; some follow the chromatin, some avoid it. How clumped it is belongs to the antibody; how
bright each nucleus is varies from cell to cell, and a little of the protein lies in the cytoplasm.
"""

import numpy as np

from hpacells.simulate.patterns.ground import even_substance
from hpacells.simulate.stains import StainedCell
from hpacells.simulate.texture import FloatImage, smooth_noise, smoothstep

__all__ = ["draw"]


def draw(
    stained: StainedCell, antibody: np.random.Generator, rng: np.random.Generator
) -> FloatImage:
    """Fill the nucleus, with or without its nucleoli."""
    cell = stained.anatomy
    hollow = 0.0 if antibody.random() < 0.2 else antibody.uniform(0.3, 0.95)
    clump_um = antibody.uniform(0.5, 2.4)
    clumped = antibody.uniform(0.03, 0.32)
    chromatin = antibody.uniform(-0.25, 0.5)
    soft_um = antibody.uniform(0.2, 1.2)
    outside = min(0.35, 0.045 * float(np.exp(antibody.normal(0.0, 0.9))))
    clumps = smooth_noise(cell.shape, cell.pixel_um, clump_um, rng=rng)
    level = 0.8 + clumped * clumps + chromatin * (stained.dna - 0.7) * (1 - cell.nucleoli)
    level = np.clip(level, 0.15, 1.6) * (1 - hollow * cell.nucleoli)
    inside = smoothstep(cell.nucleus_depth_um, -0.2, soft_um)
    haze = outside * even_substance(cell, flat=0.15) * (1 - inside)
    return ((level * inside + haze) * cell.body).astype(np.float32)

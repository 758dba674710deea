"""Endoplasmic reticulum (class 6): sheets around the nucleus, tubules further out.

Looks like the yellow stain, but not the same: the antibody may keep to the sheets near the nucleus
or reach the rim, favour patches, and stain the nuclear envelope, which is part of the ER. The
nucleus is darker, not black.
"""

import numpy as np

from hpacells.simulate.stains import StainedCell
from hpacells.simulate.texture import FloatImage, smooth_noise, to_unit

__all__ = ["draw"]


def draw(
    stained: StainedCell, antibody: np.random.Generator, rng: np.random.Generator
) -> FloatImage:
    """Follow the yellow stain, with the nuclear envelope."""
    cell = stained.anatomy
    power = antibody.uniform(0.7, 1.6)
    envelope = antibody.uniform(0.0, 0.45)
    inside = antibody.uniform(0.08, 0.4)
    patchy = antibody.uniform(0.05, 0.28)
    fine = antibody.uniform(0.08, 0.3)
    image = to_unit(stained.er, 97) ** np.float32(power * rng.uniform(0.9, 1.1))
    mesh = 1 + fine * (0.5 - np.abs(smooth_noise(cell.shape, cell.pixel_um, 0.7, rng=rng)))
    mesh += patchy * smooth_noise(cell.shape, cell.pixel_um, 2.5, rng=rng)
    image = image * np.clip(mesh, 0.2, None) * (1 - (1 - inside) * cell.in_nucleus)
    if not cell.mitotic:
        rim = np.exp(-0.5 * np.square((cell.nucleus_depth_um + 0.1) / np.float32(0.26)))
        image += envelope * rng.uniform(0.6, 1.3) * rim
    return (image * cell.body).astype(np.float32)

"""The protein stain of one cell: its locations, mixed so that each can be seen."""

from collections.abc import Mapping, Sequence

import numpy as np

from hpacells.core.locations import NEGATIVE
from hpacells.simulate.patterns.registry import PATTERNS
from hpacells.simulate.stains import StainedCell
from hpacells.simulate.texture import FloatImage, smooth_noise

__all__ = ["draw_image_levels", "draw_protein", "unspecific_staining"]

_FAINTEST = 0.6
_DIFFUSE_UNDER_DETAIL = 0.5


def draw_image_levels(locations: Sequence[int], rng: np.random.Generator) -> dict[int, float]:
    """Draw how bright each location of a label is in one image."""
    return {
        location: PATTERNS[location].level * float(np.exp(rng.normal(0.0, 0.22)))
        for location in sorted(locations)
        if location != NEGATIVE
    }


def draw_protein(
    stained: StainedCell,
    locations: Sequence[int],
    levels: Mapping[int, float],
    *,
    seed: Sequence[int],
) -> FloatImage:
    """Draw exactly the given locations.

    Parameters
    ----------
    stained
        The cell.
    locations
        Class ids of this cell; Negative draws nothing.
    levels
        Brightness of each in this image.
    seed
        Of this cell; each location has a generator of its own, so that one does not change
        another's look.

    Returns
    -------
    ndarray
        ``(h, w)`` float32; about 1 is bright. Without ``unspecific_staining``.
    """
    cell = stained.anatomy
    total = np.zeros(cell.shape, np.float32)
    drawn = [location for location in sorted(locations) if location != NEGATIVE]
    diffuse = {0, 6, 16}
    for location in drawn:
        rng = np.random.default_rng([*seed, location])
        level = levels[location] * max(_FAINTEST, float(np.exp(rng.normal(0.0, 0.2))))
        if location in diffuse and set(drawn) - diffuse:
            level *= _DIFFUSE_UNDER_DETAIL  # an even area must not drown spots and lines
        total += np.float32(level) * PATTERNS[location].draw(stained, rng)
    return total


def unspecific_staining(stained: StainedCell, level: float, rng: np.random.Generator) -> FloatImage:
    """Draw the antibody's faint, granular background over the whole cell, ``(h, w)`` float32."""
    cell = stained.anatomy
    grain = np.clip(0.6 + 0.6 * smooth_noise(cell.shape, cell.pixel_um, 0.3, rng=rng), 0, None)
    inside = rng.uniform(0.4, 1.1)
    share = 1 - (1 - inside) * cell.in_nucleus
    return (level * grain * share * (0.35 + 0.65 * cell.height) * cell.body).astype(np.float32)

"""Plasma membrane (class 13, with cell junctions).

On thin spread cells it seldom is a clean line: the membrane above and below the cell is in focus
too, so the whole cell is covered, nucleus included, and does not fade towards the rim as cytosol
does. Ruffles and folds are brighter bands, junctions are brighter than free edges, fine spikes
(microvilli, filopodia) stand at the rim. Tall crowded cells show a sharp outline. How much is
line and how much is sheet belongs to the antibody and to the cell line.
"""

import numpy as np

from hpacells.simulate.filaments import Gait, draw_filaments, grow_paths
from hpacells.simulate.patterns.ground import (
    along_tubules,
    draw_tubule_share,
    even_substance,
    thickness,
)
from hpacells.simulate.stains import StainedCell
from hpacells.simulate.texture import FloatImage, smooth_noise, smoothstep

__all__ = ["draw"]

_SPIKE = Gait(step_um=0.3, wobble=0.1, edge_turn=0.0, nucleus_turn=0.0)


def draw(
    stained: StainedCell, antibody: np.random.Generator, rng: np.random.Generator
) -> FloatImage:
    """Cover the cell with a sheet, draw its outline, ruffles, junctions and spikes."""
    cell = stained.anatomy
    outline = min(2.2, 0.35 * float(np.exp(antibody.normal(0.0, 0.9))))
    width_um = antibody.uniform(0.16, 0.45)
    flat = antibody.uniform(0.45, 0.95)
    inside = float(np.exp(antibody.normal(-0.15, 0.35)))
    along_er = antibody.uniform(0.0, 0.3)
    following = antibody.uniform(0.1, 0.9)
    ruffling = antibody.uniform(0.1, 0.9)
    spiky = antibody.uniform(0.0, 60.0)
    on_tubules = draw_tubule_share(antibody)
    leather_um, leathery = antibody.uniform(0.35, 0.8), antibody.uniform(0.08, 0.4)
    clouds = smooth_noise(cell.shape, cell.pixel_um, rng.uniform(4.0, 12.0), rng=rng)
    crumpled = smooth_noise(cell.shape, cell.pixel_um, rng.uniform(0.8, 2.5), rng=rng)
    tops = smooth_noise(cell.shape, cell.pixel_um, leather_um, rng=rng)
    relief = 1 + rng.uniform(0.03, 0.2) * clouds + rng.uniform(0.05, 0.22) * crumpled
    relief += np.float32(leathery) * tops
    thick = even_substance(cell, flat=flat, rise_um=rng.uniform(0.2, 0.8))
    thick *= thickness(stained, length_um=1.5, power=following)
    mixed = np.minimum(stained.er + 0.2 * cell.in_nucleus, 1.3)
    sheet = (1 - along_er) * thick + along_er * mixed
    sheet *= along_tubules(stained, 1.5 * on_tubules)  # line and ruffles do not follow
    sheet *= np.clip(relief, 0.1, None) * (1 - (1 - min(inside, 1.25)) * cell.in_nucleus)
    amount = np.clip(0.75 + rng.uniform(0.15, 0.5) * clouds, 0.1, 1.8)
    amount += rng.uniform(0.3, 1.0) * cell.contact
    line = np.exp(-0.5 * np.square((cell.edge_um - 0.25) / np.float32(width_um)))
    border = rng.uniform(0.3, 1.0)  # of a ruffle; that of a fold is sharp
    band = smoothstep(clouds, border, border + float(np.exp(rng.uniform(-2.5, 0.0))))
    band = band * np.exp(-cell.edge_um / np.float32(rng.uniform(1.5, 6.0)))
    image = 0.5 * sheet + outline * line * amount + ruffling * 0.8 * band
    image += (0.15 + 0.4 * outline) * _spikes(stained, int(rng.poisson(spiky)), rng)
    if rng.random() < 0.35 * ruffling:
        image += 0.45 * rng.uniform(0.3, 0.9) * _folds(stained, rng)
    return (image * cell.body).astype(np.float32)


def _spikes(stained: StainedCell, count: int, rng: np.random.Generator) -> FloatImage:
    """Draw short radial lines at the rim."""
    cell = stained.anatomy
    rim = ((cell.edge_um > 0.2) & (cell.edge_um < 1.2)).astype(np.float32)
    starts = cell.random_places(rim, count, rng)
    outward = np.arctan2(*(starts - cell.centre).T) + rng.normal(0, 0.5, len(starts))
    lengths = rng.uniform(0.8, 2.0, len(starts))
    paths = grow_paths(cell, starts, outward, lengths_um=lengths, gait=_SPIKE, rng=rng)
    return draw_filaments(cell, paths, width_um=0.15, rng=rng)


def _folds(stained: StainedCell, rng: np.random.Generator) -> FloatImage:
    """Draw bright curved crests where the sheet is folded."""
    cell = stained.anatomy
    relief = smooth_noise(cell.shape, cell.pixel_um, rng.uniform(8.0, 16.0), rng=rng)
    crest = np.exp(-np.square((relief - 0.6) / np.float32(0.06)))
    return (crest * smoothstep(relief, 0.2, 0.7)).astype(np.float32)

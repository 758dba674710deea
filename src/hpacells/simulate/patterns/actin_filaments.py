"""Actin filaments (class 9, with focal adhesion sites).

Looks like long straight parallel stress fibres, a cortical line under the membrane, and short
streaks (focal adhesions) at the ends of fibres near the rim. One antibody shows fibres, another the
cortex, a third the adhesions only; cells of one sample differ in how many fibres they have.
"""

import numpy as np

from hpacells.simulate.filaments import Gait, draw_filaments, grow_paths
from hpacells.simulate.patterns.ground import even_substance
from hpacells.simulate.stains import StainedCell
from hpacells.simulate.texture import FloatImage, smooth_noise, smoothstep, to_unit

__all__ = ["draw"]

_SHARES = {  # fibres, adhesions, cortex
    "fibres": (1.0, 0.25, 0.3),
    "cortex": (0.35, 0.1, 1.0),
    "adhesions": (0.06, 1.0, 0.1),
    "mixed": (0.8, 0.6, 0.5),
}
_FIBRE = Gait(step_um=1.0, wobble=0.03, edge_turn=0.0, nucleus_turn=0.0, curl=0.01)
_STREAK = Gait(step_um=0.4, wobble=0.05, edge_turn=0.0, nucleus_turn=0.0, curl=0.01)


def draw(
    stained: StainedCell, antibody: np.random.Generator, rng: np.random.Generator
) -> FloatImage:
    """Draw stress fibres, adhesions and cortex in the shares of this antibody."""
    cell = stained.anatomy
    kind = str(antibody.choice(list(_SHARES), p=[0.5, 0.15, 0.15, 0.2]))
    shares = np.array(_SHARES[kind]) * np.exp(antibody.normal(0.0, 0.2, 3))
    haze = antibody.uniform(0.0, 0.18)
    fibres, adhesions, cortex = shares * np.exp(rng.normal(0.0, 0.2, 3))
    turn = cell.direction + rng.normal(0, 0.15)
    image = haze * even_substance(cell, flat=0.6)
    if fibres > 0.1:
        image += fibres * _fibres(stained, turn, rng)
    image += adhesions * _adhesions(stained, turn, rng)
    uneven = np.clip(0.7 + 0.5 * smooth_noise(cell.shape, cell.pixel_um, 4.0, rng=rng), 0, 1.5)
    rim = np.exp(-0.5 * np.square((cell.edge_um - 0.3) / np.float32(0.28)))
    image += cortex * rim * (uneven + 0.5 * cell.contact)
    return (image * cell.body).astype(np.float32)


def _fibres(stained: StainedCell, turn: float, rng: np.random.Generator) -> FloatImage:
    """Draw long parallel fibres of two thicknesses, a few of them crossing."""
    cell = stained.anatomy
    area_um2 = cell.cytoplasm_um2 + cell.nucleus_um2
    count = int(np.clip(rng.uniform(0.02, 0.08) * area_um2, 8, 90))
    starts = cell.random_places(cell.body * smoothstep(cell.edge_um, 0.2, 1.2), count, rng)
    headings = turn + rng.normal(0, 0.10, len(starts))
    crossing = rng.random(len(starts)) < rng.uniform(0.0, 0.35)
    headings = np.where(crossing, headings + rng.normal(0, 0.7, len(starts)), headings)
    lengths = rng.uniform(3.0, 20.0, len(starts))
    paths = grow_paths(cell, starts, headings, lengths_um=lengths, gait=_FIBRE, rng=rng)
    paths += grow_paths(cell, starts, headings + np.pi, lengths_um=lengths, gait=_FIBRE, rng=rng)
    image = 0.7 * draw_filaments(
        cell, paths[::3] + paths[1::3], width_um=0.16, rng=rng, contrast=0.6
    )
    image += draw_filaments(cell, paths[2::3], width_um=0.3, rng=rng, contrast=0.5)
    beads = np.clip(0.8 + 0.3 * smooth_noise(cell.shape, cell.pixel_um, 1.5, rng=rng), 0.1, 1.5)
    return to_unit((image * beads * (1 - 0.45 * cell.in_nucleus)).astype(np.float32), 96)


def _adhesions(stained: StainedCell, turn: float, rng: np.random.Generator) -> FloatImage:
    """Draw short thick streaks within a few µm of the rim, pointing along the fibres."""
    cell = stained.anatomy
    band = smoothstep(cell.edge_um, 0.2, 0.8) * np.exp(-cell.edge_um / np.float32(2.2))
    count = int(np.clip(rng.uniform(0.02, 0.06) * cell.cytoplasm_um2, 8, 60))
    starts = cell.random_places(band * (1 - cell.in_nucleus), count, rng)
    outward = np.arctan2(*(starts - cell.centre).T)
    headings = np.where(rng.random(len(starts)) < 0.5, turn, outward)
    headings = headings + rng.normal(0, 0.25, len(starts))
    lengths = rng.gamma(3.0, rng.uniform(0.35, 0.9), len(starts))
    paths = grow_paths(cell, starts, headings, lengths_um=lengths, gait=_STREAK, rng=rng)
    lines = draw_filaments(cell, paths, width_um=rng.uniform(0.35, 0.6), rng=rng, contrast=0.4)
    return np.minimum(to_unit(lines, 95), 1.5).astype(np.float32)

"""Aggresome (class 15): one dump of misfolded protein beside the nucleus.

Looks like a single compact, irregular, bright lump 2-4 µm wide at the centrosome, sometimes
dented into the nucleus, rarely with a small companion; the cytosol around is hazy, more in some
antibodies.
"""

import numpy as np

from hpacells.simulate.patterns.ground import distance_from_um, even_substance
from hpacells.simulate.stains import StainedCell
from hpacells.simulate.texture import FloatImage, smooth_noise, smoothstep

__all__ = ["draw"]


def draw(
    stained: StainedCell, antibody: np.random.Generator, rng: np.random.Generator
) -> FloatImage:
    """Put one large lump beside the nucleus, rarely with a small companion."""
    cell = stained.anatomy
    usual_um = antibody.uniform(0.8, 1.9)
    haze = min(0.4, 0.08 * float(np.exp(antibody.normal(0.0, 0.8))))
    inside = antibody.uniform(0.3, 1.0)
    ragged = antibody.uniform(0.15, 0.45)
    across_um = float(np.sqrt(cell.body.sum()) * cell.pixel_um)
    radius = usual_um * rng.uniform(0.75, 1.25) * float(np.clip(across_um / 30.0, 0.6, 1.1))
    rows = np.arange(cell.shape[0], dtype=np.float32)[:, None]
    columns = np.arange(cell.shape[1], dtype=np.float32)[None, :]
    warp = ragged * smooth_noise(cell.shape, cell.pixel_um, 0.9, rng=rng)
    near = cell.in_cytoplasm * (cell.nucleus_depth_um > -2.5) * (cell.edge_um > 0.5 * radius)
    room = near if near.any() else cell.in_cytoplasm
    gap = distance_from_um(cell, cell.centrosome) / np.float32(3.5)
    room = (room * np.exp(-gap * gap)).astype(np.float32)
    image = np.zeros(cell.shape, np.float32)
    for scale in (1.0, 0.5) if rng.random() < 0.2 else (1.0,):
        place = cell.random_places(room, 1, rng)
        if len(place) == 0:
            break
        turn, stretch = np.float32(rng.uniform(0, np.pi)), rng.uniform(1.0, 1.4)
        down, right = rows - np.float32(place[0, 0]), columns - np.float32(place[0, 1])
        main = (down * np.sin(turn) + right * np.cos(turn)) / stretch
        side = (right * np.sin(turn) - down * np.cos(turn)) * stretch
        depth = radius * scale - np.hypot(main, side) * cell.pixel_um + warp
        image = np.maximum(image, smoothstep(depth.astype(np.float32), -0.25, 0.45))
    texture = np.clip(1 + 0.5 * warp, 0.4, None)
    share = haze * (1 - (1 - inside) * cell.in_nucleus)
    return ((image * texture + share * even_substance(cell, flat=0.3)) * cell.body).astype(
        np.float32
    )

"""Centrosome (class 12, with centriolar satellites).

Looks like one or two dots beside the nucleus, where the microtubules meet; two after they have
doubled (G2), at the poles in mitosis. Satellite proteins show a cloud of fine dots around each,
with or without the centre. The rest of the protein is often a haze in the cytosol.
"""

import numpy as np

from hpacells.simulate.marks import draw_spots
from hpacells.simulate.patterns.ground import even_substance
from hpacells.simulate.stains import StainedCell
from hpacells.simulate.texture import FloatImage

__all__ = ["draw"]


def draw(
    stained: StainedCell, antibody: np.random.Generator, rng: np.random.Generator
) -> FloatImage:
    """Put one or two spots where the microtubules meet, with satellites by the antibody."""
    cell = stained.anatomy
    size_um = antibody.uniform(0.18, 0.4)
    cloud = antibody.random() < 0.3
    cloud_um = antibody.uniform(0.7, 2.2)
    centre_level = antibody.uniform(0.4, 1.0) if cloud else 1.0
    haze = min(0.3, 0.04 * float(np.exp(antibody.normal(0.0, 1.0))))
    hosts = cell.poles if cell.mitotic else cell.centrosome[None]
    places = hosts if cell.mitotic else _centrioles(stained, rng)
    sizes = np.full(len(places), size_um * rng.uniform(0.85, 1.15))
    levels = centre_level * rng.uniform(0.8, 1.2, len(places))
    if cloud:
        satellites = int(rng.integers(8, 36))
        spread = rng.normal(0, cloud_um / cell.pixel_um, (satellites, 2))
        host = rng.integers(len(hosts), size=satellites)  # in mitosis each pole has its own
        places = np.concatenate([places, hosts[host] + spread])
        sizes = np.concatenate([sizes, rng.uniform(0.11, 0.2, satellites)])
        levels = np.concatenate([levels, rng.uniform(0.2, 0.7, satellites)])
    image = draw_spots(cell.shape, places, sigmas_um=sizes, levels=levels, pixel_um=cell.pixel_um)
    image = np.minimum(image, 1.4) + haze * even_substance(cell, flat=0.3)
    return (image * cell.body).astype(np.float32)


def _centrioles(stained: StainedCell, rng: np.random.Generator) -> np.ndarray:
    cell = stained.anatomy
    count = 2 if rng.random() < (0.75 if cell.phase == "G2" else 0.45) else 1
    turn = rng.uniform(0, 2 * np.pi)
    step = rng.uniform(0.4, 0.9) / cell.pixel_um * np.array([np.sin(turn), np.cos(turn)])
    places: np.ndarray = cell.centrosome + np.arange(count)[:, None] * step
    return places

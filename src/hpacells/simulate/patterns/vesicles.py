"""Vesicles and other dots of the cytoplasm (class 17).

Which kind it is belongs to the antibody. Peroxisomes: very many fine even dots. Endosomes: fewer,
of mixed size and brightness, throughout. Lysosomes: larger, clustered beside the nucleus. Lipid
droplets: rings in groups. Cytoplasmic bodies: a handful of round ones. All lie outside the nucleus.
"""

from dataclasses import dataclass

import numpy as np

from hpacells.simulate.marks import draw_spots
from hpacells.simulate.patterns.ground import even_substance
from hpacells.simulate.stains import StainedCell
from hpacells.simulate.texture import FloatImage

__all__ = ["draw"]


@dataclass(frozen=True)
class _Kind:
    """Dots per µm² of cytoplasm, radius in µm, its scatter, scatter of brightness, pull inwards."""

    density: tuple[float, float]
    size_um: tuple[float, float]
    size_scatter: float
    level_scatter: float
    pull: tuple[float, float]
    hollow: bool = False


_KINDS = {
    "peroxisomes": _Kind((0.20, 0.45), (0.11, 0.16), 0.12, 0.3, (0.0, 0.5)),
    "endosomes": _Kind((0.06, 0.25), (0.13, 0.24), 0.30, 0.55, (0.1, 0.8)),
    "lysosomes": _Kind((0.03, 0.14), (0.20, 0.36), 0.28, 0.4, (0.7, 1.0)),
    "lipid droplets": _Kind((0.02, 0.08), (0.26, 0.45), 0.25, 0.25, (0.5, 1.0), hollow=True),
    "bodies": _Kind((0.004, 0.02), (0.18, 0.34), 0.22, 0.3, (0.0, 0.7)),
}


def draw(
    stained: StainedCell, antibody: np.random.Generator, rng: np.random.Generator
) -> FloatImage:
    """Scatter the dots of one kind over the cytoplasm."""
    cell = stained.anatomy
    kind = _KINDS[str(antibody.choice(list(_KINDS), p=[0.25, 0.35, 0.2, 0.1, 0.1]))]
    density = float(np.exp(antibody.uniform(*np.log(kind.density))))
    size_um = antibody.uniform(*kind.size_um)
    pull = antibody.uniform(*kind.pull)
    haze = min(0.4, 0.05 * float(np.exp(antibody.normal(0.0, 0.9))))
    usual = density * cell.cytoplasm_um2 * np.exp(rng.normal(0.0, 0.35))
    count = int(np.clip(usual, 4, 420))
    room = cell.in_cytoplasm * ((1 - pull) + pull * cell.height**2) * (cell.edge_um > 0.3)
    places = cell.random_places(room.astype(np.float32), count, rng)
    sizes = size_um * np.exp(rng.normal(0, kind.size_scatter, len(places)))
    levels = np.clip(np.exp(rng.normal(-0.35, kind.level_scatter, len(places))), 0.1, 1.3)
    image = draw_spots(cell.shape, places, sigmas_um=sizes, levels=levels, pixel_um=cell.pixel_um)
    if kind.hollow:
        image -= draw_spots(
            cell.shape, places, sigmas_um=0.6 * sizes, levels=0.85 * levels, pixel_um=cell.pixel_um
        )
        image = np.float32(2.2) * np.maximum(image, 0)
    image = np.minimum(image, 1.4) + haze * even_substance(cell, flat=0.2) * (
        1 - 0.4 * cell.in_nucleus
    )
    return (image * cell.body).astype(np.float32)

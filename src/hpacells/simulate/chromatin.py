"""The nucleus stain of one cell: chromatin with dark nucleoli, or condensed in mitosis.

All of it is drawn in the window around the nucleus; the stain is dark elsewhere.
"""

import numpy as np

from hpacells.simulate.anatomy import CellAnatomy
from hpacells.simulate.marks import draw_spots, pick_places
from hpacells.simulate.stain_style import StainStyle
from hpacells.simulate.texture import FloatImage, blur_um, smooth_noise, smoothstep

__all__ = ["draw_dna", "nucleus_window"]

_HALO = np.float32(3.0)  # light close to the rim over that of the cytoplasm
_EDGE_UM = 0.5  # light beyond the rim of the nucleus


def draw_dna(cell: CellAnatomy, style: StainStyle, rng: np.random.Generator) -> FloatImage:
    """Draw the nucleus stain, ``(h, w)`` float32; an even G1 nucleus has about 0.75."""
    image = np.zeros(cell.shape, np.float32)
    window = nucleus_window(cell, _EDGE_UM)
    draw = _condensed if cell.mitotic else _interphase
    image[window] = draw(cell, window, style, rng) * cell.body[window]
    image += _haze(cell, style, rng)
    return image


def _haze(cell: CellAnatomy, style: StainStyle, rng: np.random.Generator) -> FloatImage:
    """Draw the little light that a thick cytoplasm has beside the nucleus."""
    near = cell.fall_from_nucleus(rng.uniform(1.5, 6.0))
    close = cell.fall_from_nucleus(rng.uniform(0.4, 0.8))
    close *= _HALO
    near += close
    near *= np.float32(style.dna_haze * np.exp(rng.normal(0, 0.5)))
    near *= cell.in_cytoplasm
    return near


def _condensed(
    cell: CellAnatomy, window: tuple[slice, slice], style: StainStyle, rng: np.random.Generator
) -> FloatImage:
    """Draw chromosomes of a dividing cell: bright, lumpy."""
    inside = cell.in_nucleus[window]
    fine = smooth_noise(inside.shape, cell.pixel_um, 0.45, rng=rng)
    arms = smooth_noise(inside.shape, cell.pixel_um, 1.0, rng=rng)
    lumps = np.maximum(1.0 + style.chromatin_contrast * (0.10 * fine + 0.14 * arms), 0.2)
    return (1.25 * inside * lumps).astype(np.float32, copy=False)


def _interphase(
    cell: CellAnatomy, window: tuple[slice, slice], style: StainStyle, rng: np.random.Generator
) -> FloatImage:
    """Draw mottled chromatin, brighter where the nucleus is thick, with holes and nucleoli."""
    depth_um = cell.nucleus_depth_um[window]
    contrast = float(style.chromatin_contrast * np.exp(rng.normal(0, 0.15)))
    field = np.zeros(depth_um.shape, np.float32)
    for length_um, share in ((0.45, 0.09), (0.85, 0.11), (3.0, 0.06)):
        field += share * smooth_noise(depth_um.shape, cell.pixel_um, length_um, rng=rng)
    field *= np.float32(contrast)
    image = np.exp(field, out=field)
    image *= 1 - _holes(cell, window, contrast, rng)
    image *= 1 + _bright_clumps(cell, window, rng)
    image *= 0.85 + 0.15 * smoothstep(depth_um, 0.0, 3.0)
    image *= smoothstep(depth_um, -0.3, 0.75)
    darkness = float(np.clip(style.nucleolus_depth * np.exp(rng.normal(0, 0.2)), 0, 0.8))
    image *= 1 - darkness * blur_um(cell.nucleoli[window], 0.22, cell.pixel_um)
    # the amount grows, and so does the nucleus, over which it is spread
    return image * np.float32(0.72 * cell.dna_content**0.3)


def _holes(
    cell: CellAnatomy, window: tuple[slice, slice], contrast: float, rng: np.random.Generator
) -> FloatImage:
    """Draw the many small gaps between chromatin, 0-0.6."""
    places = pick_places(
        cell.nucleus[window].astype(np.float32), _vary(0.24 * cell.nucleus_um2, rng), rng
    )
    gaps = draw_spots(
        cell.nucleus[window].shape,
        places,
        sigmas_um=0.27 * np.exp(rng.normal(0, 0.25, len(places))),
        levels=rng.uniform(0.1, 0.42, len(places)) * min(1.5, contrast),
        pixel_um=cell.pixel_um,
    )
    return np.minimum(gaps, np.float32(0.6))


def _bright_clumps(
    cell: CellAnatomy, window: tuple[slice, slice], rng: np.random.Generator
) -> FloatImage:
    """Draw condensed places."""
    places = pick_places(cell.in_nucleus[window], _vary(8.0, rng), rng)
    return draw_spots(
        cell.nucleus[window].shape,
        places,
        sigmas_um=0.34 * np.exp(rng.normal(0, 0.3, len(places))),
        levels=rng.uniform(0.05, 0.35, len(places)),
        pixel_um=cell.pixel_um,
    )


def _vary(mean_count: float, rng: np.random.Generator) -> int:
    """Draw a number of things of which cells have very different many."""
    return int(rng.poisson(mean_count * rng.uniform(0.3, 1.5)))


def nucleus_window(cell: CellAnatomy, margin_um: float) -> tuple[slice, slice]:
    """Give the rows and columns around the nucleus."""
    margin = int(np.ceil(margin_um / cell.pixel_um)) + 1
    spans = []
    for axis in (1, 0):
        places = np.flatnonzero(cell.nucleus.any(axis=axis))
        low, high = (places[0], places[-1]) if len(places) else (0, 0)
        spans.append(slice(max(0, int(low) - margin), int(high) + margin + 1))
    return spans[0], spans[1]

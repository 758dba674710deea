"""The protein stain of one cell: its locations in unequal amounts, over unspecific staining.

How well a location can be seen is decided by three amounts: the image's level of it (a faint
staining is faint in all cells of an image), the cell's own scatter, and the unspecific staining of
the antibody, which can be nearly as bright as a faint structure. Grain lies over all of it.
"""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from hpacells.core.locations import LOCATION_KEYS, NEGATIVE
from hpacells.simulate.anatomy import CellAnatomy
from hpacells.simulate.marks import draw_spots
from hpacells.simulate.patterns.ground import (
    along_tubules,
    draw_grain,
    draw_grain_look,
    draw_tubule_share,
    even_substance,
    thickness,
)
from hpacells.simulate.patterns.registry import PATTERNS
from hpacells.simulate.stains import StainedCell
from hpacells.simulate.texture import FloatImage, smooth_noise

__all__ = [
    "draw_amounts",
    "draw_image_levels",
    "draw_protein",
    "draw_unspecific_level",
    "limit_unspecific",
    "unspecific_staining",
]

_MAIN = (0.55, 1.3)  # brightness of an image's main location, beside its usual level
_MINOR = (0.4, 1.0)  # of the others, beside the main one
_CELL_SCATTER = 0.25
_DIFFUSE = frozenset(
    LOCATION_KEYS.index(key) for key in ("nucleoplasm", "endoplasmic_reticulum", "cytosol")
)
_DIFFUSE_UNDER_DETAIL = 0.65
_UNSPECIFIC = (0.02, 0.36)
_UNSPECIFIC_ALONE = (0.1, 0.5)
_HIDDEN_FROM = 0.6  # unspecific staining, as a share of a location's amount, that hides it
_SIGNAL_GRAIN, _UNSPECIFIC_GRAIN = 0.85, 1.4
_GRAIN_STREAM, _UNSPECIFIC_STREAM = 101, 102  # seeds below are class ids


def draw_image_levels(locations: Sequence[int], rng: np.random.Generator) -> dict[int, float]:
    """Draw how bright each location of a label is in one image.

    One of them, by chance, is the main one; the others have 0.4-1 of its share, log-uniform, so
    that some are barely visible. Where lines or dots are in the label, even areas are fainter by a
    third, or they would drown them.

    Parameters
    ----------
    locations
        Class ids of the label; Negative has no level.
    rng
        The image's.

    Returns
    -------
    dict
        Location to level, ascending; about 1 is bright.
    """
    drawn = sorted(location for location in locations if location != NEGATIVE)
    if not drawn:
        return {}
    main = drawn[int(rng.integers(len(drawn)))]
    top = float(np.exp(rng.uniform(*np.log(_MAIN))))
    levels = {}
    for location in drawn:
        share = 1.0 if location == main else float(np.exp(rng.uniform(*np.log(_MINOR))))
        if location in _DIFFUSE and set(drawn) - _DIFFUSE:
            share *= _DIFFUSE_UNDER_DETAIL
        levels[location] = top * share * PATTERNS[location].level
    return levels


def draw_amounts(
    locations: Sequence[int], levels: Mapping[int, float], rng: np.random.Generator
) -> dict[int, float]:
    """Draw how much of each of its locations one cell has: the image's level and its own scatter.

    Parameters
    ----------
    locations
        Class ids of this cell; Negative has no amount.
    levels
        Brightness of each in this image, from ``draw_image_levels``.
    rng
        The cell's own.

    Returns
    -------
    dict
        Location to amount, ascending; empty for a Negative cell. About 1 is bright.
    """
    return {
        location: levels[location] * float(np.exp(rng.normal(0.0, _CELL_SCATTER)))
        for location in sorted(locations)
        if location != NEGATIVE
    }


def draw_protein(
    stained: StainedCell,
    amounts: Mapping[int, float],
    *,
    antibody: Sequence[int],
    seed: Sequence[int],
) -> FloatImage:
    """Draw exactly the given locations.

    Parameters
    ----------
    stained
        The cell.
    amounts
        Location to amount, from ``draw_amounts``; an empty one draws nothing.
    antibody
        Seed that the cells of a sample share: the look of this antibody.
    seed
        Of this cell; each location has a generator of its own, so that one does not change
        another's look.

    Returns
    -------
    ndarray
        ``(h, w)`` float32; about 1 is bright. Without ``unspecific_staining``.
    """
    total = np.zeros(stained.anatomy.shape, np.float32)
    if not amounts:
        return total
    grain = _grain(stained, antibody, seed, share=_SIGNAL_GRAIN)
    for location, amount in sorted(amounts.items()):
        look = np.random.default_rng([*antibody, location])
        rng = np.random.default_rng([*seed, location])
        pattern = PATTERNS[location]
        image = np.float32(amount) * pattern.draw(stained, look, rng)
        image *= grain if pattern.grain == 1.0 else grain**pattern.grain
        total += image
    return total


def draw_unspecific_level(locations: Sequence[int], rng: np.random.Generator) -> float:
    """Draw how strongly an antibody stains where its protein is not.

    Parameters
    ----------
    locations
        Class ids of the label; a Negative sample shows the unspecific staining alone.
    rng
        The sample's or the image's.

    Returns
    -------
    float
        Log-uniform 0.02-0.36, for a Negative sample 0.1-0.5: from none to seen to as bright as a
        faint structure.
    """
    limits = _UNSPECIFIC_ALONE if tuple(locations) == (NEGATIVE,) else _UNSPECIFIC
    return float(np.exp(rng.uniform(*np.log(limits))))


def limit_unspecific(
    level: float, locations: Sequence[int], cells: Iterable[Mapping[int, float]]
) -> float:
    """Lower an image's unspecific staining to where its label's locations can be seen.

    A label names what somebody saw; a location that the antibody's background hides in the usual
    cell that carries it would not stand there.

    Parameters
    ----------
    level
        From ``draw_unspecific_level``.
    locations
        Class ids of the label.
    cells
        Amounts of each cell of the image.

    Returns
    -------
    float
        At most 0.6 of the faintest location's median amount over the cells that carry it.
    """
    amounts: dict[int, list[float]] = {}
    for cell in cells:
        for location in set(cell) & set(locations):
            amounts.setdefault(location, []).append(cell[location])
    return min([level, *(_HIDDEN_FROM * float(np.median(each)) for each in amounts.values())])


def unspecific_staining(
    stained: StainedCell,
    level: float,
    *,
    antibody: Sequence[int],
    seed: Sequence[int],
) -> FloatImage:
    """Draw the antibody's grainy background over the whole cell, to be added to ``draw_protein``.

    Parameters
    ----------
    stained
        The cell.
    level
        Of the image, from ``draw_unspecific_level``.
    antibody, seed
        The same as for ``draw_protein``: the grain is the same too.

    Returns
    -------
    ndarray
        ``(h, w)`` float32. More or less of it in the nucleus, and more or less along the ER, by
        the antibody.
    """
    cell = stained.anatomy
    look = np.random.default_rng([*antibody, _UNSPECIFIC_STREAM])
    rng = np.random.default_rng([*seed, _UNSPECIFIC_STREAM])
    inside = float(np.clip(np.exp(look.normal(0.0, 0.4)), 0.3, 2.4))
    flat, along_er = look.uniform(0.1, 0.7), look.uniform(0.0, 0.4)
    dots = 0.025 * float(np.exp(look.normal(0.0, 1.1)))
    on_tubules = 0.5 * draw_tubule_share(look)
    amount = level * float(np.exp(rng.normal(0.0, 0.2)))
    ground = (1 - along_er) * even_substance(
        cell, flat=flat, rise_um=1.0, steep=rng.uniform(0.2, 1.0)
    ) + along_er * np.minimum(stained.er + 0.5 * cell.in_nucleus, 1.3)
    ground = ground * (1 - (1 - inside) * cell.in_nucleus)
    ground *= thickness(stained, length_um=1.2, power=0.5) * along_tubules(stained, on_tubules)
    clouds = smooth_noise(cell.shape, cell.pixel_um, rng.uniform(3.0, 18.0), rng=rng)
    ground = ground * np.clip(1 + rng.uniform(0.1, 0.35) * clouds, 0.05, 2.2)
    ground *= _grain(stained, antibody, seed, share=_UNSPECIFIC_GRAIN)
    ground += _aggregates(cell, dots, rng)
    return (amount * ground * cell.body).astype(np.float32)


def _aggregates(cell: CellAnatomy, density: float, rng: np.random.Generator) -> FloatImage:
    """Draw the clots of antibody that lie about on a cell, ``density`` per µm²."""
    count = int(rng.poisson(density * (cell.cytoplasm_um2 + cell.nucleus_um2)))
    places = cell.random_places(cell.body.astype(np.float32), count, rng)
    return draw_spots(
        cell.shape,
        places,
        sigmas_um=rng.gamma(9.0, 0.02, len(places)),
        levels=rng.gamma(2.0, 0.8, len(places)),
        pixel_um=cell.pixel_um,
    )


def _grain(
    stained: StainedCell, antibody: Sequence[int], seed: Sequence[int], *, share: float
) -> FloatImage:
    look = draw_grain_look(np.random.default_rng([*antibody, _GRAIN_STREAM]))
    rng = np.random.default_rng([*seed, _GRAIN_STREAM])
    return draw_grain(stained.anatomy, look, rng, share=share)

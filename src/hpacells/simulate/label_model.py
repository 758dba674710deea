"""Which locations a sample, an image and a cell carry.

The atlas labels *samples* (up to six images of one well). A location of the label may be absent
from many cells, and its absence clusters by image: presence is beta-binomial, with the mean ``p``
and the intraclass correlation ``rho`` measured per class on 5,090 manually labelled cells of 328
public images. Order of the draws: the sample's locations, each image's share of cells, its cells.

Two choices are ours. Negative (18) is drawn alone and then holds for every cell (p = 1, rho = 0);
Negative cells of other images come from cells that are left with no location. A mitotic spindle
stands in mitotic cells only: p = .07 of the cells with atlas frequencies; with uniform ones the
cells of a spindle image are mitotic, and labelled, with p = .35, or the class would have next to
no cells.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from hpacells.core.locations import N_LOCATIONS, NEGATIVE
from hpacells.simulate.cell_lines import CELL_LINES

__all__ = [
    "FIELDS_PER_BLOCK",
    "MITOTIC_LOCATIONS",
    "SPINDLE",
    "Sample",
    "draw_cell_locations",
    "draw_image_shares",
    "draw_sample",
    "mitotic_share",
]

SPINDLE = 11
MITOTIC_LOCATIONS = frozenset({6, SPINDLE, 12, 13, 14, 16, 17})
"""Locations that stay where they are when the nuclear envelope has gone."""

FIELDS_PER_BLOCK = 6
_SAMPLE_SIZES = (3, 2, 1)  # a block of six fields holds three samples, in random order

# class                0    1    2    3    4    5    6    7    8    9   10   11   12   13   14
_PRESENCE = np.array([.78, .74, .64, .45, .87, .39, .70, .49, .79, .75, .59, .07, .24, .70, .85,
                      .68, .82, .55, 1.0])  # fmt: skip
_CORRELATION = np.array([.52, .41, .30, .35, .30, .35, .63, .29, .29, .17, .48, .0, .21, .75, .33,
                         .35, .55, .49, 0.0])  # fmt: skip
_ATLAS_COUNTS = np.array([8797, 1095, 2451, 1262, 1425, 1792, 775, 1846, 964, 1011, 818, 78, 1734,
                          3216, 2013, 252, 5685, 621, 34], float)  # fmt: skip
_SET_SIZES = np.array([0.4775, 0.4095, 0.104, 0.009])  # 1-4 locations a sample, mean 1.645
_ALONE_SLOPE, _ALONE_MEAN = 0.9, 0.66  # the mean keeps 1.645 locations a sample
_SPINDLE_UNIFORM = 0.35
_MITOTIC_SHARE = 0.02
_NEGATIVE_WEIGHT = 0.9  # one image in 35; Negative cells of other images are many already

Frequencies = Literal["uniform", "atlas"]


@dataclass(frozen=True)
class Sample:
    """One well with one antibody: what all of its images share."""

    ordinal: int
    locations: tuple[int, ...]
    gene: str
    antibody: str
    cell_line: str
    plate: str
    well: str
    sample: str


def draw_sample(seed: int, index: int, frequencies: Frequencies) -> Sample:
    """Find the sample that field ``index`` belongs to, and draw what it is.

    Parameters
    ----------
    seed, index
        Of the dataset and the field; nothing else decides.
    frequencies
        How often each class is drawn.

    Returns
    -------
    Sample
        The same for the one to three neighbouring fields of a sample.
    """
    block, place = divmod(index, FIELDS_PER_BLOCK)
    sizes = np.random.default_rng([seed, block, 1]).permutation(_SAMPLE_SIZES)
    within = int(np.searchsorted(np.cumsum(sizes), place, side="right"))
    ordinal = block * len(_SAMPLE_SIZES) + within
    rng = np.random.default_rng([seed, ordinal, 2])
    weights = np.array([line.weight for line in CELL_LINES], float)
    line = CELL_LINES[int(rng.choice(len(CELL_LINES), p=weights / weights.sum()))]
    row, column = divmod(ordinal % 96, 12)
    return Sample(
        ordinal=ordinal,
        locations=_draw_locations(seed, ordinal, frequencies, rng),
        gene=f"SIMG{seed}x{ordinal:05d}",
        antibody=f"SIM{seed}x{ordinal:05d}",
        cell_line=line.name,
        plate=str(1 + ordinal // 96),
        well=f"{'ABCDEFGH'[row]}{column + 1}",
        sample=str(1 + ordinal),
    )


def _draw_locations(
    seed: int, ordinal: int, frequencies: Frequencies, rng: np.random.Generator
) -> tuple[int, ...]:
    """Draw a set: the first location from a low-discrepancy sequence, so that few fields do."""
    weights = _class_weights(frequencies)
    offset = float(np.random.default_rng([seed, 3]).random())
    point = (offset + ordinal * 0.6180339887498949) % 1.0
    first = int(np.searchsorted(np.cumsum(weights / weights.sum()), point, side="right"))
    if first >= NEGATIVE:
        return (NEGATIVE,)
    size = _draw_set_size(first, rng)
    others = weights.copy()
    others[[first, NEGATIVE]] = 0.0
    more = rng.choice(N_LOCATIONS, size=size - 1, replace=False, p=others / others.sum())
    return tuple(sorted({first, *map(int, more)}))


def _draw_set_size(first: int, rng: np.random.Generator) -> int:
    """Draw how many locations a label has: one that few cells show is seldom alone on it."""
    alone = float(
        np.clip(_SET_SIZES[0] + _ALONE_SLOPE * (_PRESENCE[first] - _ALONE_MEAN), 0.1, 0.8)
    )
    if rng.random() < alone:
        return 1
    more = _SET_SIZES[1:] / _SET_SIZES[1:].sum()
    return 2 + int(rng.choice(len(more), p=more))


def _class_weights(frequencies: Frequencies) -> npt.NDArray[np.float64]:
    if frequencies == "atlas":
        return _ATLAS_COUNTS.copy()
    presence = _PRESENCE.copy()
    presence[SPINDLE] = _SPINDLE_UNIFORM
    weights: npt.NDArray[np.float64] = 1.0 / presence
    weights[NEGATIVE] = _NEGATIVE_WEIGHT
    return weights


def mitotic_share(sample: Sample, frequencies: Frequencies) -> float:
    """Give the share of cells in mitosis."""
    if SPINDLE not in sample.locations:
        return _MITOTIC_SHARE
    return _SPINDLE_UNIFORM if frequencies == "uniform" else float(_PRESENCE[SPINDLE])


def draw_image_shares(sample: Sample, rng: np.random.Generator) -> dict[int, float]:
    """Draw, for one image, the share of cells that carry each location of the label.

    Returns
    -------
    dict
        Location → probability, from Beta(p s, (1-p) s) with s = (1 - rho) / rho, whose
        intraclass correlation is rho. The spindle has 1: it is decided by mitosis.
    """
    shares = {}
    for location in sample.locations:
        p, rho = float(_PRESENCE[location]), float(_CORRELATION[location])
        if location == SPINDLE:
            shares[location] = 1.0
        elif rho == 0.0:
            shares[location] = p
        else:
            strength = (1.0 - rho) / rho
            shares[location] = float(rng.beta(p * strength, (1.0 - p) * strength))
    return shares


def draw_cell_locations(
    shares: dict[int, float], rng: np.random.Generator, *, mitotic: bool
) -> tuple[int, ...]:
    """Draw one cell's locations; a cell left with none is Negative.

    Parameters
    ----------
    shares
        From ``draw_image_shares``.
    rng
        The cell's own.
    mitotic
        Then only ``MITOTIC_LOCATIONS`` can be there, and the spindle always is if the image has it.
    """
    drawn = []
    for location, share in sorted(shares.items()):
        chance = rng.random() < share
        possible = location in MITOTIC_LOCATIONS if mitotic else location != SPINDLE
        if chance and possible and location != NEGATIVE:
            drawn.append(location)
    return tuple(drawn) or (NEGATIVE,)

"""Which locations of a label one image and one cell show.

A location of the label may be absent from many cells, and its absence clusters by image: presence
is beta-binomial, with the mean ``p`` and the intraclass correlation ``rho`` measured per class on
5,090 manually labelled cells of 328 public images (``core.label_noise``). First each
image's share of cells is drawn, then its cells. Only the *joint* draws are ours; each class keeps
its ``p`` and ``rho``:

- A location alone on a label stands high in its beta distribution, one in company low
  (``_ALONE_HIGH``), the two mixed so that over all labels the distribution is untouched.
- The locations of one label share an image's cells: where one is rare, the others tend to be
  frequent (``_COMPANY``, a negative normal copula).
- Within a cell, part of the draws are systematic (``_COUPLED``): one uniform number, intervals of
  the locations' shares laid end to end, so that a cell seldom ends with nothing.

With these, as in the manual labels, about a tenth of the cells are Negative. A mitotic spindle
stands in mitotic cells only (p = .07 with atlas frequencies, .35 with uniform ones, or the class
would have next to no cells), a class of the nucleus in no mitotic cell. A few cells show a location
that the label lacks (``_UNLABELLED``), clustered by image.
"""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
from scipy.special import betaincinv, ndtr

from hpacells.core.label_noise import CLUSTERING
from hpacells.core.locations import NEGATIVE
from hpacells.simulate.label_sets import (
    LIFT,
    MITOTIC_LOCATIONS,
    PRESENCE,
    SPINDLE,
    Frequencies,
    label_sets,
)

__all__ = [
    "draw_cell_locations",
    "draw_extra_location",
    "draw_image_shares",
    "mitotic_share",
]

_MITOTIC_SHARE = 0.02
_ALONE_HIGH = 0.85
_COMPANY = 0.6
_COUPLED = 0.5
_UNLABELLED = (0.3, 0.05)  # share of images with such a location, share of their cells


def mitotic_share(locations: tuple[int, ...], frequencies: Frequencies) -> float:
    """Give the share of cells in mitosis in images of a label."""
    if SPINDLE not in locations:
        return _MITOTIC_SHARE
    return float(PRESENCE[frequencies][SPINDLE])


def draw_image_shares(
    locations: tuple[int, ...],
    rng: np.random.Generator,
    *,
    frequencies: Frequencies,
    presence: float = 1.0,
) -> dict[int, float]:
    """Draw, for one image, the share of cells that carry each location of the label.

    Parameters
    ----------
    locations
        Class ids of the label.
    rng
        The image's own.
    frequencies
        Of the dataset: how often a class is alone on a label depends on it.
    presence
        Factor on p, 0 to 1.

    Returns
    -------
    dict
        Location → probability. Over all labels with a location it follows
        Beta(p s, (1-p) s) with s = (1 - rho) / rho, whose intraclass correlation is rho.
        The spindle has 1 (it is decided by mitosis); Negative is left out.
    """
    several = [k for k in locations if k not in (NEGATIVE, SPINDLE)]
    shares = {SPINDLE: 1.0} if SPINDLE in locations else {}
    if not several:
        return shares
    common = _draw_opposed(len(several), rng)
    mitosis = mitotic_share(locations, frequencies)
    for location, drawn in zip(several, common, strict=True):
        alone = float(label_sets(frequencies).alone[location])
        place = float(drawn)
        if rng.random() < _ALONE_HIGH:
            place = 1.0 - alone * (1.0 - drawn) if len(locations) == 1 else (1.0 - alone) * drawn
        p, rho = presence * float(PRESENCE[frequencies][location]), float(CLUSTERING[location])
        strength = (1.0 - rho) / rho
        share = float(betaincinv(p * strength, (1.0 - p) * strength, place))
        if location not in MITOTIC_LOCATIONS:
            share = min(1.0, share / (1.0 - mitosis))  # the mitotic cells have none
        shares[location] = share
    return dict(sorted(shares.items()))


def _draw_opposed(count: int, rng: np.random.Generator) -> npt.NDArray[np.float64]:
    """Draw uniform numbers of which one tends to be high when the others are low, ``(count,)``."""
    normal = rng.standard_normal(count)
    if count > 1:
        apart = (normal - normal.mean()) * np.sqrt(count / (count - 1))
        normal = np.sqrt(1.0 - _COMPANY) * normal + np.sqrt(_COMPANY) * apart
        normal /= np.sqrt(1.0 + 2.0 * np.sqrt(_COMPANY * (1.0 - _COMPANY) * (count - 1) / count))
    return np.asarray(ndtr(normal), np.float64)


def draw_cell_locations(
    shares: Mapping[int, float], rng: np.random.Generator, *, mitotic: bool
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
    possible = MITOTIC_LOCATIONS if mitotic else frozenset(shares) - {SPINDLE}
    wanted = [(k, share) for k, share in sorted(shares.items()) if k in possible]
    if rng.random() < _COUPLED:
        ends = np.cumsum([share for _, share in wanted]) + rng.random()
        crossed = np.diff(np.floor(ends), prepend=0.0) > 0
        drawn = [k for (k, _), there in zip(wanted, crossed, strict=True) if there]
    else:
        drawn = [k for k, share in wanted if rng.random() < share]
    if mitotic and SPINDLE in shares and SPINDLE not in drawn:
        drawn.append(SPINDLE)
    return tuple(sorted(drawn)) or (NEGATIVE,)


def draw_extra_location(
    locations: tuple[int, ...], rng: np.random.Generator
) -> tuple[int | None, float]:
    """Draw, for one image, a location that the label lacks, and the share of cells showing it.

    Returns
    -------
    tuple
        Location and share; ``(None, 0.0)`` for most images and for Negative ones. Locations that
        often stand with those of the label are drawn more often; the spindle never is.
    """
    images, cells = _UNLABELLED
    if locations == (NEGATIVE,) or rng.random() >= images:
        return None, 0.0
    weight = np.prod(LIFT[list(locations)], axis=0)
    weight[[*locations, SPINDLE]] = 0.0
    extra = int(rng.choice(NEGATIVE, p=weight / weight.sum()))
    return extra, float(rng.beta(1.0, (1.0 - cells) / cells))

"""Which sets of locations stand together on a label.

The probability of every set of one to four locations, from four tables of counts over the 21,806
labelled images of the competition's training set (Human Protein Atlas; the table is published):
how many images carry a class, how many carry it alone, and how many carry each pair. A log-linear
model with the lift of each pair as interaction is fitted to them by iterative scaling, so that the
marginals hold and sets are plausible (nucleoplasm + cytosol, nucleoli + nucleoplasm, ...).

``atlas`` reproduces the counts. ``uniform`` keeps the lifts and asks for the more inclusions the
fewer of a label's cells carry the class, so that each stands in about as many *cells*; its labels
are larger (2.1 locations), or most cells would carry nothing. Negative is always alone.
"""

from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import combinations
from typing import Literal

import numpy as np
import numpy.typing as npt

from hpacells.core.label_noise import PRESENCE as MEASURED
from hpacells.core.locations import LOCATION_KEYS, N_LOCATIONS, NEGATIVE

__all__ = [
    "LIFT",
    "MITOTIC_LOCATIONS",
    "PRESENCE",
    "SPINDLE",
    "Frequencies",
    "LabelSets",
    "label_sets",
]

SPINDLE = LOCATION_KEYS.index("mitotic_spindle")
_CENTROSOME = LOCATION_KEYS.index("centrosome")
MITOTIC_LOCATIONS = frozenset(
    LOCATION_KEYS.index(key)
    for key in (
        "endoplasmic_reticulum", "mitotic_spindle", "centrosome", "plasma_membrane",
        "mitochondria", "cytosol", "vesicles",
    )
)  # fmt: skip
"""Locations that stay where they are when the nuclear envelope has gone."""

Frequencies = Literal["uniform", "atlas"]
Floats = npt.NDArray[np.float64]

_N_IMAGES = 21806
# class                 0    1     2     3     4     5    6     7    8     9   10  11    12    13
_COUNTS = np.array([8797, 1095, 2451, 1262, 1425, 1792, 775, 1846, 964, 1011, 818, 78, 1734, 3216,
                    2013, 252, 5685, 621, 34], float)  # fmt: skip
_ALONE = np.array([1551, 221, 515, 549, 788, 636, 476, 719, 529, 294, 404, 1, 561, 818, 1054, 83,
                   906, 274, 34], float)  # fmt: skip
_SIZES = np.array([0.4094, 0.1039, 0.0091])  # shares of labels of 2, 3 and 4 locations

# Images that carry both: row i holds the pairs (i, i + 1), (i, i + 2) ... (i, 17).
_PAIRS: tuple[tuple[int, ...], ...] = (
    (534, 1127, 449, 65, 639, 62, 748, 236, 317, 165, 30, 688, 1090, 559, 64, 2410, 180),
    (129, 16, 31, 44, 21, 42, 14, 21, 4, 0, 30, 77, 36, 0, 203, 3),
    (3, 29, 50, 62, 133, 64, 33, 56, 0, 63, 226, 158, 9, 565, 19),
    (14, 13, 24, 34, 14, 12, 19, 0, 21, 35, 49, 3, 218, 14),
    (10, 2, 37, 15, 33, 16, 0, 27, 152, 34, 5, 266, 15),
    (8, 71, 22, 29, 13, 2, 35, 97, 38, 29, 394, 12),
    (20, 0, 4, 2, 0, 10, 33, 3, 0, 123, 6),
    (5, 27, 9, 0, 32, 99, 7, 2, 243, 3),
    (12, 7, 0, 23, 25, 3, 16, 127, 1),
    (11, 0, 42, 222, 20, 0, 241, 9),
    (22, 20, 34, 2, 0, 132, 2),
    (9, 12, 2, 0, 31, 0),
    (114, 45, 11, 393, 6),
    (77, 11, 824, 26),
    (4, 157, 16),
    (48, 0),
    (71,),
)
_PRIOR_PAIRS = 3.0  # images' worth of the expected count, added to each pair: none is impossible


def _lifts() -> Floats:
    lift = np.ones((NEGATIVE, NEGATIVE))
    for i, row in enumerate(_PAIRS):
        for j, count in enumerate(row, start=i + 1):
            expected = _COUNTS[i] * _COUNTS[j] / _N_IMAGES
            prior = _PRIOR_PAIRS * expected / (expected + _PRIOR_PAIRS)
            lift[i, j] = lift[j, i] = (count + prior) / (expected + prior)
    return lift


LIFT = _lifts()
"""How much more often than by chance two locations are on one label, ``(18, 18)``, symmetric."""

_SPINDLE_UNIFORM = 0.35  # or the class would have next to no cells
PRESENCE: dict[Frequencies, Floats] = {
    "atlas": MEASURED,
    "uniform": np.where(np.arange(NEGATIVE) == SPINDLE, _SPINDLE_UNIFORM, MEASURED),
}
"""Mean share of a label's cells that show each location, ``(18,)``; see ``core.label_noise``."""

# Of the uniform mode: inclusions fall with the presence, a little less than 1/presence; how often
# a class is alone rises with it.
_UNIFORM_POWER = -0.93
_UNIFORM_ALONE = (0.16, 1.0, 0.01, 0.45)  # middle, slope, least, most
_UNIFORM_SIZES = np.array([0.48, 0.42, 0.10])  # larger labels: most classes are in fewer cells
_UNIFORM_NEGATIVE = 0.012
_UNIFORM_CAUTION = 10.0  # two locations that few cells show are seldom the only ones on a label
_UNIFORM_SPINDLE = (0.25, 0.02)  # beside classes that mitosis empties; beside the centrosome
_ROUNDS = 200


@dataclass(frozen=True)
class LabelSets:
    """Every possible label with its probability.

    Parameters
    ----------
    sets
        Class ids, ascending.
    member
        ``(S, 19)`` float64, 1 where a class is in a set.
    probability
        ``(S,)`` float64, sum 1.
    """

    sets: tuple[tuple[int, ...], ...]
    member: Floats
    probability: Floats

    @property
    def inclusion(self) -> Floats:
        """Share of labels that hold each class, ``(19,)``."""
        return self.probability @ self.member

    @property
    def alone(self) -> Floats:
        """Of the labels that hold a class, the share where it is alone, ``(19,)``."""
        singles = self.member.sum(axis=1) == 1
        return (self.probability * singles) @ self.member / self.inclusion

    @property
    def switchable(self) -> float:
        """Share of labels with two locations or more, the spindle not counted."""
        places = self.member[:, :NEGATIVE].sum(axis=1) - self.member[:, SPINDLE]
        return float(self.probability[places > 1].sum())

    def draw(self, point: float, rng: np.random.Generator, *, fewest: int = 1) -> tuple[int, ...]:
        """Draw a set whose *first* class is that at ``point`` in [0, 1) of the classes.

        Points spread evenly give classes spread evenly; each set has its probability all the
        same. ``fewest`` asks for sets of at least so many (Negative stays alone).
        """
        shares = (self.probability / self.member.sum(axis=1)) @ self.member
        first = int(np.searchsorted(np.cumsum(shares), point, side="right"))
        first = min(first, N_LOCATIONS - 1)
        if first == NEGATIVE:
            return (NEGATIVE,)
        size = self.member.sum(axis=1)
        weight = self.probability * self.member[:, first] / size * (size >= fewest)
        return self.sets[int(rng.choice(len(self.sets), p=weight / weight.sum()))]

    def change(
        self,
        locations: tuple[int, ...],
        rng: np.random.Generator,
        *,
        attempts: int,
        fewest: int = 1,
    ) -> tuple[int, ...]:
        """Change a set by chance as the label of one protein changes from cell line to cell line.

        Each attempt is a step of the Metropolis algorithm: a location comes or goes, more often
        towards a more probable set, so that every set stays as frequent as it is. Negative stays.
        ``fewest`` keeps sets of at least so many.
        """
        for _ in range(attempts if locations != (NEGATIVE,) else 0):
            toggled = {int(rng.integers(NEGATIVE))}
            other = tuple(sorted(toggled ^ set(locations)))
            if len(other) < fewest or other not in self._places:
                continue
            chance = self._probability_of(other) / self._probability_of(locations)
            if rng.random() < chance:
                locations = other
        return locations

    def _probability_of(self, one: tuple[int, ...]) -> float:
        return float(self.probability[self._places[one]])

    @cached_property
    def _places(self) -> dict[tuple[int, ...], int]:
        return {one: place for place, one in enumerate(self.sets)}


@lru_cache(maxsize=2)
def label_sets(frequencies: Frequencies) -> LabelSets:
    """Fit the probabilities of all sets of one to four locations (once a process)."""
    sets = [s for size in (1, 2, 3, 4) for s in combinations(range(NEGATIVE), size)]
    sets.append((NEGATIVE,))
    member = np.zeros((len(sets), N_LOCATIONS))
    for row, one in enumerate(sets):
        member[row, list(one)] = 1.0
    alone, several, sizes = _targets(frequencies)
    probability = _interactions(sets, frequencies)
    size = member.sum(axis=1).astype(int)
    single = size == 1
    probability[single] = (member * alone).sum(axis=1)[single]
    for _ in range(_ROUNDS):
        for count, share in enumerate(sizes, start=2):
            chosen = size == count
            probability[chosen] *= share / probability[chosen].sum()
        ratio = several / np.maximum((probability * ~single) @ member, 1e-300)
        ratio[NEGATIVE] = 1.0
        change = np.exp(member @ np.log(ratio) / size)
        probability = np.where(single, probability, probability * change)
    return LabelSets(tuple(sets), member, probability / probability.sum())


def _targets(frequencies: Frequencies) -> tuple[Floats, Floats, Floats]:
    """Give the shares of labels: a class alone, a class with others, 2, 3 and 4 locations."""
    if frequencies == "atlas":
        alone, several = _ALONE / _N_IMAGES, (_COUNTS - _ALONE) / _N_IMAGES
        return alone, several, _SIZES * (1 - alone.sum()) / _SIZES.sum()
    presence = PRESENCE["uniform"]
    wanted = np.append(presence**_UNIFORM_POWER, 0.0)
    middle, slope, least, most = _UNIFORM_ALONE
    rarely = np.clip(middle + slope * (presence - 0.66), least, most)
    lonely = wanted * np.append(rarely, 0.0)
    mean_of_several = float(_UNIFORM_SIZES @ [2.0, 3.0, 4.0] / _UNIFORM_SIZES.sum())
    labels = lonely.sum() + (wanted - lonely).sum() / mean_of_several
    scale = (1.0 - _UNIFORM_NEGATIVE) / labels
    alone, several = lonely * scale, (wanted - lonely) * scale
    alone[NEGATIVE] = _UNIFORM_NEGATIVE
    return alone, several, _UNIFORM_SIZES * (1 - alone.sum()) / _UNIFORM_SIZES.sum()


def _interactions(sets: list[tuple[int, ...]], frequencies: Frequencies) -> Floats:
    """Give each set the product of its pairs' lifts."""
    lift = LIFT.copy()
    if frequencies == "uniform":
        seldom = 1.0 - PRESENCE["uniform"]
        beside = [1.0 if k in MITOTIC_LOCATIONS else _UNIFORM_SPINDLE[0] for k in range(NEGATIVE)]
        beside[_CENTROSOME] = _UNIFORM_SPINDLE[1]
        lift[SPINDLE] = lift[:, SPINDLE] = beside
        lift *= np.exp(-_UNIFORM_CAUTION * np.outer(seldom, seldom))
    return np.array([np.prod([lift[pair] for pair in combinations(one, 2)]) for one in sets])

"""Differences between the cells of a sample that are designed, above the baseline scatter.

Enters: a sample's label, a cell's drawn locations and amounts, its phase. Leaves: the same, changed
by the sample's design. The design belongs to the antibody: all fields of a sample have it.

``intensity``
    ``effect`` is the standard deviation, in natural log units, of what is added to the log amount
    of a cell; it is the same for all locations of the cell. With ``share`` 1 it is normal over all
    cells (cut at 2 sd). With ``share`` < 1 there are two sub-populations: the high one has this
    share of the cells, and the fold change between the two is
    ``exp(effect / sqrt(share * (1 - share)))``.
``spatial``
    A sub-population of ``share`` of the cells switches place: it carries ``group``, the other cells
    carry the rest of the label. ``effect`` is the part of a location's amount that is missing where
    the cell's population does not belong: 1 for a full switch (the location is absent, and not
    among the cell's locations), less for a partial one (the location is there, with 1 - effect of
    its amount). Presence is by design here, not by the table of baseline scatter.
``cell_cycle``
    Amounts follow the phase: ``effect`` is the natural log of the fold between G1 and G2 or M, S
    half-way; negative when the protein falls. Locations of ``group`` go the opposite way, so
    that the protein changes place (cytosol → nucleus). ``share`` is 1.
``none``
    No design: effect and share are 0.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from hpacells.core.locations import LOCATION_KEYS, NEGATIVE
from hpacells.simulate.label_sets import MITOTIC_LOCATIONS, SPINDLE, Frequencies

__all__ = [
    "NO_VARIATION",
    "Kind",
    "Variation",
    "VariationChoice",
    "change_amounts",
    "change_locations",
    "draw_subpopulation",
    "draw_variation",
]

Kind = Literal["none", "intensity", "spatial", "cell_cycle"]
VariationChoice = Literal["default", "none", "intensity", "spatial", "cell_cycle"]

_KINDS: tuple[Kind, ...] = get_args(Kind)[1:]
_SHARES: dict[Frequencies, tuple[float, float, float]] = {  # of the samples, in the order of _KINDS
    "atlas": (0.27, 0.014, 0.035),
    "uniform": (0.12, 0.08, 0.08),
}
_NUCLEAR = frozenset(
    LOCATION_KEYS.index(key)
    for key in (
        "nucleoplasm", "nuclear_membrane", "nucleoli", "nucleoli_fibrillar_center",
        "nuclear_speckles", "nuclear_bodies",
    )
)  # fmt: skip
_CUT = 2.0
_CUT_NORMAL_SD = 0.9589  # of a standard normal number clipped at _CUT
_HIGHEST = 1.1  # largest log gain of a high sub-population: the camera must not saturate
_PHASES = {"G1": -0.5, "S": 0.0, "G2": 0.5, "M": 0.5}


@dataclass(frozen=True)
class Variation:
    """The design of a sample; what the numbers mean is said per kind above.

    Parameters
    ----------
    kind
        What differs between the cells.
    effect
        How much.
    share
        Of the cells in the sub-population; 1 where all cells take part; 0 without a design.
    group
        Class ids: where the sub-population has its protein (spatial), or what goes against the
        others (cell cycle).
    """

    kind: Kind = "none"
    effect: float = 0.0
    share: float = 0.0
    group: tuple[int, ...] = ()

    @property
    def has_subpopulation(self) -> bool:
        """Whether the cells are of two kinds."""
        return 0.0 < self.share < 1.0


NO_VARIATION = Variation()


def draw_variation(
    locations: Sequence[int],
    rng: np.random.Generator,
    *,
    frequencies: Frequencies,
    choice: VariationChoice = "default",
    switchable: float = 1.0,
) -> Variation:
    """Draw a sample's design.

    Parameters
    ----------
    locations
        Class ids of its label.
    rng
        The sample's own.
    frequencies
        ``atlas``: kinds about as frequent as the atlas flags genes; ``uniform``: more spatial and
        cell-cycle ones, fewer intensity ones.
    choice
        A kind for all samples, or ``default``.
    switchable
        Share of labels on which a spatial switch is possible; it keeps the share over all samples.

    Returns
    -------
    Variation
        ``NO_VARIATION`` for Negative samples, and where ``spatial`` is asked for on a label with
        fewer than two locations (the spindle does not count: mitosis decides it).
    """
    movable = [k for k in locations if k not in (NEGATIVE, SPINDLE)]
    chances = np.array(_SHARES[frequencies])
    chances[1] = min(1.0, chances[1] / switchable) if len(movable) > 1 else 0.0
    place = int(np.searchsorted(np.cumsum(chances), rng.random(), side="right"))
    kind: Kind = "none" if place >= len(_KINDS) else _KINDS[place]
    if choice != "default":
        kind = choice
    if not movable or (kind == "spatial" and len(movable) < 2):
        return NO_VARIATION
    if kind == "intensity":
        return _draw_intensity(rng)
    if kind == "spatial":
        return _draw_spatial(movable, rng)
    if kind == "cell_cycle":
        return _draw_cell_cycle(movable, rng)
    return NO_VARIATION


def _draw_intensity(rng: np.random.Generator) -> Variation:
    if rng.random() < 0.5:
        return Variation("intensity", float(rng.uniform(0.5, 0.9)), 1.0)
    share = float(rng.uniform(0.2, 0.5))
    log_fold = float(rng.uniform(np.log(3.0), np.log(8.0)))
    return Variation("intensity", log_fold * float(np.sqrt(share * (1.0 - share))), share)


def _draw_spatial(movable: list[int], rng: np.random.Generator) -> Variation:
    """Move to one location of the label; of three or four, to two as often."""
    size = 1 if len(movable) == 2 or rng.random() < 0.5 else 2
    group = rng.choice(movable, size=min(size, len(movable) - 1), replace=False)
    effect = 1.0 if rng.random() < 0.6 else float(rng.uniform(0.5, 0.85))
    share = float(rng.uniform(0.2, 0.5))
    return Variation("spatial", effect, share, tuple(sorted(map(int, group))))


def _draw_cell_cycle(movable: list[int], rng: np.random.Generator) -> Variation:
    effect = float(rng.uniform(0.7, 1.6) * rng.choice([-1.0, 1.0], p=[0.3, 0.7]))
    outside = tuple(k for k in movable if k not in _NUCLEAR)
    moves = rng.random() < 0.5 and 0 < len(outside) < len(movable)
    return Variation("cell_cycle", effect, 1.0, outside if moves else ())


def draw_subpopulation(variation: Variation, rng: np.random.Generator) -> bool:
    """Say whether one cell is of the sub-population; never without one."""
    return bool(rng.random() < variation.share) and variation.has_subpopulation


def change_locations(
    variation: Variation,
    label: Sequence[int],
    drawn: tuple[int, ...],
    *,
    switched: bool,
    mitotic: bool,
) -> tuple[int, ...]:
    """Give a cell of a spatial sample the locations of its population.

    Parameters
    ----------
    variation
        Of the sample; any other kind leaves ``drawn`` as it is.
    label
        Class ids of the sample's label.
    drawn
        The cell's baseline locations; of these only the spindle is kept.
    switched
        Whether the cell is of the sub-population.
    mitotic
        Then only what mitosis leaves in place.

    Returns
    -------
    tuple
        Class ids, ascending; (18,) where nothing is left.
    """
    if variation.kind != "spatial":
        return drawn
    chosen = [
        k
        for k in label
        if (k in drawn if k == SPINDLE else _belongs(variation, k, switched=switched))
        and (not mitotic or k in MITOTIC_LOCATIONS)
    ]
    return tuple(sorted(chosen)) or (NEGATIVE,)


def _belongs(variation: Variation, location: int, *, switched: bool) -> bool:
    return variation.effect < 1.0 or (location in variation.group) == switched


def change_amounts(
    variation: Variation,
    amounts: Mapping[int, float],
    *,
    phase: str,
    switched: bool,
    rng: np.random.Generator,
) -> tuple[dict[int, float], float]:
    """Change a cell's amounts as designed.

    Parameters
    ----------
    variation
        Of the sample.
    amounts
        Location → amount, the baseline.
    phase
        G1, S, G2 or M.
    switched
        Whether the cell is of the sub-population.
    rng
        The cell's own.

    Returns
    -------
    tuple
        The new amounts, and what was done to this cell: what was added to the log amount
        (intensity, cell cycle; there of the locations outside ``group``), the effect for a cell
        that switched place; else 0, as for a cell without protein.
    """
    if variation.kind == "spatial" and amounts:
        left = 1.0 - variation.effect
        factors = {
            k: 1.0 if k == SPINDLE or (k in variation.group) == switched else left for k in amounts
        }
        return {k: a * factors[k] for k, a in amounts.items()}, variation.effect * switched
    if variation.kind == "none" or not amounts:
        return dict(amounts), 0.0
    if variation.kind == "cell_cycle":
        added = variation.effect * _PHASES[phase] + 0.0  # no minus zero in the tables
    else:
        added = _draw_log_gain(variation, rng, switched=switched)
    signs = {k: -1.0 if k in variation.group else 1.0 for k in amounts}
    return {k: float(a * np.exp(signs[k] * added)) for k, a in amounts.items()}, added


def _draw_log_gain(variation: Variation, rng: np.random.Generator, *, switched: bool) -> float:
    if not variation.has_subpopulation:
        normal = float(np.clip(rng.standard_normal(), -_CUT, _CUT))
        return variation.effect * normal / _CUT_NORMAL_SD
    share = variation.share
    log_fold = variation.effect / float(np.sqrt(share * (1.0 - share)))
    high = min(_HIGHEST, log_fold * (1.0 - share))
    return high if switched else high - log_fold

"""What every cell of one field carries, and how much of it: the sample's design meets the cells.

Enters: the sample and the cells' phases. Leaves: locations, amounts, sub-population of each cell.
A gene's samples share the antibody's scatter, design and, about, its levels, which a sample's
fields share nearly; presence is drawn by image.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from hpacells.core.locations import NEGATIVE
from hpacells.simulate.anatomy import CellAnatomy
from hpacells.simulate.designed_variation import (
    change_amounts,
    change_locations,
    draw_subpopulation,
)
from hpacells.simulate.label_model import Sample
from hpacells.simulate.label_sets import MITOTIC_LOCATIONS, SPINDLE, Frequencies
from hpacells.simulate.presence import (
    draw_cell_locations,
    draw_extra_location,
    draw_image_shares,
)
from hpacells.simulate.protein import draw_amounts, draw_image_levels

__all__ = ["CellContent", "draw_contents"]

_GENE_STREAM, _FIELD_STREAM, _CELL_STREAM, _SAMPLE_STREAM = 20, 21, 22, 23
_CELL_SPREAD = (0.05, 0.3)  # sd between cells of the log of the whole staining, by gene
_WIDEST = 2.0  # in these sd
_FAINTER_PLACE = 0.6  # least share of the brighter place's level, in a spatial design
_LINE_SPREAD = 0.3  # sd between the samples (cell lines) of a gene of the log level of a location
_FIELD_SPREAD = 0.08  # sd between the fields of a sample of the log level of a location


@dataclass(frozen=True)
class CellContent:
    """What is in one cell.

    Parameters
    ----------
    amounts
        Location → amount, ascending; about 1 is bright, empty for a Negative cell.
    locations
        Class ids, ascending; (18,) for a Negative cell.
    subpopulation
        Whether the cell is of the sub-population that the sample's design has.
    effect
        What the design did to this cell (``designed_variation.change_amounts``).
    """

    amounts: dict[int, float]
    locations: tuple[int, ...]
    subpopulation: bool
    effect: float


def draw_contents(
    sample: Sample,
    cells: Iterable[CellAnatomy],
    *,
    seed: int,
    index: int,
    frequencies: Frequencies,
    presence: float = 1.0,
) -> dict[int, CellContent]:
    """Draw what the cells of a field carry.

    Parameters
    ----------
    sample
        The field's.
    cells
        Of which number and phase are asked.
    seed, index
        Of the dataset and the field.
    frequencies, presence
        Of the dataset.

    Returns
    -------
    dict
        Cell number → content.
    """
    antibody = np.random.default_rng([seed, sample.gene_ordinal, _GENE_STREAM])
    spread = float(antibody.uniform(*_CELL_SPREAD))
    own = np.random.default_rng([seed, sample.ordinal, _SAMPLE_STREAM])
    in_line = _scattered(draw_image_levels(sample.locations, antibody), _LINE_SPREAD, own)
    usual = _show_both_places(sample, in_line)
    image = np.random.default_rng([seed, index, _FIELD_STREAM])
    shares = draw_image_shares(sample.locations, image, frequencies=frequencies, presence=presence)
    extra, extra_share = draw_extra_location(sample.locations, image)
    if extra is not None:
        usual |= draw_image_levels((extra,), image)
    levels = _scattered(usual, _FIELD_SPREAD, image)
    if sample.variation.kind == "spatial":
        extra_share = 0.0  # who carries what is by design there
    contents = {}
    for cell in cells:
        rng = np.random.default_rng([seed, index, _CELL_STREAM, cell.number])
        drawn = draw_cell_locations(shares, rng, mitotic=cell.mitotic)
        if rng.random() < extra_share and extra is not None:
            drawn = _add_extra(drawn, extra, cell)
        switched = draw_subpopulation(sample.variation, rng)
        drawn = change_locations(
            sample.variation, sample.locations, drawn, switched=switched, mitotic=cell.mitotic
        )
        common = spread * float(np.clip(rng.standard_normal(), -_WIDEST, _WIDEST))
        amounts = {k: a * np.exp(common) for k, a in draw_amounts(drawn, levels, rng).items()}
        changed, effect = change_amounts(
            sample.variation, amounts, phase=cell.phase, switched=switched, rng=rng
        )
        contents[cell.number] = CellContent(
            {k: float(a) for k, a in changed.items()}, drawn, switched, effect
        )
    return contents


def _scattered(
    levels: dict[int, float], spread: float, rng: np.random.Generator
) -> dict[int, float]:
    return {k: a * float(np.exp(rng.normal(0.0, spread))) for k, a in sorted(levels.items())}


def _show_both_places(sample: Sample, levels: dict[int, float]) -> dict[int, float]:
    """Raise the fainter place of a spatial design: a switch that nobody can see is none."""
    group = sample.variation.group
    if sample.variation.kind != "spatial":
        return levels
    tops = [max(a for k, a in levels.items() if (k in group) == there) for there in (True, False)]
    raised = {
        there: max(1.0, _FAINTER_PLACE * max(tops) / top)
        for there, top in zip((True, False), tops, strict=True)
    }
    return {k: a * raised[k in group] for k, a in levels.items()}


def _add_extra(drawn: tuple[int, ...], extra: int, cell: CellAnatomy) -> tuple[int, ...]:
    if cell.mitotic and (extra not in MITOTIC_LOCATIONS or extra == SPINDLE):
        return drawn
    return tuple(sorted({*drawn, extra} - {NEGATIVE}))

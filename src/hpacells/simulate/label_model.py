"""Which sample a field belongs to, and what the sample is: label, gene, cell line, design.

The atlas labels *samples*, up to six images of one well with one antibody. Which fields form a
sample depends on (seed, index) only: blocks of 24 fields hold samples of 1-6 fields in random
order, three on average. The first block holds smaller ones (two on average), so that a dataset of
a few fields still shows most classes; for the same reason the *first* class of a label follows a
low-discrepancy sequence over the genes.

As in the atlas, a gene is stained in three cell lines, with one antibody. The samples of a group of
24 genes follow each other gene by gene, first all in the first line, then all in the second, then
in the third; so the first 24 samples (about 60 fields) are of 24 genes. The label is mostly the
same in every line; where it is not, one location came or went.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from hpacells.simulate.cell_lines import CELL_LINES, find_cell_line
from hpacells.simulate.designed_variation import (
    NO_VARIATION,
    Variation,
    VariationChoice,
    draw_variation,
)
from hpacells.simulate.label_sets import Frequencies, label_sets

__all__ = ["FIELDS_PER_BLOCK", "Sample", "SampleSize", "draw_sample"]

SampleSize = Literal["atlas", "single"]
"""``atlas``: samples of one to six fields; ``single``: each field is a sample of its own."""

FIELDS_PER_BLOCK = 24
_FIRST_SIZES = (1, 1, 1, 1, 1, 2, 2, 2, 2, 3, 4, 4)
_SAMPLE_SIZES = (1, 1, 2, 2, 3, 4, 5, 6)
_GENES_PER_GROUP, _LINES_PER_GENE = 400, 3  # about 1,200 fields before a gene comes back
_LABEL_CHANGES = 3  # attempts to change a label from line to line; about a quarter succeed
_GOLDEN = 0.6180339887498949
_WELLS = 96


@dataclass(frozen=True)
class Sample:
    """One well with one antibody: what all of its images share.

    Parameters
    ----------
    ordinal, gene_ordinal
        Numbers of the sample and of its gene (and antibody) in the dataset, from 0.
    locations
        Class ids of the label, ascending; (18,) for Negative.
    gene, antibody, cell_line, plate, well, sample
        As in ``train.csv``.
    variation
        What is designed to differ between the cells.
    """

    ordinal: int
    gene_ordinal: int
    locations: tuple[int, ...]
    gene: str
    antibody: str
    cell_line: str
    plate: str
    well: str
    sample: str
    variation: Variation = NO_VARIATION


def draw_sample(
    seed: int,
    index: int,
    frequencies: Frequencies,
    *,
    cell_lines: Sequence[str] = (),
    variation: VariationChoice = "default",
    samples: SampleSize = "atlas",
) -> Sample:
    """Find the sample that field ``index`` belongs to, and draw what it is.

    Parameters
    ----------
    seed, index
        Of the dataset and the field.
    frequencies
        How often each class is drawn.
    cell_lines
        Names to draw from, all alike; none: all known lines by their weights. A gene gets three
        different ones, as far as there are so many.
    variation
        A kind for every sample, or ``default``. ``spatial`` draws labels of at least two locations.
    samples
        How many fields a sample has.

    Returns
    -------
    Sample
        The same for the neighbouring fields of a sample.

    Raises
    ------
    ConfigError
        When a cell line is unknown.
    """
    ordinal = index if samples == "single" else _sample_of(seed, index)
    gene, turn = _gene_of(ordinal)
    rng = np.random.default_rng([seed, gene, 2])
    sets = label_sets(frequencies)
    offset = float(np.random.default_rng([seed, 3]).random())
    point = (offset + gene * _GOLDEN) % 1.0
    fewest = 2 if variation == "spatial" else 1
    locations = sets.draw(point, rng, fewest=fewest)
    line = _draw_lines(cell_lines, rng)[turn]
    if turn:
        own = np.random.default_rng([seed, ordinal, 5])
        locations = sets.change(locations, own, attempts=_LABEL_CHANGES, fewest=fewest)
    design = draw_variation(
        locations,
        np.random.default_rng([seed, gene, 4]),
        frequencies=frequencies,
        choice=variation,
        switchable=sets.switchable,
    )
    row, column = divmod(ordinal % _WELLS, 12)
    return Sample(
        ordinal=ordinal,
        gene_ordinal=gene,
        locations=locations,
        gene=f"SIMG{seed}x{gene:05d}",
        antibody=f"SIM{seed}x{gene:05d}",
        cell_line=line,
        plate=str(1 + ordinal // _WELLS),
        well=f"{'ABCDEFGH'[row]}{column + 1}",
        sample=str(1 + ordinal),
        variation=design,
    )


def _sample_of(seed: int, index: int) -> int:
    """Give the number of the sample that holds a field."""
    block, place = divmod(index, FIELDS_PER_BLOCK)
    sizes = _SAMPLE_SIZES if block else _FIRST_SIZES
    before = len(_FIRST_SIZES) + (block - 1) * len(_SAMPLE_SIZES) if block else 0
    ends = np.cumsum(np.random.default_rng([seed, block, 1]).permutation(sizes))
    return before + int(np.searchsorted(ends, place, side="right"))


def _gene_of(ordinal: int) -> tuple[int, int]:
    """Give the number of a sample's gene, and which of the gene's cell lines it is."""
    group, place = divmod(ordinal, _GENES_PER_GROUP * _LINES_PER_GENE)
    turn, gene = divmod(place, _GENES_PER_GROUP)
    return group * _GENES_PER_GROUP + gene, turn


def _draw_lines(names: Sequence[str], rng: np.random.Generator) -> list[str]:
    """Draw the cell lines of a gene; they differ as long as there are others left."""
    known = [find_cell_line(name).name for name in names] or [line.name for line in CELL_LINES]
    weight = {name: 1.0 if names else find_cell_line(name).weight for name in known}
    drawn: list[str] = []
    for _ in range(_LINES_PER_GENE):
        left = [name for name in weight if name not in drawn] or list(weight)
        chances = np.array([weight[name] for name in left])
        drawn.append(left[int(rng.choice(len(left), p=chances / chances.sum()))])
    return drawn

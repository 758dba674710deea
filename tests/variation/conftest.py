"""Fields whose cells are drawn: what a classifier with errors says of alike cells, or not."""

import numpy as np
import pytest

from hpacells.core.locations import N_LOCATIONS, NEGATIVE
from hpacells.variation.field_cells import FieldCells
from hpacells.variation.null import describe_field, fit_null


def _draw_cells(rng, n=None, *, switched=0.0, spread=0.25):
    """Cells of places a and b: alike but for noise; ``switched`` of them in c instead."""
    n = int(rng.integers(8, 30)) if n is None else n
    a, b, c = rng.permutation(NEGATIVE)[:3]
    logits = rng.normal(-4, 0.5, (n, N_LOCATIONS))
    logits[:, a] = 2 + rng.normal(0, 1, n)
    logits[:, b] = rng.normal(-1, 1) + rng.normal(0, 1, n)
    other = rng.random(n) < switched
    logits[other, c], logits[other, a] = logits[other, a], logits[other, c]
    area = rng.uniform(500, 1500, n)
    return FieldCells(
        cell_ids=np.arange(1, n + 1),
        probabilities=1 / (1 + np.exp(-logits)),
        protein=rng.uniform(20, 60) * np.exp(spread * rng.standard_normal(n)),
        area_um2=area,
        nucleus_area_um2=0.25 * area,
        dna_total=area * rng.uniform(8, 16, n),
        doubt=rng.uniform(0, 1, n),
        embedding=np.zeros((n, 0)),
    )


@pytest.fixture(scope="session")
def drawn_null():
    """The null of 400 drawn fields."""
    rng = np.random.default_rng(1)
    fields = [describe_field(_draw_cells(rng)) for _ in range(400)]
    return fit_null(fields, source="drawn", trimmed=False)


@pytest.fixture(scope="session")
def draw_cells():
    """Draws the cells of a field."""
    return _draw_cells

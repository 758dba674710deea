import dataclasses

import numpy as np
import pytest

from hpacells.core.locations import NEGATIVE
from hpacells.variation.config import VariationConfig
from hpacells.variation.outliers import OUTLIER_SCHEMA, find_outliers
from hpacells.variation.run_cells import RunCells


class Drawn(RunCells):
    def done_fields(self):
        return iter(self.cells)


def outliers(*fields):
    run = Drawn([(f"f{i}", cells) for i, cells in enumerate(fields)], frozenset(), {})
    table = find_outliers(run, VariationConfig())
    assert table.schema == OUTLIER_SCHEMA
    return [(r["fov_id"], r["cell_id"], r["kind"], r["z"]) for r in table.to_pylist()]


def test_the_bright_cell_and_the_cell_elsewhere_are_named(draw_cells):
    cells = draw_cells(np.random.default_rng(0), 20)
    cells.protein[4] *= 12
    cells.protein[7] /= 12
    others = np.argsort(cells.probabilities.mean(axis=0))
    cells.probabilities[9, :NEGATIVE] = 0.01
    cells.probabilities[9, others[0]] = 0.99
    found = outliers(cells)
    assert [row[:3] for row in found] == [
        ("f0", 5, "intensity"),
        ("f0", 8, "intensity"),
        ("f0", 10, "spatial"),
    ]
    assert found[0][3] > 3.5
    assert found[1][3] < -3.5


def test_cells_that_are_alike_have_no_outliers_and_few_cells_none(draw_cells):
    cells = draw_cells(np.random.default_rng(1), 12)
    alike = cells.take(np.zeros(12, np.int64))
    assert outliers(alike) == []
    cells.protein[0] *= 100
    assert outliers(cells.take(np.arange(4)), cells.take(np.arange(0))) == []
    dark = dataclasses.replace(cells, protein=np.zeros(12))
    assert {row[2] for row in outliers(dark)} <= {"spatial"}


def test_names_do_not_depend_on_the_order_of_cells(draw_cells):
    cells = draw_cells(np.random.default_rng(2), 30, switched=0.1, spread=0.8)
    turned = cells.take(np.random.default_rng(3).permutation(30))
    first, second = outliers(cells), outliers(turned)
    assert [row[:3] for row in first] == [row[:3] for row in second]
    assert [row[3] for row in first] == pytest.approx([row[3] for row in second])

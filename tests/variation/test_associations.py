import dataclasses

import numpy as np
import pytest
from scipy.stats import spearmanr

from hpacells.variation.associations import ASSOCIATION_SCHEMA, find_associations
from hpacells.variation.config import VariationConfig
from hpacells.variation.run_cells import RunCells


class Drawn(RunCells):
    def done_fields(self):
        return iter(self.cells)


def associations(fields, gene=None, **settings):
    groups = {fov_id: [("gene", gene)] if gene else [] for fov_id, _ in fields}
    run = Drawn(fields, frozenset(groups), groups)
    table = find_associations(run, VariationConfig(**settings))
    assert table.schema == ASSOCIATION_SCHEMA
    return {(r["level"], r["id"], r["kind"], r["covariate"]): r for r in table.to_pylist()}


def test_protein_that_follows_the_nucleus_is_found_and_is_spearmans(draw_cells):
    cells = draw_cells(np.random.default_rng(0), 25)
    rng = np.random.default_rng(1)
    cells = dataclasses.replace(
        cells,
        nucleus_area_um2=rng.uniform(100, 300, 25),
        dna_total=rng.uniform(1e3, 2e3, 25),
    )
    cells = dataclasses.replace(cells, protein=cells.nucleus_area_um2 + rng.normal(0, 20, 25))
    rows = associations([("f", cells)])
    found = rows["field", "f", "intensity", "nucleus_area_um2"]
    expected = spearmanr(cells.protein, cells.nucleus_area_um2)
    assert found["value"] == pytest.approx(expected.statistic)
    assert found["p"] == pytest.approx(0.001)
    assert rows["field", "f", "intensity", "dna_total"]["p"] > 0.02


def test_places_that_follow_the_cycle_are_found(draw_cells):
    rng = np.random.default_rng(2)
    cells = draw_cells(rng, 24, switched=0.5)
    from_c = cells.probabilities.argmax(axis=1) == cells.probabilities.argmax(axis=1)[0]
    tied = dataclasses.replace(cells, dna_total=np.where(from_c, 2e3, 1e3) + rng.uniform(0, 9, 24))
    found = associations([("f", tied)])["field", "f", "spatial", "dna_total"]
    assert 0.2 < found["value"] <= 1
    assert found["p"] == pytest.approx(0.001)


def test_p_is_uniform_where_nothing_goes_together(draw_cells):
    rng = np.random.default_rng(3)
    fields = []
    for i in range(120):
        cells = draw_cells(rng, 15, switched=0.3)
        fields.append((f"f{i:03d}", dataclasses.replace(cells, dna_total=rng.uniform(1, 9, 15))))
    rows = associations(fields, n_permutations=199)
    for kind in ("spatial", "intensity"):
        p = np.array([r["p"] for key, r in rows.items() if key[2:] == (kind, "dna_total")])
        assert len(p) == 120
        assert (p <= 0.1).mean() == pytest.approx(0.1, abs=0.08)
        assert (p <= 0.5).mean() == pytest.approx(0.5, abs=0.14)


def test_weak_fields_of_one_gene_join(draw_cells):
    rng = np.random.default_rng(4)
    fields = []
    for i in range(12):
        cells = draw_cells(rng, 12)
        pull = np.exp(0.25 * rng.standard_normal(12) + 0.25 * (cells.dna_total > 1.2e4))
        fields.append((f"f{i:02d}", dataclasses.replace(cells, protein=30 * pull)))
    rows = associations(fields, gene="G")
    alone = [r["p"] for key, r in rows.items() if key[0] == "field" and key[2] == "intensity"]
    gene = rows["gene", "G", "intensity", "dna_total"]
    assert gene["n_cells"] == 144
    assert gene["p"] <= np.median(alone)
    values = [r["value"] for k, r in rows.items() if k[0] == "field" and k[2:] == gene_key(gene)]
    assert gene["value"] == pytest.approx(np.mean(values))


def gene_key(row):
    return row["kind"], row["covariate"]


def test_what_is_undefined_has_no_row(draw_cells):
    cells = draw_cells(np.random.default_rng(5), 12)
    equal = dataclasses.replace(cells, dna_total=np.ones(12), protein=np.zeros(12))
    rows = associations([("equal", equal), ("few", cells.take(np.arange(3)))])
    assert set(rows) == {("field", "equal", "spatial", "nucleus_area_um2")}
    no_nuclei = dataclasses.replace(cells, nucleus_area_um2=np.zeros(12))
    assert associations([("bare", no_nuclei)]) == {}

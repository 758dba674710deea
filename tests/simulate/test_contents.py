"""What the cells of a field carry: the sample's design, the baseline, amounts."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from hpacells.core.locations import NEGATIVE
from hpacells.simulate.contents import draw_contents
from hpacells.simulate.designed_variation import NO_VARIATION, Variation
from hpacells.simulate.label_model import draw_sample

PHASES = ("G1", "S", "G2", "G1")
CELLS = [SimpleNamespace(number=i, mitotic=False, phase=PHASES[i % 4]) for i in range(1, 61)]
MITOTIC = [SimpleNamespace(number=i, mitotic=True, phase="M") for i in range(1, 61)]


def contents_of(locations, variation=NO_VARIATION, *, ordinal=0, gene=0, index=0, cells=CELLS):
    sample = replace(
        draw_sample(1, 0, "atlas"),
        ordinal=ordinal,
        gene_ordinal=gene,
        locations=locations,
        variation=variation,
    )
    return draw_contents(sample, cells, seed=1, index=index, frequencies="atlas")


def test_a_cell_does_not_depend_on_the_others():
    assert contents_of((0, 7), cells=CELLS[10:12]) == {
        number: content for number, content in contents_of((0, 7)).items() if number in {11, 12}
    }


def test_amounts_are_of_the_cells_locations_and_negative_cells_have_none():
    for index in range(40):
        for content in contents_of((0, 7, 16), index=index).values():
            held = tuple(k for k in content.locations if k != NEGATIVE)
            assert tuple(content.amounts) == held
            assert bool(content.amounts) == (content.locations != (NEGATIVE,))
            assert content.effect == 0.0
    assert {c.locations for c in contents_of((NEGATIVE,)).values()} == {(NEGATIVE,)}


def test_some_cells_show_what_the_label_lacks_and_in_mitosis_only_what_stays():
    for cells, nuclear in ((CELLS[:10], True), (MITOTIC[:10], False)):
        more = [
            set(content.locations) - {13, NEGATIVE}
            for index in range(200)
            for content in contents_of((13,), index=index, cells=cells).values()
        ]
        assert 0.001 < np.mean([len(extra) > 0 for extra in more]) < 0.03
        seen = set().union(*more)
        assert 11 not in seen
        assert bool(seen & {0, 1, 2, 3, 4, 5}) == nuclear


def test_intensity_spreads_amounts_beyond_the_baseline():
    spreads = {}
    for effect in (0.0, 0.8):
        design = Variation("intensity", effect, 1.0) if effect else NO_VARIATION
        contents = contents_of((14,), design)
        spreads[effect] = np.std([np.log(c.amounts[14]) for c in contents.values() if c.amounts])
    assert spreads[0.8] ** 2 == pytest.approx(spreads[0.0] ** 2 + 0.8**2, rel=0.35)


def test_a_switch_shows_in_the_locations_and_both_places_can_be_seen():
    design = Variation("spatial", 1.0, 0.4, (7,))
    for ordinal in range(12):
        contents = contents_of((0, 7), design, ordinal=ordinal, gene=ordinal).values()
        assert {c.locations for c in contents} == {(0,), (7,)}
        assert all((c.locations == (7,)) == c.subpopulation for c in contents)
        levels = [np.median([c.amounts[k] for c in contents if k in c.amounts]) for k in (0, 7)]
        assert min(levels) > 0.35 * max(levels)
    members = [
        c.subpopulation for i in range(20) for c in contents_of((0, 7), design, index=i).values()
    ]
    assert np.mean(members) == pytest.approx(0.4, abs=0.05)


def test_the_cycle_shows_in_the_amounts():
    contents = contents_of((14,), Variation("cell_cycle", 1.5, 1.0))
    logs = {
        phase: np.mean(
            [np.log(c.amounts[14]) for n, c in contents.items()
             if c.amounts and PHASES[n % 4] == phase]
        )
        for phase in ("G1", "S", "G2")
    }  # fmt: skip
    assert logs["G2"] - logs["G1"] == pytest.approx(1.5, abs=0.35)
    assert logs["G1"] < logs["S"] < logs["G2"]


def test_fields_of_a_sample_have_nearly_the_same_levels():
    medians = [
        np.median([c.amounts[14] for c in contents_of((14,), index=i).values() if c.amounts])
        for i in range(6)
    ]
    assert max(medians) / min(medians) < 1.6


def test_a_genes_levels_differ_less_between_lines_than_between_genes():
    def log_levels(**which):
        contents = contents_of((0, 7, 14), **which).values()
        return [np.log(np.median([c.amounts[k] for c in contents if k in c.amounts]))
                for k in (0, 7, 14)]  # fmt: skip

    lines = np.array([log_levels(ordinal=k) for k in range(14)])
    genes = np.array([log_levels(ordinal=k, gene=k) for k in range(14)])
    assert 0.15 < lines.std(axis=0).mean() < 0.45
    assert lines.std(axis=0).mean() < 0.75 * genes.std(axis=0).mean()

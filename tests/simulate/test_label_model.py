"""Samples: which fields they hold, labels, cell lines, designs."""

from collections import Counter

import numpy as np
import pytest

from hpacells.core.errors import ConfigError
from hpacells.core.locations import NEGATIVE
from hpacells.simulate import label_model
from hpacells.simulate.label_model import FIELDS_PER_BLOCK, draw_sample


def test_a_sample_has_one_to_six_neighbouring_fields_and_one_label():
    samples = [draw_sample(4, i, "uniform") for i in range(FIELDS_PER_BLOCK * 8)]
    ordinals = [s.ordinal for s in samples]
    assert ordinals == sorted(ordinals)
    assert set(ordinals) == set(range(max(ordinals) + 1))
    sizes = Counter(ordinals)
    assert set(sizes.values()) == {1, 2, 3, 4, 5, 6}
    later = [sizes[o] for o in set(ordinals[FIELDS_PER_BLOCK:])]
    assert np.mean(later) == pytest.approx(3.0)
    by_ordinal = {}
    for sample in samples:
        assert by_ordinal.setdefault(sample.ordinal, sample) == sample
    assert len({(s.antibody, s.cell_line) for s in by_ordinal.values()}) == len(by_ordinal)


def samples_of(seed, fields, **choice):
    """Give one of each sample, in order."""
    drawn = (draw_sample(seed, i, "uniform", **choice) for i in range(fields))
    return list({s.ordinal: s for s in drawn}.values())


def by_gene(samples):
    genes = {}
    for sample in samples:
        genes.setdefault(sample.gene, []).append(sample)
    return genes


@pytest.fixture
def small_groups(monkeypatch):
    monkeypatch.setattr(label_model, "_GENES_PER_GROUP", 24)


def test_few_fields_have_as_many_genes_as_samples():
    samples = samples_of(4, 900)
    assert len({s.gene for s in samples}) == len(samples)


@pytest.mark.usefixtures("small_groups")
def test_a_gene_is_stained_in_three_cell_lines():
    samples = samples_of(4, 420)
    genes = by_gene(samples[: 72 + 24])
    assert [len(one) for one in genes.values()] == [3] * 24 + [1] * 24
    for one in list(genes.values())[:24]:
        assert len({s.cell_line for s in one}) == 3
        assert len({s.antibody for s in one}) == len({s.gene_ordinal for s in one}) == 1
        assert len({(s.plate, s.well) for s in one}) == 3


@pytest.mark.usefixtures("small_groups")
def test_a_genes_label_and_design_are_mostly_the_same_in_every_line():
    firsts, others = [], []
    for seed in range(6):
        for one in by_gene(samples_of(seed, 420)[:144]).values():
            firsts += [one[0]] * (len(one) - 1)
            others += one[1:]
    same = [a.locations == b.locations for a, b in zip(firsts, others, strict=True)]
    assert 0.6 < np.mean(same) < 0.95
    for first, other, alike in zip(firsts, others, same, strict=True):
        assert len(set(first.locations) ^ set(other.locations)) <= 3
        if alike:
            assert other.variation == first.variation
        assert set(other.variation.group) <= set(other.locations)


@pytest.mark.usefixtures("small_groups")
@pytest.mark.parametrize(("lines", "count"), [(("HeLa",), 1), (("HeLa", "A549"), 2)])
def test_a_gene_has_as_many_lines_as_there_are(lines, count):
    genes = by_gene(samples_of(4, 260, cell_lines=lines)[:72])
    assert {len({s.cell_line for s in one}) for one in genes.values()} == {count}


def test_fields_that_are_samples_of_their_own_hold_as_many_labels():
    alone = [draw_sample(4, i, "uniform", samples="single") for i in range(60)]
    assert [s.ordinal for s in alone] == list(range(60))
    assert len({s.gene for s in alone}) == 60
    assert len({draw_sample(4, i, "uniform").gene for i in range(60)}) < 40


def test_a_field_alone_draws_what_it_draws_in_the_dataset():
    assert draw_sample(4, 31, "atlas") == [draw_sample(4, i, "atlas") for i in range(40)][31]
    assert draw_sample(4, 31, "atlas") != draw_sample(5, 31, "atlas")


@pytest.mark.parametrize(("fields", "classes"), [(20, 12), (30, 14), (60, 17)])
def test_few_fields_show_most_classes(fields, classes):
    found = []
    for seed in range(8):
        samples = [draw_sample(seed, i, "uniform") for i in range(fields)]
        found.append(len({k for s in samples for k in s.locations}))
    assert np.mean(found) >= classes


def test_negative_stands_alone_on_a_label():
    for i in range(600):
        locations = draw_sample(8, i, "uniform").locations
        assert NEGATIVE not in locations or locations == (NEGATIVE,)


def test_cell_lines_can_be_chosen():
    chosen = [draw_sample(1, i, "atlas", cell_lines=("HeLa", "A549")) for i in range(80)]
    assert {s.cell_line for s in chosen} == {"HeLa", "A549"}
    free = [draw_sample(1, i, "atlas") for i in range(80)]
    assert len({s.cell_line for s in free}) > 6
    assert [s.locations for s in free] == [s.locations for s in chosen]
    with pytest.raises(ConfigError, match="HeLaa"):
        draw_sample(1, 0, "atlas", cell_lines=("HeLaa",))


@pytest.mark.parametrize("kind", ["none", "intensity", "spatial", "cell_cycle"])
def test_a_kind_can_be_asked_of_every_sample(kind):
    samples = [draw_sample(3, i, "uniform", variation=kind) for i in range(0, 240, 3)]
    places = [s for s in samples if set(s.locations) - {NEGATIVE, 11}]
    if kind == "spatial":
        assert {len(s.locations) for s in places} <= {2, 3, 4}
        places = [s for s in places if len(set(s.locations) - {11}) > 1]
    assert {s.variation.kind for s in places} == {kind}
    assert all(s.variation.kind == "none" for s in samples if s.locations == (NEGATIVE,))


@pytest.mark.parametrize(
    ("frequencies", "shares"),
    [("atlas", (0.27, 0.014, 0.035)), ("uniform", (0.12, 0.08, 0.08))],
)
def test_kinds_are_as_frequent_as_asked(frequencies, shares):
    kinds = Counter()
    seen = set()
    for index in range(0, 4500, 3):
        sample = draw_sample(6, index, frequencies)
        if sample.ordinal not in seen and sample.locations != (NEGATIVE,):
            kinds[sample.variation.kind] += 1
            seen.add(sample.ordinal)
    for kind, share in zip(("intensity", "spatial", "cell_cycle"), shares, strict=True):
        error = np.sqrt(share * (1 - share) / len(seen))
        assert kinds[kind] / len(seen) == pytest.approx(share, abs=4 * error)

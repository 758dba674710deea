"""Sets of locations on a label: marginals, plausibility, draws."""

import numpy as np
import pytest

from hpacells.core.locations import N_LOCATIONS, NEGATIVE
from hpacells.simulate.label_sets import LIFT, SPINDLE, label_sets

# Published counts of the 21,806 labelled images of the competition's training set.
COUNTS = {0: 8797, 4: 1425, 7: 1846, 11: 78, 13: 3216, 16: 5685, 17: 621, 18: 34}
ALONE = {0: 1551, 4: 788, 7: 719, 13: 818, 16: 906, 17: 274, 18: 34}


def test_atlas_sets_have_the_counts_of_the_atlas():
    sets = label_sets("atlas")
    for location, count in COUNTS.items():
        assert sets.inclusion[location] == pytest.approx(count / 21806, rel=0.02)
    for location, count in ALONE.items():
        assert sets.alone[location] == pytest.approx(count / COUNTS[location], rel=0.03)
    sizes = np.bincount(sets.member.sum(axis=1).astype(int), weights=sets.probability)
    assert sizes == pytest.approx([0, 0.4775, 0.4095, 0.104, 0.009], abs=0.002)


def test_atlas_pairs_are_the_frequent_ones_of_the_atlas():
    """In the training set 5.9 % of the images are (0, 16), 2.7 % (0, 2), 0.7 % (4, 13) or less."""
    chance = dict(zip(label_sets("atlas").sets, label_sets("atlas").probability, strict=True))
    assert chance[0, 16] == pytest.approx(0.059, abs=0.012)
    assert chance[0, 2] == pytest.approx(0.027, abs=0.006)
    assert chance[2, 3] < 0.0005 < chance[13, 16]
    assert chance[9, 13] > 5 * chance[9, 14]


@pytest.mark.parametrize("frequencies", ["uniform", "atlas"])
def test_probabilities_are_probabilities_and_negative_is_alone(frequencies):
    sets = label_sets(frequencies)
    assert sets.probability.sum() == pytest.approx(1.0)
    assert (sets.probability >= 0).all()
    assert len(set(sets.sets)) == len(sets.sets)
    assert all(one == (NEGATIVE,) for one in sets.sets if NEGATIVE in one)
    assert all(1 <= len(one) <= 4 for one in sets.sets)
    assert 0.3 < sets.switchable < 0.8


def test_lifts_are_symmetric_and_positive():
    assert (LIFT == LIFT.T).all()
    assert LIFT.min() > 0
    assert LIFT[10, SPINDLE] > 3 > LIFT[14, 7]


def test_uniform_asks_more_often_for_what_few_cells_show():
    inclusion = label_sets("uniform").inclusion
    assert inclusion[12] > inclusion[5] > inclusion[3] > inclusion[2] > inclusion[0]


def test_points_spread_evenly_draw_each_set_as_often_as_it_should():
    sets = label_sets("uniform")
    rng = np.random.default_rng(0)
    n = 2000
    drawn = [sets.draw((i + 0.5) / n, rng) for i in range(n)]
    found = np.zeros(N_LOCATIONS)
    for one in drawn:
        found[list(one)] += 1 / n
    assert found == pytest.approx(sets.inclusion, abs=0.03)
    assert sets.draw(1.0 - 1e-16, rng) == (NEGATIVE,)


def test_larger_sets_can_be_asked_for():
    rng = np.random.default_rng(0)
    drawn = [label_sets("atlas").draw((i + 0.5) / 200, rng, fewest=2) for i in range(200)]
    assert {len(one) for one in drawn if one != (NEGATIVE,)} <= {2, 3, 4}


@pytest.mark.parametrize("frequencies", ["uniform", "atlas"])
def test_labels_that_change_are_as_frequent_as_before(frequencies):
    sets, rng = label_sets(frequencies), np.random.default_rng(1)
    before = [sets.sets[i] for i in rng.choice(len(sets.sets), 6000, p=sets.probability)]
    after = [sets.change(one, rng, attempts=3) for one in before]
    assert 0.1 < np.mean([a != b for a, b in zip(before, after, strict=True)]) < 0.4
    for k in range(19):
        share = np.mean([k in one for one in after])
        error = np.sqrt(sets.inclusion[k] / len(after))
        assert share == pytest.approx(sets.inclusion[k], abs=4 * error)


def test_negative_does_not_change_and_sets_keep_their_least_size():
    sets, rng = label_sets("uniform"), np.random.default_rng(1)
    assert sets.change((18,), rng, attempts=50) == (18,)
    assert sets.change((0, 16), rng, attempts=0) == (0, 16)
    for _ in range(100):
        assert len(sets.change((0, 16), rng, attempts=20, fewest=2)) >= 2

"""Designed differences: what is added, who switches, what follows the cycle."""

import numpy as np
import pytest

from hpacells.core.locations import NEGATIVE
from hpacells.simulate.designed_variation import (
    NO_VARIATION,
    Variation,
    change_amounts,
    change_locations,
    draw_subpopulation,
    draw_variation,
)

AMOUNTS = {0: 0.8, 16: 0.4}


def logs_added(variation, cells=4000):
    """Log gain of location 0 and the sub-population's members, ``(cells,)`` each."""
    rng = np.random.default_rng(0)
    gains, members = [], []
    for _ in range(cells):
        switched = draw_subpopulation(variation, rng)
        changed, told = change_amounts(variation, AMOUNTS, phase="G1", switched=switched, rng=rng)
        gains.append(np.log(changed[0] / AMOUNTS[0]))
        assert told == pytest.approx(gains[-1])
        assert changed[16] / AMOUNTS[16] == pytest.approx(changed[0] / AMOUNTS[0])
        members.append(switched)
    return np.array(gains), np.array(members)


def test_no_design_changes_nothing():
    gains, members = logs_added(NO_VARIATION, cells=20)
    assert not gains.any()
    assert not members.any()
    drawn = (0, 7)
    assert change_locations(NO_VARIATION, (0, 7, 16), drawn, switched=False, mitotic=False) == drawn


@pytest.mark.parametrize("share", [1.0, 0.3])
def test_the_effect_of_intensity_is_the_sd_of_the_log_gain(share):
    gains, members = logs_added(Variation("intensity", 0.7, share))
    assert gains.std() == pytest.approx(0.7, rel=0.04)
    assert members.mean() == pytest.approx(0.3 if share < 1 else 0.0, abs=0.03)
    if share < 1:
        fold = gains[members].mean() - gains[~members].mean()
        assert fold == pytest.approx(0.7 / np.sqrt(share * (1 - share)))
        assert len(np.unique(gains.round(9))) == 2


def test_a_full_switch_moves_the_sub_population_to_other_places():
    variation = Variation("spatial", 1.0, 0.4, (7,))
    for switched, expected in ((False, (0, 16)), (True, (7,))):
        found = change_locations(variation, (0, 7, 16), (0,), switched=switched, mitotic=False)
        assert found == expected
        amounts, told = change_amounts(
            variation,
            dict.fromkeys(found, 0.5),
            phase="G1",
            switched=switched,
            rng=np.random.default_rng(0),
        )
        assert amounts == dict.fromkeys(expected, 0.5)
        assert told == float(switched)


def test_a_partial_switch_moves_amounts():
    variation = Variation("spatial", 0.75, 0.4, (16,))
    for switched, expected in ((False, {0: 0.8, 16: 0.1}), (True, {0: 0.2, 16: 0.4})):
        found = change_locations(variation, (0, 16), (NEGATIVE,), switched=switched, mitotic=False)
        assert found == (0, 16)
        amounts, told = change_amounts(
            variation, AMOUNTS, phase="S", switched=switched, rng=np.random.default_rng(0)
        )
        assert amounts == pytest.approx(expected)
        assert told == 0.75 * switched


def test_mitosis_limits_a_switched_cell_too():
    variation = Variation("spatial", 1.0, 0.4, (7,))
    label = (7, 11, 16)
    mitotic = change_locations(variation, label, (11,), switched=False, mitotic=True)
    assert mitotic == (11, 16)
    assert change_locations(variation, label, (11,), switched=True, mitotic=True) == (11,)
    assert change_locations(variation, (7, 16), (16,), switched=True, mitotic=True) == (NEGATIVE,)
    kept, _ = change_amounts(
        variation, {11: 0.5, 16: 0.3}, phase="M", switched=False, rng=np.random.default_rng(0)
    )
    assert kept == {11: 0.5, 16: 0.3}


def test_the_cycle_moves_amounts_by_its_fold_and_its_group_the_other_way():
    variation = Variation("cell_cycle", 1.2, 1.0, (16,))
    rng = np.random.default_rng(0)
    found = {
        phase: change_amounts(variation, AMOUNTS, phase=phase, switched=False, rng=rng)[0]
        for phase in ("G1", "S", "G2", "M")
    }
    assert np.log(found["G2"][0] / found["G1"][0]) == pytest.approx(1.2)
    assert np.log(found["G2"][16] / found["G1"][16]) == pytest.approx(-1.2)
    assert found["S"] == AMOUNTS
    assert found["M"] == found["G2"]
    assert not draw_subpopulation(variation, rng)


@pytest.mark.parametrize("kind", ["intensity", "spatial", "cell_cycle"])
def test_nothing_is_done_to_a_cell_without_protein(kind):
    variation = Variation(kind, 0.9, 0.5, (7,))
    rng = np.random.default_rng(0)
    assert change_amounts(variation, {}, phase="G2", switched=True, rng=rng) == ({}, 0.0)


def test_designs_are_within_their_limits():
    rng = np.random.default_rng(0)
    for choice in ("intensity", "spatial", "cell_cycle"):
        for _ in range(300):
            drawn = draw_variation((0, 7, 16), rng, frequencies="uniform", choice=choice)
            assert drawn.kind == choice
            assert 0.4 < abs(drawn.effect) <= 1.6
            assert 0.2 <= drawn.share <= 1.0
            assert set(drawn.group) < {0, 7, 16}
            assert bool(drawn.group) or choice != "spatial"
            assert drawn.has_subpopulation == (drawn.share < 1.0)


@pytest.mark.parametrize("locations", [(NEGATIVE,), (11,)])
@pytest.mark.parametrize("choice", ["default", "intensity", "spatial", "cell_cycle"])
def test_samples_without_protein_of_their_own_have_no_design(locations, choice):
    rng = np.random.default_rng(0)
    for _ in range(40):
        assert draw_variation(locations, rng, frequencies="uniform", choice=choice) == NO_VARIATION


def test_one_location_cannot_switch():
    rng = np.random.default_rng(0)
    asked = draw_variation((7, 11), rng, frequencies="atlas", choice="spatial")
    assert asked == NO_VARIATION
    drawn = [draw_variation((7,), rng, frequencies="uniform") for _ in range(400)]
    assert {v.kind for v in drawn} == {"none", "intensity", "cell_cycle"}

import numpy as np
import pytest

from hpacells.core.locations import NEGATIVE
from hpacells.variation.measures import (
    bootstrap_counts,
    intensity_variation,
    location_distributions,
    spatial_variation,
)


def one_of_each(*class_ids, score=0.9, negative=0.0):
    probabilities = np.zeros((len(class_ids), 19), np.float32)
    probabilities[np.arange(len(class_ids)), class_ids] = score
    probabilities[:, NEGATIVE] = np.maximum(probabilities[:, NEGATIVE], negative)
    return probabilities


def once(measure, values):
    return measure(values, np.ones((1, len(values)), np.int64))[0]


def spatial(probabilities):
    return once(spatial_variation, location_distributions(probabilities))


def test_negative_is_removed_and_the_rest_renormalised():
    probabilities = one_of_each(0, 3, NEGATIVE, negative=0.3)
    probabilities[0, 1] = 0.3
    distributions = location_distributions(probabilities)
    assert distributions.shape == (2, 18)
    np.testing.assert_allclose(distributions[0, :2], [0.75, 0.25], rtol=1e-6)
    assert distributions.sum(axis=1) == pytest.approx(1.0)


def test_a_cell_without_any_location_is_left_out_too():
    assert location_distributions(np.zeros((3, 19), np.float32)).shape == (0, 18)
    assert location_distributions(np.zeros((0, 19), np.float32)).shape == (0, 18)


def test_spatial_of_drawn_fields():
    assert spatial(one_of_each(4, 4, 4, 4)) == 0
    assert spatial(one_of_each(0, 0, 5, 5)) == pytest.approx(np.log(2) / np.log(18))
    assert spatial(one_of_each(*range(18))) == pytest.approx(1.0)


def test_spatial_does_not_see_negative_cells_or_how_strong_negative_is():
    plain = spatial(one_of_each(0, 0, 5, 5))
    assert spatial(one_of_each(0, NEGATIVE, 0, 5, NEGATIVE, 5)) == pytest.approx(plain)
    assert spatial(one_of_each(0, 0, 5, 5, negative=0.5)) == pytest.approx(plain)


def test_spatial_against_scipy():
    from scipy.spatial.distance import jensenshannon  # noqa: PLC0415

    rng = np.random.default_rng(0)
    distributions = rng.dirichlet(np.ones(18), 2)
    expected = jensenshannon(*distributions) ** 2 / np.log(18)
    assert once(spatial_variation, distributions) == pytest.approx(expected)


@pytest.mark.parametrize("measure", [spatial_variation, intensity_variation])
def test_order_of_cells_and_copies_of_all_change_nothing(measure):
    rng = np.random.default_rng(1)
    values = rng.dirichlet(np.ones(18), 9) if measure is spatial_variation else rng.random(9)
    score = once(measure, values)
    assert 0 < score < 1
    assert once(measure, values[rng.permutation(9)]) == pytest.approx(score)
    assert once(measure, np.concatenate([values, values])) == pytest.approx(score)
    counts = rng.integers(0, 4, (6, 9))
    copies = [once(measure, np.repeat(values, row, axis=0)) for row in counts]
    np.testing.assert_allclose(measure(values, counts), copies)


def test_intensity_of_drawn_fields():
    assert once(intensity_variation, np.array([7.0, 7, 7])) == pytest.approx(0)
    assert once(intensity_variation, np.array([0.0, 0, 0, 8])) == pytest.approx(0.75)
    assert once(intensity_variation, np.array([0.0, 4, 0, 4])) == pytest.approx(0.5)
    assert np.isnan(once(intensity_variation, np.zeros(4)))


def test_intensity_is_the_mean_absolute_difference_and_knows_no_scale():
    amounts = np.random.default_rng(2).gamma(2, 10, 12)
    differences = np.abs(amounts[:, None] - amounts[None]).mean()
    expected = differences / (2 * amounts.mean())
    assert once(intensity_variation, amounts) == pytest.approx(expected)
    assert once(intensity_variation, 40 * amounts) == pytest.approx(expected)


def test_replicates_draw_as_many_cells_as_there_are():
    counts = bootstrap_counts(np.random.default_rng(3), 7, 50)
    assert counts.shape == (50, 7)
    assert (counts.sum(axis=1) == 7).all()

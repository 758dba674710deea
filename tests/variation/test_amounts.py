import numpy as np
import pytest
from sklearn.linear_model import Ridge

from hpacells.core.errors import InputError
from hpacells.variation.amounts import amount_features, fit_amount_weights, learned_spread
from hpacells.variation.measures import weighted_spread
from hpacells.variation.null import describe_field

HIDDEN = np.array([0.6, -0.3, 0.0])


def known_field(draw_cells, rng, *, spread=0.3):
    """Cells whose amounts the embedding tells, and their mean grey value does not."""
    cells = draw_cells(rng)
    embedding = rng.normal(size=(len(cells), len(HIDDEN))) * spread
    cells = type(cells)(**{**vars(cells), "embedding": embedding})
    return cells, embedding @ HIDDEN


@pytest.fixture(scope="module")
def taught(draw_cells):
    rng = np.random.default_rng(1)
    fields = [known_field(draw_cells, rng) for _ in range(60)]
    return fields, fit_amount_weights(fields)


def test_hidden_amounts_are_learned(taught, draw_cells):
    _, weights = taught
    cells, amounts = known_field(draw_cells, np.random.default_rng(2))
    told = amount_features(cells) @ weights
    assert np.corrcoef(told, amounts)[0, 1] > 0.95


def test_the_fit_is_a_ridge_regression_of_what_is_centred_by_field(taught):
    fields, weights = taught
    features = np.concatenate([amount_features(cells) for cells, _ in fields])
    amounts = np.concatenate([y - y.mean() for _, y in fields])
    scale = features.std(axis=0)
    reference = Ridge(alpha=200.0, fit_intercept=False).fit(features / scale, amounts)
    assert np.array(weights) == pytest.approx(reference.coef_ / scale, abs=1e-5)


def test_cells_of_unknown_amount_teach_nothing(taught):
    fields, weights = taught
    cells, amounts = fields[0]
    unknown = [*fields, (cells, np.full(len(amounts), np.nan))]
    assert fit_amount_weights(unknown) == pytest.approx(weights)


def test_more_differing_cells_spread_more_whatever_their_order_and_brightness(taught, draw_cells):
    _, weights = taught
    wide, narrow = (
        known_field(draw_cells, np.random.default_rng(3), spread=s)[0] for s in (0.9, 0.3)
    )
    assert learned_spread(wide, weights) > 1.5 * learned_spread(narrow, weights)
    turned = wide.take(np.random.default_rng(4).permutation(len(wide)))
    assert learned_spread(turned, weights) == pytest.approx(learned_spread(wide, weights))
    brighter = type(wide)(**{**vars(wide), "protein": 3 * wide.protein + 2})
    assert learned_spread(brighter, weights) == pytest.approx(learned_spread(wide, weights))


def test_one_cell_does_not_spread(taught, draw_cells):
    _, weights = taught
    cells, _ = known_field(draw_cells, np.random.default_rng(5))
    assert learned_spread(cells.take(np.array([0])), weights) == 0.0


def test_a_cell_without_a_place_weighs_nothing(draw_cells):
    cells = draw_cells(np.random.default_rng(6), 12)
    cells.probabilities[:4] = 0.0
    amounts = np.zeros(12)
    amounts[:4] = 5.0
    assert weighted_spread(cells, amounts) < 0.05


def test_refusals(taught, draw_cells):
    fields, weights = taught
    with pytest.raises(InputError, match="at least 300 cells of known amount, got"):
        fit_amount_weights(fields[:3])
    bare = draw_cells(np.random.default_rng(7), 12)
    with pytest.raises(InputError, match="expected embeddings of 3 numbers"):
        learned_spread(bare, weights)
    assert set(describe_field(bare, weights)[0]) == {"spatial"}
    assert set(describe_field(bare)[0]) == {"spatial", "intensity"}

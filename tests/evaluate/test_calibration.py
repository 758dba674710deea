import numpy as np
import pytest
from sklearn.calibration import calibration_curve
from sklearn.metrics import brier_score_loss

from hpacells.evaluate.calibration import reliability, score_calibration


def test_drawn_cells():
    # two bins of two: said 0.1 and 0.7 on average, found 0 and 0.5
    score = score_calibration(
        np.array([0.0, 0.2, 0.6, 0.8]), np.array([False, False, True, False]), n_bins=2
    )
    assert score.error == pytest.approx((0.1 + 0.2) / 2)
    assert score.brier == pytest.approx((0 + 0.04 + 0.16 + 0.64) / 4)
    assert score.brier_skill == pytest.approx(1 - 0.21 / (0.25 * 0.75))
    assert (score.n, score.n_positives) == (4, 1)


@pytest.mark.parametrize(("n", "n_bins"), [(40, 5), (1004, 15), (333, 10)])
def test_as_scikit_learn_has_it(n, n_bins):
    rng = np.random.default_rng(n)
    p = rng.random(n)
    truth = rng.random(n) < p**2
    said, found, counts = reliability(p, truth, n_bins=n_bins)
    shares, means = calibration_curve(truth, p, n_bins=n_bins, strategy="quantile")
    assert said == pytest.approx(means)
    assert found == pytest.approx(shares)
    assert counts.sum() == n
    assert score_calibration(p, truth).brier == pytest.approx(brier_score_loss(truth, p))


def test_honest_probabilities_have_little_error_and_skill():
    rng = np.random.default_rng(0)
    p = rng.beta(0.5, 2, 40_000)
    score = score_calibration(p, rng.random(len(p)) < p)
    assert score.error < 0.01
    assert score.brier_skill > 0.2
    shifted = score_calibration(np.sqrt(p), rng.random(len(p)) < p)
    assert shifted.error > 0.1


def test_cells_in_any_order_and_float32_score_the_same():
    rng = np.random.default_rng(1)
    p = rng.choice([0.1, 0.1, 0.5, 0.9], 500).astype(np.float32)  # ties
    truth = rng.random(500) < 0.4
    order = np.argsort(truth)
    one, other = score_calibration(p, truth), score_calibration(p[order], truth[order])
    assert one.error == pytest.approx(other.error)
    assert one.brier == pytest.approx(other.brier)


def test_what_is_undefined_is_none():
    nobody = score_calibration(np.zeros(0), np.zeros(0, bool))
    assert (nobody.n, nobody.error, nobody.brier, nobody.brier_skill) == (0, None, None, None)
    nothing = score_calibration(np.full(3, 0.2), np.zeros(3, bool))
    assert nothing.brier_skill is None
    assert nothing.error == pytest.approx(0.2)
    assert score_calibration(np.ones(2), np.ones(2, bool)).brier_skill is None


def test_always_saying_the_prevalence_has_no_skill():
    score = score_calibration(np.full(10, 0.3), np.arange(10) < 3)
    assert score.brier_skill == pytest.approx(0)
    assert score.error == pytest.approx(0)

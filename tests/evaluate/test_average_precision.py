import numpy as np
import pytest

from hpacells.evaluate.average_precision import (
    average_precision,
    rank_detections,
    weighted_average_precision,
)


def test_the_worked_examples():
    hits = np.array([1, 0, 1, 1, 0], bool)
    assert average_precision(np.array([0.9, 0.8, 0.7, 0.6, 0.5]), hits, 4) == 0.625
    value = average_precision(np.array([0.9, 0.8, 0.7]), np.array([0, 0, 1], bool), 1)
    assert value == pytest.approx(1 / 3, abs=1e-12)


def test_nothing_found_is_zero_and_nothing_to_find_undefined():
    nothing = np.zeros(0)
    assert average_precision(nothing, nothing.astype(bool), 3) == 0.0
    assert average_precision(nothing, nothing.astype(bool), 0) is None
    assert average_precision(np.ones(2), np.zeros(2, bool), 0) is None


def test_ranking_is_by_confidence_then_false_first():
    confidence = np.array([0.5, 0.9, 0.5, -1.0, 0.5 + 1e-12])
    is_true = np.array([True, False, False, True, True])
    assert rank_detections(confidence, is_true).tolist() == [1, 4, 2, 0, 3]


@pytest.mark.parametrize("seed", range(10))
def test_whole_weights_are_copies(seed):
    rng = np.random.default_rng(seed)
    confidence = rng.integers(0, 6, 12) / 5
    is_true = rng.random(12) < 0.6
    weights = rng.integers(0, 4, 12)
    n_truths = int(weights @ is_true) + 3
    order = rank_detections(confidence, is_true)
    value = weighted_average_precision(
        is_true[order].astype(float), weights[order][None].astype(float), np.array([n_truths])
    )
    copies = np.repeat(confidence, weights), np.repeat(is_true, weights)
    assert value[0] == pytest.approx(average_precision(*copies, n_truths), abs=1e-12)


def test_against_scikit_learn_where_precision_never_rises_with_recall():
    metrics = pytest.importorskip("sklearn.metrics")
    hits = np.array([1, 1, 0, 1, 0, 0, 1, 0], bool)
    confidence = np.linspace(0.9, 0.1, 8)
    ours = average_precision(confidence, hits, 4)
    assert ours == pytest.approx(metrics.average_precision_score(hits, confidence))

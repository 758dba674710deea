import numpy as np
import pytest
from scipy.special import expit

from hpacells.core.label_noise import CLUSTERING, NEGATIVE_SHARE, PRESENCE
from hpacells.core.locations import N_LOCATIONS, NEGATIVE
from hpacells.evaluate.calibration import score_calibration
from hpacells.runtime.model_folder import Calibration, Postprocessing
from hpacells.runtime.postprocess import calibrated_logits
from hpacells.train.calibration import LEAST_FIELDS, fit_calibration

DERIVED = Postprocessing(negative="product")
RARE, COMMON = 11, 16
FREQUENCY = np.full(N_LOCATIONS, 1.65 / 18)


def draw_cells(seed, n_fields, *, n_cells=6):
    """Cells of the published noise; logits of a network that is over- or unsure by location."""
    rng = np.random.default_rng(seed)
    targets = np.zeros((n_fields, N_LOCATIONS), np.float32)
    for row in targets:
        row[rng.choice(18, rng.choice([1, 2, 3], p=[0.5, 0.35, 0.15]), replace=False)] = 1
    spread = 1 / np.maximum(CLUSTERING, 0.02) - 1
    share = rng.beta(PRESENCE * spread, (1 - PRESENCE) * spread, (n_fields, 18))
    owner = np.repeat(np.arange(n_fields), n_cells)
    shown = (rng.random((len(owner), 18)) < share[owner]) & (targets[owner, :18] > 0)
    evidence = rng.normal(0, 1, shown.shape) + 2.5 * shown
    logits = np.zeros((len(owner), N_LOCATIONS), np.float32)
    logits[:, :18] = evidence * np.linspace(1.2, 2, 18) - 3 + np.linspace(-2, 2, 18)
    truth = np.column_stack([shown, ~shown.any(axis=1)])
    return logits, owner, targets, truth


def judge(calibration, seed=9):
    logits, _, _, truth = draw_cells(seed, 1000)
    p = expit(calibrated_logits(logits, calibration, DERIVED))
    return [score_calibration(p[:, k], truth[:, k]) for k in range(N_LOCATIONS)]


@pytest.fixture(scope="module")
def fitted():
    return fit_calibration(*draw_cells(0, 200)[:3], DERIVED, frequency=FREQUENCY)


def test_probabilities_hold_on_new_cells(fitted):
    before, after = judge(Calibration())[:NEGATIVE], judge(fitted.calibration)[:NEGATIVE]
    assert np.mean([score.error for score in before]) > 0.1
    assert max(score.error for score in after) < 0.04
    assert np.mean([score.error for score in after]) < 0.02
    assert min(score.brier_skill for score in after) > 0


def test_few_images_share_what_they_know():
    """Sixty images, a location on as few as two of them: near the answer, never worse than raw."""
    small = fit_calibration(*draw_cells(0, 60)[:3], DERIVED, frequency=FREQUENCY)
    before, after = judge(Calibration())[:NEGATIVE], judge(small.calibration)[:NEGATIVE]
    assert np.mean([score.error for score in after]) < 0.04
    assert np.mean([score.error for score in before]) > 0.1


def test_labels_at_random_teach_nothing_but_the_frequency():
    logits, owner, targets, _ = draw_cells(0, 200)
    shuffled = targets[np.random.default_rng(1).permutation(len(targets))]
    found = fit_calibration(logits, owner, shuffled, DERIVED, frequency=FREQUENCY)
    p = expit(calibrated_logits(logits, found.calibration, DERIVED))[:, :NEGATIVE]
    assert p.std(axis=0).mean() < 0.06
    assert p.mean(axis=0) == pytest.approx(FREQUENCY[:NEGATIVE] * PRESENCE, abs=0.06)


def test_the_order_of_cells_never_turns_and_logits_may_be_rescaled(fitted):
    assert min(fitted.calibration.scale) > 0
    logits, owner, targets, _ = draw_cells(0, 200)
    twice = fit_calibration(2 * logits, owner, targets, DERIVED, frequency=FREQUENCY)
    one = expit(calibrated_logits(logits, fitted.calibration, DERIVED))
    other = expit(calibrated_logits(2 * logits, twice.calibration, DERIVED))
    assert one == pytest.approx(other, abs=0.02)


def test_chance_frequencies_of_the_held_out_images_do_not_shift_the_scores():
    """A location on 30 % of the held-out images and 9 % of all: its scores are those of all."""
    logits, owner, targets, _ = draw_cells(0, 600)
    has = np.flatnonzero(targets[:, COMMON] > 0)
    lacks = np.flatnonzero(targets[:, COMMON] == 0)[: 2 * len(has)]
    kept = np.isin(owner, np.concatenate([has, lacks]))
    part = (logits[kept], owner[kept], targets)
    shifted = judge(fit_calibration(*part, DERIVED).calibration)[COMMON]
    right = judge(fit_calibration(*part, DERIVED, frequency=FREQUENCY).calibration)[COMMON]
    assert right.error < 0.02 < shifted.error


def test_what_each_location_got_is_told(fitted):
    assert set(fitted.how) == {"own"}
    logits, owner, targets, _ = draw_cells(0, 60)
    targets[:, RARE] = 0
    assert fit_calibration(logits, owner, targets, DERIVED).how[RARE] == "pooled"
    few = owner < LEAST_FIELDS - 1
    nothing = fit_calibration(logits[few], owner[few], targets, DERIVED)
    assert set(nothing.how) == {"identity"}
    assert nothing.calibration == Calibration()


def test_negative_of_its_own_stays_as_it_is():
    own = fit_calibration(*draw_cells(0, 60)[:3], Postprocessing(negative="own"))
    assert own.how[NEGATIVE] == "identity"
    assert (own.calibration.scale[NEGATIVE], own.calibration.bias[NEGATIVE]) == (1, 0)


def test_posterior_joins_logit_and_label(fitted):
    _, owner, targets, truth = draw_cells(0, 200)
    assert fitted.posterior.shape == truth.shape
    assert (fitted.posterior[:, :NEGATIVE][targets[owner, :NEGATIVE] == 0] == 0).all()
    labelled = targets[owner, COMMON] > 0
    score = score_calibration(fitted.posterior[labelled, COMMON], truth[labelled, COMMON])
    assert score.error < 0.06
    assert score.brier_skill > 0.5
    # these cells lack locations independently: more are Negative than was measured
    assert NEGATIVE_SHARE < fitted.posterior[:, NEGATIVE].mean() < truth[:, NEGATIVE].mean()


def test_under_the_label_negative_a_cell_is_negative():
    logits, owner, targets, _ = draw_cells(0, 60)
    targets[:5] = 0
    targets[:5, NEGATIVE] = 1
    found = fit_calibration(logits, owner, targets, DERIVED)
    assert (found.posterior[owner < 5, NEGATIVE] == 1).all()

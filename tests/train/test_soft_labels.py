import numpy as np
import pytest
from scipy.optimize import brentq
from scipy.special import expit, logit
from sklearn.linear_model import LogisticRegression

from hpacells.core.label_noise import CLUSTERING, PRESENCE
from hpacells.core.locations import NEGATIVE
from hpacells.train.soft_labels import _fit, _posterior, soft_targets

K = 19
CLASS = 3  # presence .45, clustering .45


def draw(rng, *, presence=PRESENCE[CLASS], width=1.0, flipped=0.0, n_images=400, per=12):
    """Cells of two normals three apart; a fifth of the images have the class on the label."""
    truly = rng.random(n_images) < 0.2
    weight = (1 - CLUSTERING[CLASS]) / CLUSTERING[CLASS]
    share = rng.beta(presence * weight, (1 - presence) * weight, n_images) * truly
    shows = (rng.random((n_images, per)) < share[:, None]).ravel()
    logits = np.full((shows.size, K), -4.0, np.float32)
    logits[:, CLASS] = np.where(
        shows, rng.normal(0, width, shows.size), rng.normal(-3, 1, shows.size)
    )
    labels = np.zeros((n_images, K), np.float32)
    labels[:, CLASS] = truly ^ (rng.random(n_images) < flipped)
    return logits, labels, np.repeat(np.arange(n_images), per), shows


def none_unknown(logits):
    return np.zeros(logits.shape, np.bool_)


def error(probability, shows):
    """Cross-entropy, nats a cell."""
    p = np.clip(probability, 0.005, 0.995)
    return -np.where(shows, np.log(p), np.log(1 - p)).mean()


def simpler_ways(x, under):
    """The presence for all; a logistic regression turned by the identity; a shift of the logit."""
    p, share = PRESENCE[CLASS], under.mean()
    model = LogisticRegression(C=1e6).fit(x[:, None], under)
    s = model.predict_proba(x[under, None])[:, 1]
    identity = np.clip(1 - (1 - p) * share / (1 - share) * (1 - s) / s, 0, 1)
    shift = brentq(lambda c: expit(x[under] + c).mean() - p, -30, 30)
    return np.full(under.sum(), p), identity, expit(x[under] + shift)


@pytest.mark.parametrize(
    ("scene", "limit"),
    [
        ({}, 0.2),
        ({"presence": PRESENCE[CLASS] / 2}, 0.2),
        ({"flipped": 0.1}, 0.25),
        ({"width": 2.0}, 0.5),
        ({"n_images": 80}, 0.25),
    ],
    ids=["as measured", "presence halved", "wrong labels", "unequal widths", "few images"],
)
def test_soft_labels_come_near_the_truth_and_beat_the_simpler_ways(scene, limit):
    errors = []
    for seed in range(4):
        logits, labels, field, shows = draw(np.random.default_rng(seed), **scene)
        targets = soft_targets(logits, labels, field, unknown=none_unknown(logits))[:, CLASS]
        under = labels[field, CLASS] > 0
        assert not targets[~under].any()
        ways = (targets[under], *simpler_ways(logits[:, CLASS].astype(float), under))
        errors.append([error(way, shows[under]) for way in ways])
    found, presence, identity, shifted = np.mean(errors, axis=0)
    assert found < limit
    assert found < presence - 0.1
    assert found < identity - 0.01
    if "width" not in scene:  # there the line is wrong, and the shift does as well
        assert found < shifted - 0.01


def test_the_fit_finds_the_line_that_made_the_cells():
    """Two normals of width 1, at 0 and -3: log(f1/f0) = 3x + 4.5."""
    logits, labels, field, _ = draw(np.random.default_rng(0), n_images=4000)
    evidence, share = _fit(logits[:, CLASS], labels[field, CLASS] > 0, field, PRESENCE[CLASS])
    slope, shift = np.polyfit(logits[:, CLASS], evidence, 1)
    assert slope == pytest.approx(3, abs=0.3)
    assert shift == pytest.approx(4.5, abs=0.6)
    assert share == pytest.approx(PRESENCE[CLASS], abs=0.03)


def test_scale_and_shift_of_the_logits_change_nothing():
    logits, labels, field, _ = draw(np.random.default_rng(1), n_images=100)
    other = logits * 3 + 5
    unknown = none_unknown(logits)
    one = soft_targets(logits, labels, field, unknown=unknown)
    two = soft_targets(other, labels, field, unknown=unknown)
    np.testing.assert_allclose(one, two, atol=2e-3)


def test_logits_that_say_nothing_leave_the_presence():
    rng = np.random.default_rng(2)
    logits, labels, field, _ = draw(rng)
    logits[:] = rng.permutation(logits)
    targets = soft_targets(logits, labels, field, unknown=none_unknown(logits))[:, CLASS]
    under = labels[field, CLASS] > 0
    assert np.median(targets[under]) == pytest.approx(PRESENCE[CLASS], abs=0.15)
    assert targets[under].std() < 0.2


def test_what_cannot_be_judged_gets_the_presence():
    logits, labels, field, _ = draw(np.random.default_rng(3), n_images=40)
    everywhere = labels.copy()
    everywhere[:, CLASS] = 1
    unknown = none_unknown(logits)
    targets = soft_targets(logits, everywhere, field, unknown=unknown)
    np.testing.assert_allclose(targets[:, CLASS], PRESENCE[CLASS], rtol=1e-6)
    unknown[: len(field) // 2, CLASS] = True
    targets = soft_targets(logits, labels, field, unknown=unknown)[:, CLASS]
    first = np.arange(len(field)) < len(field) // 2
    under = labels[field, CLASS] > 0
    np.testing.assert_allclose(targets[under & first], PRESENCE[CLASS], rtol=1e-6)
    assert targets[under & ~first].std() > 0.2


def test_negative_is_what_remains():
    logits = np.zeros((3, K), np.float32)
    labels = np.zeros((2, K), np.float32)
    labels[0, NEGATIVE] = 1
    labels[1, [0, 14]] = 1
    unknown = np.ones(logits.shape, np.bool_)
    targets = soft_targets(logits, labels, np.array([0, 1, 1]), unknown=unknown)
    assert targets[0].tolist() == [0.0] * 18 + [1.0]
    left = (1 - PRESENCE[0]) * (1 - PRESENCE[14])
    np.testing.assert_allclose(targets[1:, NEGATIVE], left, rtol=1e-5)
    assert targets.dtype == np.float32


def test_an_images_other_cells_speak_for_a_doubtful_one():
    """Two cells of the same evidence, one among cells that show it, one among cells that don't."""
    evidence = np.array([0.0, *[8.0] * 9, 0.0, *[-8.0] * 9])
    field = np.repeat([4, 9], 10)
    found = _posterior(evidence, field, 0.5, 0.4)
    assert found[0] > 0.8
    assert found[10] < 0.2
    apart = _posterior(evidence, field, 0.5, 0.0)
    np.testing.assert_allclose(apart, expit(evidence))
    assert logit(apart[0]) == pytest.approx(0)

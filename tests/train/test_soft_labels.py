import numpy as np
import pytest
from scipy.special import expit

from hpacells.core.label_noise import CLUSTERING, PRESENCE
from hpacells.core.locations import NEGATIVE
from hpacells.train.soft_labels import soft_targets

K = 19
CLASS = 3  # presence .45, clustering .45


def draw(rng, *, presence=PRESENCE[CLASS], flipped=0.0, n_images=400, per=12):
    """Cells of two normals three apart; a fifth of the images have the class on the label."""
    truly = rng.random(n_images) < 0.2
    weight = (1 - CLUSTERING[CLASS]) / CLUSTERING[CLASS]
    share = rng.beta(presence * weight, (1 - presence) * weight, n_images) * truly
    shows = (rng.random((n_images, per)) < share[:, None]).ravel()
    logits = np.full((shows.size, K), -4.0, np.float32)
    logits[:, CLASS] = np.where(shows, rng.normal(0, 1, shows.size), rng.normal(-3, 1, shows.size))
    labels = np.zeros((n_images, K), np.float32)
    labels[:, CLASS] = truly ^ (rng.random(n_images) < flipped)
    return logits, labels, np.repeat(np.arange(n_images), per), shows


def soft(logits, labels, field, *, model=None, unknown=None):
    model = np.zeros(len(logits), np.int64) if model is None else model
    unknown = np.zeros((model.max() + 1, K), np.bool_) if unknown is None else unknown
    return soft_targets(logits, labels, field, model_of_cell=model, unknown=unknown)


def error(probability, shows):
    """Cross-entropy, nats a cell."""
    p = np.clip(probability, 0.005, 0.995)
    return -np.where(shows, np.log(p), np.log(1 - p)).mean()


@pytest.mark.parametrize(
    "scene",
    [{}, {"presence": PRESENCE[CLASS] / 2}, {"flipped": 0.1}, {"n_images": 80}],
    ids=["as measured", "presence halved", "wrong labels", "few images"],
)
def test_soft_labels_come_nearer_to_the_truth_than_label_answer_or_presence(scene):
    errors = []
    for seed in range(4):
        logits, labels, field, shows = draw(np.random.default_rng(seed), **scene)
        under = labels[field, CLASS] > 0
        found = soft(logits, labels, field)[:, CLASS]
        assert not found[~under].any()
        unshifted = expit(logits[under, CLASS] + 3)  # says of nearly all that they show it
        ways = (
            found[under],
            np.ones(under.sum()),
            unshifted,
            np.full(under.sum(), PRESENCE[CLASS]),
        )
        errors.append([error(way, shows[under]) for way in ways])
    found, *others = np.mean(errors, axis=0)
    assert found < min(others) - 0.05


def test_as_many_cells_show_a_location_as_was_measured_whatever_the_logits_zero():
    logits, labels, field, _ = draw(np.random.default_rng(1))
    under = labels[field, CLASS] > 0
    one = soft(logits, labels, field)[:, CLASS]
    two = soft(logits + 5, labels, field)[:, CLASS]
    assert one[under].mean() == pytest.approx(PRESENCE[CLASS], abs=1e-3)
    np.testing.assert_allclose(one, two, atol=1e-3)
    order = np.argsort(logits[under, CLASS])
    assert (np.diff(one[under][order]) >= 0).all()


def test_each_model_is_shifted_by_itself():
    logits, labels, field, _ = draw(np.random.default_rng(2))
    model = field % 2
    other = logits + 4 * model[:, None].astype(np.float32)
    targets = soft(other, labels, field, model=model)[:, CLASS]
    under = labels[field, CLASS] > 0
    for i in (0, 1):
        assert targets[under & (model == i)].mean() == pytest.approx(PRESENCE[CLASS], abs=1e-3)
    np.testing.assert_allclose(
        targets, soft(logits, labels, field, model=model)[:, CLASS], atol=1e-3
    )


def test_what_a_model_cannot_know_gets_the_presence():
    logits, labels, field, _ = draw(np.random.default_rng(3))
    model = field % 2
    unknown = np.zeros((2, K), np.bool_)
    unknown[1, CLASS] = True
    targets = soft(logits, labels, field, model=model, unknown=unknown)[:, CLASS]
    under = labels[field, CLASS] > 0
    np.testing.assert_allclose(targets[under & (model == 1)], PRESENCE[CLASS], rtol=1e-6)
    assert targets[under & (model == 0)].std() > 0.2


def test_negative_is_what_remains():
    logits = np.zeros((3, K), np.float32)
    labels = np.zeros((2, K), np.float32)
    labels[0, NEGATIVE] = 1
    labels[1, [0, 14]] = 1
    targets = soft(logits, labels, np.array([0, 1, 1]), unknown=np.ones((1, K), np.bool_))
    assert targets[0].tolist() == [0.0] * 18 + [1.0]
    left = (1 - PRESENCE[0]) * (1 - PRESENCE[14])
    np.testing.assert_allclose(targets[1:, NEGATIVE], left, rtol=1e-5)
    assert targets.dtype == np.float32

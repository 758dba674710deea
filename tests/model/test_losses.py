import numpy as np
import pytest
import torch
from sklearn.metrics import average_precision_score

from hpacells.model.losses import (
    asymmetric_loss,
    cross_entropy,
    focal_loss,
    soft_average_precision,
)


def draw(rows=12, columns=5, seed=0):
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 2, (rows, columns))
    targets = (rng.random((rows, columns)) < 0.4).astype(np.float64)
    return logits, targets


def test_against_formulas_in_numpy():
    logits, targets = draw()
    p = 1 / (1 + np.exp(-logits))
    entropy = -np.log(np.where(targets > 0, p, 1 - p))
    given = torch.from_numpy(logits), torch.from_numpy(targets)
    np.testing.assert_allclose(cross_entropy(*given), entropy, rtol=1e-10)
    focal = entropy * np.where(targets > 0, 1 - p, p) ** 2
    np.testing.assert_allclose(focal_loss(*given, gamma=2.0), focal, rtol=1e-10)
    np.testing.assert_allclose(focal_loss(*given, gamma=0.0), entropy, rtol=1e-10)
    shifted = np.maximum(p - 0.05, 0)
    expected = np.where(targets > 0, -(1 - p) * np.log(p), -(shifted**3) * np.log(1 - shifted))
    got = asymmetric_loss(*given, gamma_positive=1.0, gamma_negative=3.0, margin=0.05)
    np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize(
    "loss",
    [
        cross_entropy,
        lambda x, y: focal_loss(x, y, gamma=2.0),
        lambda x, y: asymmetric_loss(x, y, gamma_positive=0.0, gamma_negative=4.0, margin=0.05),
        lambda x, y: 1 - soft_average_precision(x, y, temperature=0.5),
    ],
)
def test_extremes_and_soft_targets_stay_finite(loss):
    logits = torch.tensor([[200.0, -200.0, 0.0], [-200.0, 200.0, 0.0]]).requires_grad_()
    targets = torch.tensor([[1.0, 1.0, 0.3], [0.0, 0.0, 0.7]])
    loss(logits, targets).sum().backward()
    assert torch.isfinite(logits.grad).all()


def test_soft_average_precision_of_a_drawn_order():
    logits = torch.tensor([[4.0], [3.0], [2.0], [1.0]])
    targets = torch.tensor([[1.0], [0.0], [1.0], [0.0]])
    got = soft_average_precision(logits, targets, temperature=0.01)
    torch.testing.assert_close(got, torch.tensor([(1 + 2 / 3) / 2]))


def test_at_a_low_temperature_it_is_scikit_learn_s():
    logits, targets = draw(40, 6, seed=1)
    targets[:, 3] = 0  # a class without positive is left out
    got = soft_average_precision(
        torch.from_numpy(logits), torch.from_numpy(targets), temperature=1e-4
    )
    columns = [0, 1, 2, 4, 5]
    expected = [average_precision_score(targets[:, k], logits[:, k]) for k in columns]
    np.testing.assert_allclose(got, expected, rtol=1e-6)


def test_its_gradient_lifts_what_is_present():
    logits, targets = (torch.from_numpy(array) for array in draw(20, 1, seed=2))
    logits.requires_grad_()
    soft_average_precision(logits, targets, temperature=0.5).sum().backward()
    assert (logits.grad[targets > 0] > 0).all()
    assert (logits.grad[targets == 0] < 0).all()
    nothing = soft_average_precision(logits.detach(), targets * 0, temperature=0.5)
    assert nothing.shape == (0,)

import numpy as np
import pytest
import torch

from hpacells.core.errors import InputError
from hpacells.model.losses import bag_loss
from hpacells.model.pooling import POOLINGS, pool_bag


def reference(logits, how):
    """The same by numpy, for one bag ``(n, K)`` without padding."""
    p = 1 / (1 + np.exp(-logits))
    if how == "max":
        return logits.max(0)
    if how == "lse":
        return np.log(np.exp(2 * logits).mean(0)) / 2
    if how == "noisy_or":
        any_cell = 1 - np.prod(1 - p, axis=0)
        return np.log(any_cell / (1 - any_cell))
    top = int(np.ceil(len(logits) / 4)) if how == "top_mean" else len(logits)
    return np.sort(logits, axis=0)[::-1][:top].mean(0)


@pytest.mark.parametrize("how", POOLINGS)
def test_against_numpy_with_bags_of_several_sizes(how):
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 2, (4, 9, 5))
    sizes = [9, 1, 4, 6]
    present = np.arange(9) < np.array(sizes)[:, None]
    got = pool_bag(torch.from_numpy(logits), torch.from_numpy(present), how)
    expected = [reference(bag[:n], how) for bag, n in zip(logits, sizes, strict=True)]
    np.testing.assert_allclose(got.numpy(), expected, atol=1e-6)


@pytest.mark.parametrize("how", POOLINGS)
def test_padded_cells_influence_neither_values_nor_gradients(how):
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn((2, 6, 3), generator=generator)
    present = torch.tensor([[True] * 4 + [False] * 2, [True] + [False] * 5])
    target = torch.tensor([[1.0, 0.0, 1.0], [0.0, 1.0, 0.0]])
    results = []
    for filling in (0.0, 1e4, -1e4, float("nan")):
        filled = torch.where(present.unsqueeze(-1), logits, filling).requires_grad_()
        loss = bag_loss(filled, present, target, pooling=how, cell_weight=0.1)
        loss.total.backward()
        results.append((loss.total.detach(), filled.grad))
        assert (filled.grad[~present] == 0).all()
        assert torch.isfinite(filled.grad).all()
    for total, gradient in results[1:]:
        torch.testing.assert_close(total, results[0][0])
        torch.testing.assert_close(gradient, results[0][1])


@pytest.mark.parametrize("how", POOLINGS)
def test_order_of_cells_does_not_matter_and_extremes_stay_finite(how):
    logits = torch.tensor([[[80.0], [-80.0], [0.0], [3.0]]])
    present = torch.ones((1, 4), dtype=torch.bool)
    one = pool_bag(logits, present, how)
    torch.testing.assert_close(one, pool_bag(logits.flip(1), present, how))
    low = pool_bag(torch.full((1, 4, 1), -80.0), present, how)
    assert torch.isfinite(low).all()
    assert low < -10


def test_a_bag_without_cells_is_refused():
    with pytest.raises(InputError, match="empty bag"):
        pool_bag(torch.zeros(2, 3, 4), torch.tensor([[True] * 3, [False] * 3]), "max")


def test_drawn_losses():
    logits = torch.zeros((1, 2, 2))
    present = torch.ones((1, 2), dtype=torch.bool)
    target = torch.tensor([[1.0, 0.0]])
    log2 = float(np.log(2))
    loss = bag_loss(logits, present, target, pooling="max", cell_weight=0.1)
    assert float(loss.total) == pytest.approx(1.1 * log2)
    softer = bag_loss(
        logits, present, target, pooling="max", cell_weight=0.1, cell_positive_weight=0.0
    )
    assert float(softer.cell) == pytest.approx(log2 / 2)
    assert float(softer.image) == pytest.approx(log2)


def test_each_cell_has_its_own_image_s_label_and_the_same_weight():
    logits = torch.ones((2, 3, 1))
    logits[0] = 2.0
    present = torch.tensor([[True, False, False], [True] * 3])
    target = torch.tensor([[0.0], [1.0]])
    loss = bag_loss(logits, present, target, pooling="mean", cell_weight=1.0)
    assert float(loss.cell) == pytest.approx((np.log1p(np.exp(2)) + 3 * np.log1p(np.exp(-1))) / 4)

import numpy as np
import pytest
import torch
from torch.nn.functional import binary_cross_entropy_with_logits

from hpacells.core.errors import InputError
from hpacells.model.pooling import POOLINGS, AttentionPooling, pool_bag


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
        loss = binary_cross_entropy_with_logits(pool_bag(filled, present, how), target)
        loss.backward()
        results.append((loss.detach(), filled.grad))
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


def make_attention():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        pooling = AttentionPooling(6, 3, hidden=4)
        assert (pooling.score.weight == 0).all()
        torch.nn.init.normal_(pooling.score.weight)
    return pooling


def test_attention_begins_as_the_mean_and_its_weights_are_per_class():
    rng = np.random.default_rng(0)
    logits, embedding = (
        torch.from_numpy(rng.normal(0, 2, (2, 5, n)).astype(np.float32)) for n in (3, 6)
    )
    present = torch.tensor([[True] * 5, [True] * 2 + [False] * 3])
    fresh = AttentionPooling(6, 3)
    torch.testing.assert_close(fresh(logits, embedding, present), pool_bag(logits, present, "mean"))
    pooling = make_attention()
    weights = {name: tensor.numpy() for name, tensor in pooling.state_dict().items()}
    got = pooling(logits, embedding, present).detach().numpy()
    for bag, n in enumerate((5, 2)):
        h = embedding[bag, :n].numpy()
        content = np.tanh(h @ weights["content.weight"].T + weights["content.bias"])
        gate = 1 / (1 + np.exp(-(h @ weights["gate.weight"].T + weights["gate.bias"])))
        scores = (content * gate) @ weights["score.weight"].T
        share = np.exp(scores) / np.exp(scores).sum(0)
        expected = (share * logits[bag, :n].numpy()).sum(0)
        np.testing.assert_allclose(got[bag], expected, rtol=1e-4, atol=1e-5)


def test_attention_ignores_padded_cells_and_refuses_an_empty_bag():
    pooling = make_attention()
    generator = torch.Generator().manual_seed(1)
    logits = torch.randn((1, 4, 3), generator=generator)
    embedding = torch.randn((1, 4, 6), generator=generator)
    present = torch.tensor([[True, True, False, False]])
    results = []
    for filling in (0.0, float("nan"), 1e6):
        cells, seen = (
            torch.where(present.unsqueeze(-1), x, filling).requires_grad_()
            for x in (logits, embedding)
        )
        pooled = pooling(cells, seen, present)
        pooled.sum().backward()
        results.append((pooled.detach(), cells.grad, seen.grad))
    for other in results[1:]:
        for one, two in zip(results[0], other, strict=True):
            torch.testing.assert_close(one, two)
    with pytest.raises(InputError, match="empty bag"):
        pooling(logits, embedding, torch.zeros((1, 4), dtype=torch.bool))

import numpy as np
import pytest
import torch
from torch import nn

from hpacells.train.architecture import build_network
from hpacells.train.optimizer import build_optimizer, clip_gradients, learning_rate_at

GENERATOR = torch.Generator().manual_seed(0)


def test_learning_rate_rises_then_falls(tiny_config):
    config = tiny_config.model_copy(update={"warmup_share": 0.1, "learning_rate": 1.0})
    rates = [learning_rate_at(step, 100, config) for step in range(100)]
    np.testing.assert_allclose(rates[:10], np.arange(1, 11) / 10)
    assert rates[10] == pytest.approx(1.0)
    assert (np.diff(rates[10:]) < 0).all()
    assert 0.01 <= rates[-1] < 0.011


def test_vectors_are_not_decayed_and_frozen_weights_not_trained(tiny_config):
    network = build_network(tiny_config)
    decayed, others = build_optimizer([network], tiny_config).param_groups
    assert (decayed["weight_decay"], others["weight_decay"]) == (tiny_config.weight_decay, 0.0)
    names = {id(p): name for name, p in network.named_parameters()}
    kinds = ("bias", "gain", "attn.conv.weight", "attn_last.conv.weight")
    assert all(names[id(p)].endswith(kinds) for p in others["params"])
    assert not any(names[id(p)].endswith(("bias", "gain")) for p in decayed["params"])
    assert len(decayed["params"]) + len(others["params"]) == len(names)
    network.head.requires_grad_(requires_grad=False)
    less = build_optimizer([network], tiny_config).param_groups
    assert sum(len(group["params"]) for group in less) == len(names) - 2


def test_sgd_takes_the_step_of_nesterov(tiny_config):
    update = {"optimizer": "sgd", "learning_rate": 0.1, "momentum": 0.5, "weight_decay": 0.0}
    config = tiny_config.model_copy(update=update)
    layer = nn.Linear(1, 1, bias=False)
    nn.init.zeros_(layer.weight)
    optimizer = build_optimizer([layer], config)
    for expected in (-0.15, -0.15 - 0.1 * (1 + 0.5 * 1.5)):
        layer.weight.grad = torch.ones_like(layer.weight)
        optimizer.step()
        assert float(layer.weight.detach()) == pytest.approx(expected)
    plain = config.model_copy(update={"momentum": 0.0})
    assert build_optimizer([layer], plain).param_groups[0]["nesterov"] is False


def test_muon_moves_a_matrix_by_an_orthogonal_one(tiny_config):
    """All directions move alike, at AdamW's scale, though the gradient's differ a hundredfold."""
    update = {"optimizer": "muon", "learning_rate": 0.1, "weight_decay": 0.0}
    config = tiny_config.model_copy(update=update)
    layer = nn.Linear(8, 8)
    nn.init.zeros_(layer.weight)
    bases = [torch.linalg.qr(draw)[0] for draw in torch.randn(2, 8, 8, generator=GENERATOR)]
    layer.weight.grad = bases[0] @ torch.diag(torch.logspace(0, -2, 8)) @ bases[1].T
    layer.bias.grad = torch.ones(8)
    optimizer = build_optimizer([layer], config)
    optimizer.step()
    moved = torch.linalg.svdvals(layer.weight.detach()) / (0.1 * 0.2 * 8**0.5)
    assert 0.5 < float(moved.min()) <= float(moved.max()) < 1.5
    again = build_optimizer([layer], config)
    again.load_state_dict(optimizer.state_dict())
    assert again.state_dict()["state"][0]["use_muon"] is True
    assert again.state_dict()["state"][1]["use_muon"] is False


@pytest.mark.parametrize("factor", [0.1, 0.0])
def test_gradients_are_clipped_by_unit_but_not_those_of_the_last_layer(factor):
    class Small(nn.Module):
        def __init__(self):
            super().__init__()
            self.first = nn.Linear(2, 2, bias=False)
            self.head = nn.Linear(2, 2, bias=False)

    network = Small()
    with torch.no_grad():
        for layer in (network.first, network.head):
            layer.weight.copy_(torch.tensor([[3.0, 4.0], [0.0, 0.0]]))
    for layer in (network.first, network.head):
        layer.weight.grad = torch.tensor([[0.0, 2.0], [0.3, 0.4]])
    clip_gradients(network, factor)
    # units of norm 5 and 0 (at least 0.001): gradients of at most 0.5 and 0.0001
    expected = [[0.0, 0.5], [0.00006, 0.00008]] if factor else [[0.0, 2.0], [0.3, 0.4]]
    torch.testing.assert_close(network.first.weight.grad, torch.tensor(expected))
    torch.testing.assert_close(network.head.weight.grad, torch.tensor([[0.0, 2.0], [0.3, 0.4]]))

"""Loss of the segmenter's maps."""

import numpy as np
import pytest
import torch

from hpacells.model.map_loss import map_loss

MAPS = {"map_weights": (1.0, 1.0, 0.5, 1.0), "dice_weight": 0.5}


def make_batch(seed=0):
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn((2, 4, 6, 9), generator=generator)
    targets = (torch.rand((2, 4, 6, 9), generator=generator) < 0.4).float()
    weights = torch.rand((2, 6, 9), generator=generator) * 2
    return logits, targets, weights


def test_it_is_the_written_formula():
    logits, targets, weights = make_batch()
    z, t, w = logits.double().numpy(), targets.double().numpy(), weights.double().numpy()[:, None]
    p = 1 / (1 + np.exp(-z))
    expected = 0.0
    for k, share in enumerate(MAPS["map_weights"]):
        entropy = -(t[:, k] * np.log(p[:, k]) + (1 - t[:, k]) * np.log(1 - p[:, k]))
        pk, tk, wk = p[:, k], t[:, k], w[:, 0]
        dice = (2 * (pk * tk * wk).sum() + 1) / ((pk * wk).sum() + (tk * wk).sum() + 1)
        expected += share * ((entropy * wk).sum() / wk.sum() + 0.5 * (1 - dice))
    assert float(map_loss(logits, targets, weights, **MAPS)) == pytest.approx(
        expected / 3.5, rel=1e-5
    )


def test_pixels_of_weight_0_count_for_nothing():
    logits, targets, weights = make_batch()
    weights[:, :, 5:] = 0
    logits.requires_grad_()
    loss = map_loss(logits, targets, weights, **MAPS)
    loss.backward()
    assert not logits.grad[..., 5:].any()
    assert logits.grad[..., :5].any()
    nothing = map_loss(logits, targets, torch.zeros_like(weights), **MAPS)
    assert torch.isfinite(nothing)


def test_right_maps_cost_nothing():
    _, targets, weights = make_batch()
    assert float(map_loss((targets - 0.5) * 60, targets, weights, **MAPS)) < 1e-3

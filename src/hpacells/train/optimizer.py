"""How weights move: learning rate, which of them decay, which gradients are clipped."""

import math
from collections.abc import Iterable
from typing import Any

import torch
from torch import nn

from hpacells.model.timm_parts import Muon, adaptive_clip_grad
from hpacells.train.config import TrainConfig

__all__ = ["build_optimizer", "clip_gradients", "learning_rate_at"]

_FLOOR = 0.01
_LAST_LAYER = "head."


def learning_rate_at(step: int, n_steps: int, config: TrainConfig) -> float:
    """Give the learning rate of a step: linear rise, then a cosine to 1 % of the highest."""
    warmup = int(n_steps * config.warmup_share)
    if step < warmup:
        return config.learning_rate * (step + 1) / warmup
    share = (step - warmup) / max(1, n_steps - warmup)
    cosine = 0.5 * (1 + math.cos(math.pi * share))
    return config.learning_rate * (_FLOOR + (1 - _FLOOR) * cosine)


def build_optimizer(modules: Iterable[nn.Module], config: TrainConfig) -> torch.optim.Optimizer:
    """Build a recipe's optimizer; weights decay, biases, gains and other vectors don't.

    Parameters
    ----------
    modules
        What is trained; frozen parameters are left out.
    config
        The recipe.

    Returns
    -------
    Optimizer
        With two groups of parameters, decayed ones first.

    References
    ----------
    Muon (https://kellerjordan.github.io/posts/muon/, by timm): a weight matrix, or a convolution's
    weights as one, moves by its momentum (0.95, Nesterov's) made orthogonal, at the scale of an
    AdamW step (Liu et al. 2025, https://arxiv.org/abs/2502.16982); vectors move by NAdamW.
    """
    trained = [p for module in modules for p in module.parameters() if p.requires_grad]
    groups: list[dict[str, Any]] = [
        {
            "params": [p for p in trained if p.squeeze().ndim >= 2],
            "weight_decay": config.weight_decay,
        },
        {"params": [p for p in trained if p.squeeze().ndim < 2], "weight_decay": 0.0},
    ]
    if config.optimizer == "sgd":
        nesterov = config.nesterov and config.momentum > 0  # torch refuses it without momentum
        return torch.optim.SGD(
            groups, lr=config.learning_rate, momentum=config.momentum, nesterov=nesterov
        )
    if config.optimizer == "muon":
        return Muon(groups, lr=config.learning_rate, nesterov=True)
    return torch.optim.AdamW(groups, lr=config.learning_rate, fused=True)


def clip_gradients(network: nn.Module, clip_factor: float) -> None:
    """Clip gradients by the size of what they change, on all but the last layer.

    Parameters
    ----------
    network
        Its gradients are changed in place.
    clip_factor
        Largest norm of an output unit's gradient over that of its weights; 0 clips nothing.

    References
    ----------
    Adaptive gradient clipping, Brock et al. 2021, https://arxiv.org/abs/2102.06171 (by timm).
    """
    if clip_factor > 0:
        clipped = (p for n, p in network.named_parameters() if not n.startswith(_LAST_LAYER))
        adaptive_clip_grad(clipped, clip_factor=clip_factor)

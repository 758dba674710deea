"""From the logits of a bag's cells to the logits of its image, per class.

Padded cells (``cell_present`` false) influence nothing: neither values nor gradients.
``AttentionPooling`` has weights of its own, which belong to the training: a model is used cell by
cell, so they are neither exported nor needed there.
"""

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor, nn

from hpacells.core.errors import InputError
from hpacells.runtime.model_folder import LSE_SHARPNESS, TOP_SHARE

__all__ = ["POOLINGS", "AttentionPooling", "Pooling", "pool_bag"]

Pooling = Literal["max", "lse", "noisy_or", "top_mean", "mean"]


def pool_bag(cell_logits: Tensor, cell_present: Tensor, how: Pooling) -> Tensor:
    """Pool cells into images, each class by itself.

    Parameters
    ----------
    cell_logits
        ``(B, N, K)`` float32, finite where present.
    cell_present
        ``(B, N)`` bool; at least one cell per bag.
    how
        ``max``: the most certain cell. ``lse``: log-mean-exp of the logits with sharpness 2, a soft
        maximum. ``noisy_or``: the image has the class unless no cell has it, cells independent.
        ``top_mean``: mean of the highest quarter (at least one). ``mean``: mean of all.

    Returns
    -------
    Tensor
        ``(B, K)`` image logits.

    Raises
    ------
    InputError
        When a bag has no cell.
    """
    clean, present = _clean(cell_logits, cell_present)
    return POOLINGS[how](clean, present)


class AttentionPooling(nn.Module):
    """Gated attention: the image's logit is a weighted mean of its cells', per class.

    Parameters
    ----------
    embedding_size
        Length ``D`` of a cell's embedding, which decides the weights.
    n_classes
        Number ``K`` of classes; each has weights of its own.
    hidden
        Length of the gated vector.

    References
    ----------
    Ilse et al. 2018, equation 9, https://proceedings.mlr.press/v80/ilse18a.html
    """

    def __init__(self, embedding_size: int, n_classes: int, hidden: int = 64) -> None:
        super().__init__()
        self.content = nn.Linear(embedding_size, hidden)
        self.gate = nn.Linear(embedding_size, hidden)
        self.score = nn.Linear(hidden, n_classes, bias=False)
        nn.init.zeros_(self.score.weight)  # begins as the mean

    def forward(self, cell_logits: Tensor, embedding: Tensor, cell_present: Tensor) -> Tensor:
        """Pool ``(B, N, K)`` logits of cells with ``(B, N, D)`` embeddings to ``(B, K)``.

        Raises
        ------
        InputError
            When a bag has no cell.
        """
        clean, present = _clean(cell_logits, cell_present)
        seen, _ = _clean(embedding, cell_present)
        gated = torch.tanh(self.content(seen)) * torch.sigmoid(self.gate(seen))
        scores = self.score(gated).masked_fill(~present, -torch.inf)  # (B, N, K)
        return (scores.softmax(dim=1) * clean).sum(dim=1)


def _clean(values: Tensor, cell_present: Tensor) -> tuple[Tensor, Tensor]:
    """Set padded places ``(B, N, ...)`` to 0; give presence as ``(B, N, 1)`` beside them."""
    if not bool(cell_present.any(dim=1).all()):
        raise InputError("expected at least one cell in every bag, got an empty bag")
    present = cell_present.unsqueeze(-1)
    return torch.where(present, values, torch.zeros_like(values)), present


def _max(logits: Tensor, present: Tensor) -> Tensor:
    return logits.masked_fill(~present, -torch.inf).amax(dim=1)


def _lse(logits: Tensor, present: Tensor) -> Tensor:
    scaled = (logits * LSE_SHARPNESS).masked_fill(~present, -torch.inf)
    return (torch.logsumexp(scaled, dim=1) - present.sum(dim=1).log()) / LSE_SHARPNESS


def _noisy_or(logits: Tensor, present: Tensor) -> Tensor:
    # -log P(no cell has it); the logit of 1 - exp(-t) is log(exp(t) - 1) = t + log(1 - exp(-t))
    t = (torch.nn.functional.softplus(logits) * present).sum(dim=1).clamp_min(1e-6)
    return t + torch.log(-torch.expm1(-t))


def _top_mean(logits: Tensor, present: Tensor) -> Tensor:
    ranked = logits.masked_fill(~present, -torch.inf).sort(dim=1, descending=True).values
    wanted = (present.sum(dim=1) * TOP_SHARE).ceil().clamp_min(1)  # (B, 1)
    rank = torch.arange(logits.shape[1], device=logits.device).view(1, -1, 1)
    used = rank < wanted.unsqueeze(1)
    return torch.where(used, ranked, torch.zeros_like(ranked)).sum(dim=1) / wanted


def _mean(logits: Tensor, present: Tensor) -> Tensor:
    return (logits * present).sum(dim=1) / present.sum(dim=1)


POOLINGS: dict[Pooling, Callable[[Tensor, Tensor], Tensor]] = {
    "max": _max,
    "lse": _lse,
    "noisy_or": _noisy_or,
    "top_mean": _top_mean,
    "mean": _mean,
}
"""How to pool, by name; each maps ``(B, N, K)`` logits and ``(B, N, 1)`` presence to ``(B, K)``."""

"""Logits against targets: what a loss of images or of cells is made of.

Each loss but ``soft_ap`` judges every entry by itself and gives one number per entry, so that the
caller can weigh and leave out entries. ``soft_ap`` judges the order of all rows of a column.
"""

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits
from torch.utils.checkpoint import checkpoint

from hpacells.model.timm_parts import AsymmetricLossMultiLabel, sigmoid_focal_loss

__all__ = ["asymmetric_loss", "cross_entropy", "focal_loss", "soft_average_precision"]


def cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    """Compute the binary cross-entropy of each entry, targets in [0, 1]."""
    return binary_cross_entropy_with_logits(logits, targets, reduction="none")


def focal_loss(logits: Tensor, targets: Tensor, *, gamma: float) -> Tensor:
    """Compute the focal loss of each entry, without balancing factor.

    Parameters
    ----------
    logits, targets
        Same shape, float32; targets in [0, 1].
    gamma
        Entries answered with probability p count ``(1 - p) ** gamma`` times.

    Returns
    -------
    Tensor
        Same shape.

    References
    ----------
    Lin et al. 2017, https://doi.org/10.1109/ICCV.2017.324; computed by torchvision.
    """
    return sigmoid_focal_loss(logits, targets, alpha=-1, gamma=gamma)


def asymmetric_loss(
    logits: Tensor, targets: Tensor, *, gamma_positive: float, gamma_negative: float, margin: float
) -> Tensor:
    """Compute the asymmetric loss of each entry.

    Parameters
    ----------
    logits, targets
        Same shape, two dimensions, float32; targets in [0, 1].
    gamma_positive, gamma_negative
        Focusing powers of entries with target 1 and 0.
    margin
        Subtracted from the probability of entries with target 0; below it they count for nothing.

    Returns
    -------
    Tensor
        Same shape.

    References
    ----------
    Ridnik et al. 2021, https://doi.org/10.1109/ICCV48922.2021.00015; computed by timm.
    """
    loss = AsymmetricLossMultiLabel(
        gamma_neg=gamma_negative, gamma_pos=gamma_positive, clip=margin, reduction="none"
    )
    return loss(logits, targets)


def soft_average_precision(logits: Tensor, targets: Tensor, *, temperature: float) -> Tensor:
    """Compute a smooth average precision of each column.

    Parameters
    ----------
    logits, targets
        ``(M, K)`` float32; targets in [0, 1] are relevances.
    temperature
        A difference of logits d counts as the order ``sigmoid(d / temperature)``; towards 0 the
        exact average precision.

    Returns
    -------
    Tensor
        ``(P,)`` in (0, 1], of the columns that have a target above 0; ``(0,)`` without any.

    Notes
    -----
    The order is computed column by column, and again for the gradient: memory grows with M², not
    with K; 4,096 rows take some 200 MB.

    References
    ----------
    Smooth-AP, Brown et al. 2020, https://doi.org/10.1007/978-3-030-58545-7_39, with relevances
    in place of a set of positives.
    """
    columns = [
        checkpoint(  # else each column's (M, M) orders would be kept for the gradient
            _soft_precision,
            logits[:, k],
            targets[:, k],
            temperature,
            use_reentrant=False,
            preserve_rng_state=False,
        )
        for k in torch.nonzero((targets > 0).any(dim=0)).flatten().tolist()
    ]
    return torch.stack(columns) if columns else logits.new_zeros(0)


def _soft_precision(logits: Tensor, targets: Tensor, temperature: float) -> Tensor:
    above = torch.sigmoid((logits.unsqueeze(0) - logits.unsqueeze(1)) / temperature)  # (M, M)
    above = above - torch.diag_embed(above.diagonal())  # [i, j]: how surely j stands above i
    precision = (targets + above @ targets) / (1 + above.sum(dim=1))
    return (precision * targets).sum() / targets.sum()

"""What the maps of the ``unet`` segmenter are trained on: cross-entropy and soft Dice.

The cross-entropy judges each pixel, the Dice loss each map as a whole, so that thin borders and
small seeds are not lost beside the background. Pixels of weight 0 count for nothing.
"""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

__all__ = ["map_loss"]

_SMOOTH = 1.0


def map_loss(
    logits: Tensor,
    targets: Tensor,
    weights: Tensor,
    *,
    map_weights: Sequence[float],
    dice_weight: float,
) -> Tensor:
    """Compute the loss of a batch.

    Parameters
    ----------
    logits
        ``(B, M, H, W)`` float32.
    targets
        ``(B, M, H, W)`` float32, 0 or 1.
    weights
        ``(B, H, W)`` float32, 0 or more.
    map_weights
        ``M`` weights of the maps.
    dice_weight
        Weight of the Dice loss.

    Returns
    -------
    Tensor
        Scalar: over the maps, weighted: mean cross-entropy + ``dice_weight`` · (1 - Dice).
    """
    each = binary_cross_entropy_with_logits(logits, targets, reduction="none")
    pixel = weights.unsqueeze(1)
    entropy = (each * pixel).sum(dim=(0, 2, 3)) / pixel.sum().clamp_min(1.0)  # (M,)
    found = torch.sigmoid(logits) * pixel
    shared = (found * targets).sum(dim=(0, 2, 3))
    both = found.sum(dim=(0, 2, 3)) + (targets * pixel).sum(dim=(0, 2, 3))
    dice = (2 * shared + _SMOOTH) / (both + _SMOOTH)
    share = logits.new_tensor(map_weights)
    return (share * (entropy + dice_weight * (1 - dice))).sum() / share.sum()

"""What a bag of cells is trained on: the label of its image.

Labels are asymmetric (HPA): a class that is absent from the image is absent from nearly every
cell, a class that is present may be absent from many cells. So the image loss judges the pooled
bag, and the cell loss, which gives every cell its image's label, has a small weight, and a smaller
one still for the classes that are present.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from hpacells.model.pooling import Pooling, pool_bag

__all__ = ["BagLoss", "bag_loss"]


@dataclass(frozen=True)
class BagLoss:
    """The loss of one batch and its two parts, scalars.

    Parameters
    ----------
    total
        ``image + weight · cell``, to be differentiated.
    image
        Of the pooled logits.
    cell
        Of the cells by themselves, before its weight.
    """

    total: Tensor
    image: Tensor
    cell: Tensor


def bag_loss(
    cell_logits: Tensor,
    cell_present: Tensor,
    target: Tensor,
    *,
    pooling: Pooling,
    cell_weight: float,
    cell_positive_weight: float = 1.0,
) -> BagLoss:
    """Compute image loss + weight · cell loss.

    Parameters
    ----------
    cell_logits
        ``(B, N, K)`` float32.
    cell_present
        ``(B, N)`` bool; padded cells count for nothing.
    target
        ``(B, K)`` float32 in [0, 1], the image's label.
    pooling
        See ``model.pooling``.
    cell_weight
        Weight of the cell loss, 0 or more.
    cell_positive_weight
        Weight, in the cell loss, of the classes that the image's label has.

    Returns
    -------
    BagLoss
        Binary cross-entropies, mean over bags (cells present) and classes.
    """
    image_logits = pool_bag(cell_logits, cell_present, pooling)  # (B, K)
    image = binary_cross_entropy_with_logits(image_logits, target)
    wanted = target.unsqueeze(1).expand_as(cell_logits)[cell_present]  # (cells, K)
    each = binary_cross_entropy_with_logits(cell_logits[cell_present], wanted, reduction="none")
    weights = torch.where(wanted > 0.5, cell_positive_weight, 1.0)
    cell = (each * weights).mean()
    return BagLoss(image + cell_weight * cell, image.detach(), cell.detach())

"""How well the averaged weights name the held-out images."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from sklearn.metrics import average_precision_score
from torch import nn

from hpacells.core.locations import N_LOCATIONS
from hpacells.model.pooling import Pooling, pool_bag
from hpacells.train.data import TrainingData

__all__ = ["Validation", "validate"]

_BATCH = 128


@dataclass(frozen=True)
class Validation:
    """Image-level scores of the held-out fields.

    Parameters
    ----------
    average_precision
        ``(K,)`` per location; None where no held-out image has it.
    loss
        Binary cross-entropy of the pooled logits.
    n_fields
        Held-out fields.
    """

    average_precision: tuple[float | None, ...]
    loss: float
    n_fields: int

    @property
    def mean(self) -> float | None:
        """Mean over the locations that have a positive; None without any."""
        known = [value for value in self.average_precision if value is not None]
        return float(np.mean(known)) if known else None


def validate(
    model: nn.Module,
    data: TrainingData,
    fields: npt.NDArray[np.int64],
    *,
    pooling: Pooling,
    device: torch.device,
) -> Validation:
    """Score all cells of the held-out fields, pool them, compare with the image labels.

    Parameters
    ----------
    model
        Used in evaluation mode; left as it was.
    data
        Where cells and labels are.
    fields
        ``(F,)`` positions of the held-out fields, at least one.
    pooling
        As in training, over all cells of the field.
    device
        Where the model is.

    Returns
    -------
    Validation
        Average precision by scikit-learn (ties count once), per location.
    """
    was_training = model.training
    model.eval()
    pooled = []
    with torch.inference_mode():
        for field in fields:
            cells = slice(int(data.offsets[field]), int(data.offsets[field + 1]))
            logits = _classify(model, data, cells, device)
            present = torch.ones((1, len(logits)), dtype=torch.bool)
            pooled.append(pool_bag(logits.unsqueeze(0), present, pooling))
    model.train(was_training)
    scores = torch.cat(pooled)  # (F, K)
    targets = data.targets[fields]
    loss = nn.functional.binary_cross_entropy_with_logits(scores, torch.from_numpy(targets))
    each = tuple(
        float(average_precision_score(targets[:, k], scores[:, k].numpy()))
        if targets[:, k].any()
        else None
        for k in range(N_LOCATIONS)
    )
    return Validation(each, float(loss), len(fields))


def _classify(
    model: nn.Module, data: TrainingData, cells: slice, device: torch.device
) -> torch.Tensor:
    parts = []
    for start in range(cells.start, cells.stop, _BATCH):
        stop = min(start + _BATCH, cells.stop)
        crops = torch.from_numpy(data.crops[start:stop]).to(device)
        masks = torch.from_numpy(data.cell_masks[start:stop]).to(device)
        parts.append(model(crops, masks)[0].float().cpu())
    return torch.cat(parts)

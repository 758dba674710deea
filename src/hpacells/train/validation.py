"""How well the averaged weights name the held-out images, and their cells where truth is known."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import numpy.typing as npt
import torch
from sklearn.metrics import average_precision_score
from torch import nn

from hpacells.core.locations import N_LOCATIONS
from hpacells.model.pooling import Pooling, pool_bag
from hpacells.runtime.model_folder import Calibration, Postprocessing
from hpacells.runtime.postprocess import calibrated_logits
from hpacells.train.data import TrainingData
from hpacells.train.truth import CellTruth

__all__ = [
    "Validation",
    "cells_of",
    "classify_cells",
    "mean_precision",
    "precision_per_location",
    "validate",
]

_BATCH = 128

Precisions = tuple[float | None, ...]


@dataclass(frozen=True)
class Validation:
    """Scores of the held-out fields, and the answers that they were computed from.

    Parameters
    ----------
    average_precision
        ``(K,)`` per location, of images; None where no held-out image has it.
    loss
        Binary cross-entropy of the same pooled logits.
    n_fields
        Held-out fields.
    logits, embedding
        ``(M, K)`` and ``(M, D)`` float32 of the held-out fields' cells (``cells_of``).
    cell_average_precision
        ``(K,)`` of the cells whose truth is known, as the model scores them; None without any.
    """

    COLUMNS: ClassVar = ("val_loss", "val_image_ap", "val_cell_ap")
    """Of the metrics file."""

    average_precision: Precisions
    loss: float
    n_fields: int
    logits: npt.NDArray[np.float32]
    embedding: npt.NDArray[np.float32]
    cell_average_precision: Precisions | None = None

    @property
    def mean(self) -> float | None:
        """Mean of the images' over the locations that have a positive; None without any."""
        return mean_precision(self.average_precision)

    @property
    def cell_mean(self) -> float | None:
        """The same of the cells'."""
        return mean_precision(self.cell_average_precision or ())

    def summary(self) -> dict[str, float | int | None]:
        """Give what a row of the metrics file says of it."""
        return dict(zip(self.COLUMNS, (self.loss, self.mean, self.cell_mean), strict=True))


def validate(
    model: nn.Module,
    data: TrainingData,
    fields: npt.NDArray[np.int64],
    *,
    pooling: Pooling,
    device: torch.device,
    truth: CellTruth | None = None,
    constants: Postprocessing | None = None,
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
    truth
        What the cells truly show, where it is known.
    constants
        How Negative is scored, in single cells and, pooled from them, in images.

    Returns
    -------
    Validation
        Average precision by scikit-learn (ties count once), per location.
    """
    was_training = model.training
    model.eval()
    cells = cells_of(data, fields)
    logits, embedding = classify_cells(model, data, cells, device)
    model.train(was_training)
    judged = calibrated_logits(logits.numpy(), Calibration(), constants or Postprocessing())
    sizes = np.diff(data.offsets)[fields].tolist()
    scores = torch.cat(  # (F, K)
        [
            pool_bag(part.unsqueeze(0), torch.ones((1, len(part)), dtype=torch.bool), pooling)
            for part in torch.from_numpy(judged).float().split(sizes)
        ]
    )
    targets = data.targets[fields]
    loss = nn.functional.binary_cross_entropy_with_logits(scores, torch.from_numpy(targets))
    by_cell = None
    if truth is not None and truth.known[cells].any():
        known = truth.known[cells]
        by_cell = precision_per_location(truth.targets[cells][known], judged[known])
    return Validation(
        precision_per_location(targets, scores.numpy()),
        float(loss),
        len(fields),
        logits.numpy(),
        embedding.numpy(),
        by_cell,
    )


def classify_cells(
    model: nn.Module, data: TrainingData, cells: npt.NDArray[np.int64], device: torch.device
) -> tuple[torch.Tensor, torch.Tensor]:
    """Give logits ``(M, K)`` and embedding ``(M, D)``, float32, of some cells.

    ``model`` is on the device and in evaluation mode.
    """
    logits, embeddings = [], []
    with torch.inference_mode():
        for start in range(0, len(cells), _BATCH):
            chosen = cells[start : start + _BATCH]
            crops = torch.from_numpy(data.crops[chosen]).to(device)
            masks = torch.from_numpy(data.cell_masks[chosen]).to(device)
            some, embedding = model(crops, masks)
            logits.append(some.float().cpu())
            embeddings.append(embedding.float().cpu())
    return torch.cat(logits), torch.cat(embeddings)


def cells_of(data: TrainingData, fields: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Give the positions of the cells of some fields, field after field."""
    spans = [np.arange(data.offsets[i], data.offsets[i + 1], dtype=np.int64) for i in fields]
    return np.concatenate([np.zeros(0, np.int64), *spans])


def precision_per_location(
    targets: npt.NDArray[np.float32], scores: npt.NDArray[np.floating]
) -> Precisions:
    """Average precision of each location of ``(M, K)``; None where no row has it."""
    return tuple(
        float(average_precision_score(targets[:, k], scores[:, k])) if targets[:, k].any() else None
        for k in range(N_LOCATIONS)
    )


def mean_precision(values: Precisions) -> float | None:
    """Mean of those that are defined; None where none is."""
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None

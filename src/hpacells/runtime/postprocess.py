"""Logits of a field's cells to cell, image and blend scores, by the constants of the model.

Three scores, kept apart (HPA.md §6): *cell* judges a cell alone; *image* pools the field's cells
that stand in the picture (``ok`` and ``border``); *blend* mixes the two, weighs cells down that
the frame cuts, and is for the competition's submission only. Every constant stands in the model's
``model.json`` (``Postprocessing``): nothing here is tuned.
"""

from math import ceil

import numpy as np
import numpy.typing as npt
import pyarrow.compute as pc
from scipy.special import expit, logit, logsumexp

from hpacells.core.cell_table import CellStatus, CellTable
from hpacells.core.errors import ModelError
from hpacells.core.locations import N_LOCATIONS, NEGATIVE
from hpacells.core.predictions import PredictionTable
from hpacells.runtime.model_folder import Calibration, ModelFolder, Postprocessing

__all__ = [
    "blend_scores",
    "border_weights",
    "calibrate",
    "calibrated_logits",
    "derive_negative",
    "pool_cells",
    "score_field",
]

Floats = npt.NDArray[np.float64]

_LEAST = 1e-7
"""A derived Negative stays this far from 0 and 1, so that its logit is finite."""


def score_field(
    logits: npt.NDArray[np.float32],
    embedding: npt.NDArray[np.float32],
    cells: CellTable,
    model: ModelFolder,
) -> PredictionTable:
    """Turn a network's answers for one field into scores.

    Parameters
    ----------
    logits
        ``(N, K)``, one row per row of ``cells``, rejected ones too.
    embedding
        ``(N, D)``.
    cells
        The field's cells: their status and ``chance_inside`` are used.
    model
        Its calibration and post-processing constants.

    Raises
    ------
    ModelError
        When rows or columns disagree, or a number is not finite.

    Notes
    -----
    Rejected cells get scores of all three kinds and influence no other cell. A field without a
    cell that counts has image scores 0.
    """
    if logits.shape != (len(cells), N_LOCATIONS):
        raise ModelError(
            f"model {model.model_id}: expected logits {(len(cells), N_LOCATIONS)}, "
            f"got {logits.shape}"
        )
    constants = model.spec.postprocessing
    scaled = calibrated_logits(logits, model.spec.calibration, constants)
    cell = expit(scaled)
    counts = np.asarray(pc.not_equal(cells.table["status"], CellStatus.REJECTED.value))
    image = pool_cells(scaled[counts], constants)
    blend = blend_scores(cell, image, constants) * border_weights(cells, constants)[:, None]
    return PredictionTable(
        cell=cell.astype(np.float32),
        image=image.astype(np.float32),
        blend=np.clip(blend, 0, 1).astype(np.float32),
        embedding=embedding.astype(np.float32, copy=False),
        model_id=model.model_id,
        locations=model.spec.locations,
    )


def calibrate(logits: npt.NDArray[np.float32], model: ModelFolder) -> npt.NDArray[np.float32]:
    """Give cell scores ``(N, K)`` in [0, 1] of logits ``(N, K)``, without a field around them."""
    spec = model.spec
    return np.asarray(
        expit(calibrated_logits(logits, spec.calibration, spec.postprocessing)), np.float32
    )


def pool_cells(logits: Floats, constants: Postprocessing) -> Floats:
    """Pool cells ``(N, K)`` of calibrated logits into image probabilities ``(K,)``; 0 for N = 0."""
    if len(logits) == 0:
        return np.zeros(logits.shape[1])
    how = constants.image_pooling
    if how == "noisy_or":
        # log(1 - p) = -softplus(logit): a sum of logs doesn't underflow
        return np.asarray(-np.expm1(-np.logaddexp(0, logits).sum(axis=0)))
    if how == "lse":
        sharpness = constants.lse_sharpness
        pooled = (logsumexp(sharpness * logits, axis=0) - np.log(len(logits))) / sharpness
        return np.asarray(expit(pooled))
    n_used = {"max": 1, "mean": len(logits), "top_mean": ceil(constants.top_share * len(logits))}
    return np.asarray(expit(np.sort(logits, axis=0)[-n_used[how] :].mean(axis=0)))


def border_weights(cells: CellTable, constants: Postprocessing) -> Floats:
    """Weigh the blend of each cell ``(N,)``: a border cell by its ``chance_inside``, others by 1.

    Cells more than half outside the frame are not in the truth, so the chance that a cell is one
    that counts is a factor of the chance that it counts for a location.
    """
    border = np.asarray(pc.equal(cells.table["status"], CellStatus.BORDER.value))
    chance = cells.table["chance_inside"].to_numpy().astype(np.float64)
    return np.where(border, chance**constants.border_power, 1.0)


def calibrated_logits(
    logits: npt.NDArray[np.floating], calibration: Calibration, constants: Postprocessing
) -> Floats:
    """Scale and shift a network's logits ``(N, K)``; a derived Negative comes from the others'."""
    scale, bias = np.array(calibration.scale), np.array(calibration.bias)
    scaled: Floats = logits.astype(np.float64) * scale + bias
    if constants.negative != "own":
        derived = derive_negative(np.delete(scaled, NEGATIVE, axis=1), constants)
        scaled[:, NEGATIVE] = derived * scale[NEGATIVE] + bias[NEGATIVE]
    return scaled


def derive_negative(others: Floats, constants: Postprocessing) -> Floats:
    """Give the logit ``(N,)`` of having none of the other locations, from theirs ``(N, K - 1)``."""
    if constants.negative == "one_minus_max":
        return -others.max(axis=1)
    none = np.exp(-np.logaddexp(0, others).sum(axis=1))
    return np.asarray(logit(np.clip(none, _LEAST, 1 - _LEAST)))


def blend_scores(cell: Floats, image: Floats, constants: Postprocessing) -> Floats:
    """Mix cell ``(N, K)`` with image scores ``(K,)`` or ``(N, K)``, damped by Negative."""
    a, b = constants.cell_weight, constants.image_weight
    blend = cell**a * image**b if constants.blend == "product" else a * cell + b * image
    keep = (1 - cell[:, [NEGATIVE]]) ** constants.negative_damping
    damped = blend * keep
    damped[:, NEGATIVE] = blend[:, NEGATIVE]
    return damped

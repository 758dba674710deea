"""How much protein a cell has, beside the others of its field, from more than its mean grey value.

The mean of a cell is not its amount: a compact place fills little of the cell, unspecific staining
fills all of it, and a cell that lacks one of two places is darker for that reason alone. The
classifier's scores and embedding tell which of these it is. So the logarithm of the amount is
learned, by a ridge regression, from what a cell's brightness, size, nucleus stain, scores and
embedding are beside the mean of its field. The truth that teaches it is known of simulated fields
only, so only a model with such a null has it (``runtime.variation_null``); all others are judged by
``measures.corrected_spread``.

It ranks cells of one field. Across fields it says nothing: everything is relative to the field.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from hpacells.core.errors import InputError
from hpacells.variation.field_cells import FieldCells
from hpacells.variation.measures import weighted_spread

__all__ = ["amount_features", "fit_amount_weights", "learned_spread"]

Floats = npt.NDArray[np.float64]

_LEAST_GREY, _LEAST_UM2 = 1.0, 5.0  # added before logarithms
_LEAST_SCORE = 0.01
_RIDGE = 200.0  # on standardised features, of some thousand cells
_LEAST_CELLS = 300


def amount_features(cells: FieldCells) -> Floats:
    """Describe each cell beside the mean of its field.

    Parameters
    ----------
    cells
        Of one field, at least one.

    Returns
    -------
    ndarray
        ``(N, 23 + E)`` with columns of mean 0: logarithms of protein, area, nucleus area and
        nucleus stain's mean, log-odds of the 19 scores, embedding.
    """
    stain = cells.dna_total / (cells.nucleus_area_um2 + 1.0)
    odds = (cells.probabilities + _LEAST_SCORE) / (1.0 + _LEAST_SCORE - cells.probabilities)
    columns = [
        np.log(cells.protein + _LEAST_GREY),
        np.log(cells.area_um2 + _LEAST_UM2),
        np.log(cells.nucleus_area_um2 + _LEAST_UM2),
        np.log(stain + _LEAST_GREY),
    ]
    features = np.column_stack([*columns, np.log(odds), cells.embedding])
    return np.asarray(features - features.mean(axis=0))


def learned_spread(cells: FieldCells, weights: Sequence[float]) -> float:
    """Give the standard deviation of the cells' learned log amounts.

    Parameters
    ----------
    cells
        Of one field, at least one; each weighs as in ``measures.weighted_spread``.
    weights
        One a column of ``amount_features``.

    Raises
    ------
    InputError
        When the cells have no embedding, or one of another length.
    """
    features = amount_features(cells)
    if features.shape[1] != len(weights):
        known = len(weights) - features.shape[1] + cells.embedding.shape[1]
        raise InputError(
            f"cells: expected embeddings of {known} numbers, as the null of variation knows them, "
            f"got {cells.embedding.shape[1]}. Has embeddings.parquet been left out, or is it "
            "another model's?"
        )
    return weighted_spread(cells, features @ np.asarray(weights, np.float64))


def fit_amount_weights(fields: Sequence[tuple[FieldCells, Floats]]) -> tuple[float, ...]:
    """Learn the weights from cells whose amounts are known.

    Parameters
    ----------
    fields
        Cells of a field and ``(N,)`` logarithms of their true amounts beside the others of the
        field, place for place; NaN where unknown.

    Returns
    -------
    tuple of float
        One a column of ``amount_features``.

    Raises
    ------
    InputError
        When fewer than 300 amounts are known.
    """
    known = [(amount_features(cells), amounts) for cells, amounts in fields]
    known = [(at[np.isfinite(y)], y[np.isfinite(y)]) for at, y in known]
    n = sum(len(y) for _, y in known)
    if n < _LEAST_CELLS:
        raise InputError(
            f"amounts: expected at least {_LEAST_CELLS} cells of known amount, got {n}. Name more "
            "simulated fields."
        )
    features = np.concatenate([at for at, _ in known])
    amounts = np.concatenate([y - y.mean() for _, y in known if len(y)])
    scale = np.maximum(np.sqrt((features**2).mean(axis=0)), 1e-9)
    scaled = features / scale
    square = scaled.T @ scaled + _RIDGE * np.eye(len(scale))
    weights = np.linalg.solve(square, scaled.T @ amounts) / scale
    return tuple(float(f"{weight:.6g}") for weight in weights)

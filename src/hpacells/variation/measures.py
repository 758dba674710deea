"""The two measures of variation between cells, and their bootstrap over cells.

*Spatial*: the generalised Jensen-Shannon divergence of the cells' location distributions (equal
weights): the entropy of the mean distribution minus the mean entropy, divided by ln 18, so that 0
means that all cells are alike and 1 that they spread evenly over all 18 places, one place a cell.
Negative is removed and the rest renormalised, or a protein that half of the cells lack would look
spatially variable; a cell for which no place scores above Negative has no distribution.

*Intensity*: the Gini coefficient of the protein's mean grey value per cell: 0 when all cells are
equally bright, (n - 1)/n when one of n cells holds everything. It does not change when the whole
field gets brighter. Undefined where every cell is black.

What is *tested* is sharper than what is told, because the null (``variation.null``) leaves ordinary
scatter in: ``main_axis_variance``, the variance of the cells along the one axis on which their
distributions differ most, and ``corrected_spread``, the spread of the amounts from which size,
reference stain and place were taken out, or the spread of learned amounts (``variation.amounts``).

Both scores come out smaller by a factor of about (n - 1)/n in a sample of n cells than in very
many. A bootstrap replicate shrinks by the same factor once more, which is undone, so that
replicates centre on the score; the score itself is left as it is defined.
"""

import numpy as np
import numpy.typing as npt

from hpacells.core.locations import N_LOCATIONS, NEGATIVE
from hpacells.variation.field_cells import FieldCells

__all__ = [
    "bootstrap_counts",
    "corrected_amounts",
    "corrected_spread",
    "intensity_variation",
    "location_distributions",
    "main_axis_variance",
    "spatial_variation",
    "weighted_spread",
]

Floats = npt.NDArray[np.float64]

_LARGEST_ENTROPY = np.log(N_LOCATIONS - 1)
_TOP_PLACES = 3
_RIDGE = 1.0
_LEAST_GREY, _LEAST_UM2 = 1.0, 5.0  # added before logarithms


def location_distributions(probabilities: npt.NDArray[np.floating]) -> Floats:
    """Turn cell scores into distributions over the 18 places that are not Negative.

    Parameters
    ----------
    probabilities
        ``(N, 19)`` in [0, 1].

    Returns
    -------
    ndarray
        ``(M, 18)`` float64, rows sum to 1; the N - M cells that are nothing but Negative are left
        out.
    """
    places = np.delete(probabilities.astype(np.float64), NEGATIVE, axis=1)
    kept = places.max(axis=1, initial=0) > probabilities[:, NEGATIVE]
    places = places[kept]
    return places / places.sum(axis=1, keepdims=True)


def spatial_variation(distributions: Floats, counts: npt.NDArray[np.integer]) -> Floats:
    """Generalised Jensen-Shannon divergence of cells, in [0, 1].

    Parameters
    ----------
    distributions
        ``(N, 18)``, rows sum to 1.
    counts
        ``(B, N)``: how often each cell stands in replicate b; ones for the score itself.

    Returns
    -------
    ndarray
        ``(B,)`` float64.
    """
    shares = counts / counts.sum(axis=1, keepdims=True)
    divergence = _entropy(shares @ distributions) - shares @ _entropy(distributions)
    return np.clip(divergence / _LARGEST_ENTROPY, 0.0, 1.0)


def intensity_variation(amounts: Floats, counts: npt.NDArray[np.integer]) -> Floats:
    """Gini coefficient of the cells' protein, in [0, 1).

    Parameters
    ----------
    amounts
        ``(N,)``, at least 0.
    counts
        ``(B, N)``: how often each cell stands in replicate b.

    Returns
    -------
    ndarray
        ``(B,)`` float64; NaN where all cells of a replicate are black.
    """
    order = np.argsort(amounts, kind="stable")
    weights = counts[:, order].astype(np.float64)
    n_cells = weights.sum(axis=1)
    weighted = weights * amounts[order]
    total = weighted.sum(axis=1)
    middle_ranks = 2 * np.cumsum(weights, axis=1) - weights
    sums = (weighted * middle_ranks).sum(axis=1)
    gini = np.divide(sums, n_cells * total, out=np.full(total.shape, np.nan), where=total > 0) - 1
    return np.clip(gini, 0.0, 1.0)


def main_axis_variance(distributions: Floats) -> float:
    """Variance of cells along the axis on which their distributions differ most, in [0, 1].

    Parameters
    ----------
    distributions
        ``(N, 18)``, rows sum to 1, N at least 1.

    Returns
    -------
    float
        Largest eigenvalue of the covariance of the square roots, whose distances are Hellinger's.
    """
    roots = np.sqrt(distributions)
    singular = np.linalg.svd(roots - roots.mean(axis=0), compute_uv=False)
    return float(singular[0] ** 2 / len(roots))


def corrected_amounts(cells: FieldCells) -> Floats:
    """Take out of the cells' protein what size, reference stain and place explain.

    The logarithm of ``protein_mean`` is regressed, within the field and with a ridge, on the
    logarithms of the areas of cell and nucleus and of the nucleus stain's mean (it carries uneven
    light and focus too), and on the scores of the three places that the field shows most: a cell
    that lacks one of two places has less protein for that reason alone.

    Returns
    -------
    ndarray
        ``(N,)`` above 0, with the geometric mean of ``protein_mean`` plus 1.
    """
    amounts = np.log(cells.protein + _LEAST_GREY)
    dna = cells.dna_total / (cells.nucleus_area_um2 + 1.0)
    places = np.delete(cells.probabilities, NEGATIVE, axis=1)
    top = np.argsort(-places.mean(axis=0), kind="stable")[:_TOP_PLACES]
    covariates = np.column_stack(
        [
            np.log(cells.area_um2 + _LEAST_UM2),
            np.log(cells.nucleus_area_um2 + _LEAST_UM2),
            np.log(dna + _LEAST_GREY),
            places[:, top],
        ]
    )
    covariates -= covariates.mean(axis=0)
    centred = amounts - amounts.mean()
    square = covariates.T @ covariates + _RIDGE * np.eye(covariates.shape[1])
    explained = covariates @ np.linalg.solve(square, covariates.T @ centred)
    return np.asarray(np.exp(amounts - explained))


def corrected_spread(cells: FieldCells) -> float:
    """Give the ``weighted_spread`` of the logarithms of ``corrected_amounts``."""
    return weighted_spread(cells, np.log(corrected_amounts(cells)))


def weighted_spread(cells: FieldCells, amounts: Floats) -> float:
    """Give the standard deviation of ``(N,)`` log amounts.

    A cell weighs as the square of its surest place: the amount of a cell that shows no place is
    that of unspecific staining.
    """
    weights = np.delete(cells.probabilities, NEGATIVE, axis=1).max(axis=1) ** 2 + 1e-6
    mean = np.average(amounts, weights=weights)
    return float(np.sqrt(np.average((amounts - mean) ** 2, weights=weights)))


def bootstrap_counts(
    rng: np.random.Generator, n_cells: int, n_replicates: int
) -> npt.NDArray[np.int64]:
    """Draw cells with replacement: ``(B, N)`` how often each stands in a replicate."""
    return rng.multinomial(n_cells, np.full(n_cells, 1 / n_cells), n_replicates)


def _entropy(distributions: Floats) -> Floats:
    """Entropy in nats along the last axis; 0 log 0 = 0."""
    logs = np.log(distributions, out=np.zeros_like(distributions), where=distributions > 0)
    return -(distributions * logs).sum(axis=-1)

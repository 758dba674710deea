"""The two measures of variation between cells, and their bootstrap over cells.

*Spatial*: the generalised Jensen-Shannon divergence of the cells' location distributions (equal
weights): the entropy of the mean distribution minus the mean entropy, divided by ln 18, so that 0
means that all cells are alike and 1 that they spread evenly over all 18 places, one place a cell.
Negative is removed and the rest renormalised, or a protein that half of the cells lack would look
spatially variable; a cell for which no place scores above Negative has no distribution.

*Intensity*: the Gini coefficient of the protein's mean grey value per cell: 0 when all cells are
equally bright, (n - 1)/n when one of n cells holds everything. It does not change when the whole
field gets brighter. Undefined where every cell is black.

Both come out smaller by a factor of about (n - 1)/n in a sample of n cells than in very many.
A bootstrap replicate shrinks by the same factor once more, which is undone, so that replicates
centre on the score; the score itself is left as it is defined.
"""

import numpy as np
import numpy.typing as npt

from hpacells.core.locations import N_LOCATIONS, NEGATIVE

__all__ = [
    "bootstrap_counts",
    "intensity_variation",
    "location_distributions",
    "spatial_variation",
]

Floats = npt.NDArray[np.float64]

_LARGEST_ENTROPY = np.log(N_LOCATIONS - 1)


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


def bootstrap_counts(
    rng: np.random.Generator, n_cells: int, n_replicates: int
) -> npt.NDArray[np.int64]:
    """Draw cells with replacement: ``(B, N)`` how often each stands in a replicate."""
    return rng.multinomial(n_cells, np.full(n_cells, 1 / n_cells), n_replicates)


def _entropy(distributions: Floats) -> Floats:
    """Entropy in nats along the last axis; 0 log 0 = 0."""
    logs = np.log(distributions, out=np.zeros_like(distributions), where=distributions > 0)
    return -(distributions * logs).sum(axis=-1)

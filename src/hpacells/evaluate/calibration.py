"""Whether a probability means what it says: calibration error and Brier score, per location.

Knows nothing of where the probabilities come from. Cells are taken as they are given: rare
locations are judged by few positives, which is why every score carries its counts.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

__all__ = ["CalibrationScore", "reliability", "score_calibration"]

N_BINS = 15


@dataclass(frozen=True)
class CalibrationScore:
    """How good the probabilities of one location are.

    Parameters
    ----------
    n, n_positives
        Cells, and those that have the location.
    error
        Adaptive calibration error, 0 to 1; None without a cell.
    brier
        Mean squared difference of probability and truth; None without a cell.
    brier_skill
        ``1 - brier / brier of always saying the prevalence``: above 0 better than that, 1 perfect;
        None where all cells have the location or none has.
    """

    n: int
    n_positives: int
    error: float | None
    brier: float | None
    brier_skill: float | None


def reliability(
    probability: npt.NDArray[np.floating], truth: npt.NDArray[np.bool_], *, n_bins: int = N_BINS
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64], npt.NDArray[np.int64]]:
    """Compare what was said with what is, in bins of about equally many cells.

    Parameters
    ----------
    probability
        ``(N,)`` in [0, 1].
    truth
        ``(N,)``.
    n_bins
        Bins, at most: equal probabilities are never parted.

    Returns
    -------
    tuple of ndarray
        Per bin that holds a cell: mean probability, share of positives, cells.
    """
    edges = np.quantile(probability, np.linspace(0, 1, n_bins + 1)[1:-1]) if len(truth) else []
    bins = np.searchsorted(edges, probability)
    counts = np.bincount(bins, minlength=n_bins)
    said = np.bincount(bins, probability.astype(np.float64), minlength=n_bins)
    found = np.bincount(bins, truth.astype(np.float64), minlength=n_bins)
    some = counts > 0
    return said[some] / counts[some], found[some] / counts[some], counts[some]


def score_calibration(
    probability: npt.NDArray[np.floating], truth: npt.NDArray[np.bool_], *, n_bins: int = N_BINS
) -> CalibrationScore:
    """Score the probabilities of one location.

    Parameters
    ----------
    probability
        ``(N,)`` in [0, 1].
    truth
        ``(N,)``.
    n_bins
        Bins of the calibration error.

    Returns
    -------
    CalibrationScore
        What is undefined is None.

    Notes
    -----
    The error is the mean over cells of |share of positives - mean probability| of their bin. Bins
    hold equally many cells, so this is the adaptive calibration error of one class.

    References
    ----------
    Nixon et al., "Measuring calibration in deep learning" (2019), arXiv:1904.01685, equation 4;
    Brier, "Verification of forecasts expressed in terms of probability" (1950).
    """
    n, n_positives = len(truth), int(truth.sum())
    if n == 0:
        return CalibrationScore(0, 0, None, None, None)
    said, found, counts = reliability(probability, truth, n_bins=n_bins)
    brier = float(np.mean((probability.astype(np.float64) - truth) ** 2))
    prevalence = n_positives / n
    by_chance = prevalence * (1 - prevalence)
    return CalibrationScore(
        n=n,
        n_positives=n_positives,
        error=float(np.average(np.abs(said - found), weights=counts)),
        brier=brier,
        brier_skill=1 - brier / by_chance if by_chance > 0 else None,
    )

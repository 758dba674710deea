"""Average precision by all-point interpolation, plain and with weighted images."""

import numpy as np
import numpy.typing as npt

__all__ = ["average_precision", "rank_detections", "weighted_average_precision"]

Floats = npt.NDArray[np.float64]


def rank_detections(confidence: Floats, is_true: npt.NDArray[np.bool_]) -> npt.NDArray[np.int64]:
    """Order detections by confidence, descending; among equals false positives come first.

    The reference leaves ties open; this is the pessimistic choice, and it makes the result
    independent of the order of rows and triples.
    """
    return np.lexsort((is_true, -confidence)).astype(np.int64)


def average_precision(
    confidence: Floats, is_true: npt.NDArray[np.bool_], n_truths: int
) -> float | None:
    """Average precision of one class over all images.

    Parameters
    ----------
    confidence
        ``(N,)`` float64, any finite values.
    is_true
        ``(N,)`` bool: this detection claimed a truth.
    n_truths
        Truths of the class.

    Returns
    -------
    float or None
        In [0, 1]; 0 without detections, None without truths.

    Notes
    -----
    Recall 0 and 1 are appended with precision 0, precision becomes its running maximum from the
    right, and the steps of recall times precision are summed (Open Images rules).

    Examples
    --------
    >>> hits = np.array([True, False, True, True, False])
    >>> average_precision(np.array([0.9, 0.8, 0.7, 0.6, 0.5]), hits, 4)
    0.625
    """
    hits = is_true[rank_detections(confidence, is_true)].astype(np.float64)
    value = weighted_average_precision(hits, np.ones((1, hits.size)), np.array([float(n_truths)]))
    return None if np.isnan(value[0]) else float(value[0])


def weighted_average_precision(hits: Floats, weights: Floats, n_truths: Floats) -> Floats:
    """Average precision under several weightings of the images at once.

    Parameters
    ----------
    hits
        ``(N,)`` 0 or 1, in the order of ``rank_detections``.
    weights
        ``(B, N)``: how often each detection's image stands in replicate b.
    n_truths
        ``(B,)``: truths in replicate b.

    Returns
    -------
    ndarray
        ``(B,)``; NaN where a replicate has no truth.

    Notes
    -----
    A whole weight is the same as that many copies of the image: copies of one detection have one
    confidence, so their false positives precede their true positives here as well, and the
    precision within a block of true positives never exceeds that at its end.
    """
    true = np.cumsum(weights * hits, axis=1)
    found = np.cumsum(weights, axis=1)
    precision = np.divide(true, found, out=np.zeros_like(true), where=found > 0)
    envelope = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
    area = (weights * hits * envelope).sum(axis=1)
    return np.divide(area, n_truths, out=np.full(area.shape, np.nan), where=n_truths > 0)

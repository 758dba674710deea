"""Intervals of the mean average precision by drawing fields with replacement.

Fields are matched once; a replicate only reweights them. The fields are taken as independent:
where several come from one well or antibody, the interval is too narrow.
"""

import numpy as np

from hpacells.core.errors import ConfigError
from hpacells.core.locations import N_LOCATIONS
from hpacells.evaluate.average_precision import rank_detections, weighted_average_precision
from hpacells.evaluate.matching import Matches

__all__ = ["bootstrap_map"]

_NUMBERS_AT_ONCE = 4_000_000


def bootstrap_map(
    matches: Matches,
    rng: np.random.Generator,
    *,
    n_replicates: int = 1000,
    level: float = 0.95,
) -> tuple[float, float] | None:
    """Interval of the mAP over fields.

    Parameters
    ----------
    matches
        Of all fields.
    rng
        Draws the fields.
    n_replicates
        How many sets of fields are drawn.
    level
        Share of replicates inside the interval.

    Returns
    -------
    tuple of float, or None
        Lower and upper percentile; None when there is no truth. A replicate's mean is over the
        classes of which it has a truth.

    Raises
    ------
    ConfigError
        When ``n_replicates`` is below 1 or ``level`` outside (0, 1).
    """
    if n_replicates < 1 or not 0 < level < 1:
        raise ConfigError(
            f"expected at least one replicate and a level in (0, 1), got {n_replicates}, {level}"
        )
    n_images = len(matches.images)
    if not n_images or not matches.n_truths.any():
        return None
    draws = rng.multinomial(n_images, np.full(n_images, 1 / n_images), n_replicates)
    scores = np.full((n_replicates, N_LOCATIONS), np.nan)
    for class_id in range(N_LOCATIONS):
        rows = np.flatnonzero(matches.class_id == class_id)
        is_true = matches.is_true[rows]
        order = rank_detections(matches.confidence[rows], is_true)
        hits, images = is_true[order].astype(np.float64), matches.image[rows][order]
        n_truths = (draws @ matches.n_truths[:, class_id]).astype(np.float64)
        step = max(1, _NUMBERS_AT_ONCE // max(1, hits.size))
        for first in range(0, n_replicates, step):
            part = slice(first, first + step)
            weights = draws[part][:, images].astype(np.float64)
            scores[part, class_id] = weighted_average_precision(hits, weights, n_truths[part])
    defined = ~np.isnan(scores)
    usable = defined.any(axis=1)
    means = np.nansum(scores[usable], axis=1) / defined[usable].sum(axis=1)
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)

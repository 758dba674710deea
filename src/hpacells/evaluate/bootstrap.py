"""Intervals of average precision by drawing fields, or groups of fields, with replacement.

Fields are matched once; a replicate only reweights them. Fields that share a label (one well, one
antibody) are not independent: draw those groups, or the interval is too narrow.
"""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from hpacells.core.errors import ConfigError
from hpacells.core.locations import N_LOCATIONS
from hpacells.evaluate.average_precision import rank_detections, weighted_average_precision
from hpacells.evaluate.matching import Matches

__all__ = ["bootstrap_ap", "bootstrap_map", "interval"]

_NUMBERS_AT_ONCE = 4_000_000


def bootstrap_map(
    matches: Matches,
    rng: np.random.Generator,
    *,
    n_replicates: int = 1000,
    level: float = 0.95,
    group_of: Mapping[str, str] | None = None,
) -> tuple[float, float] | None:
    """Interval of the mAP.

    Parameters
    ----------
    matches, rng, n_replicates, group_of
        As for ``bootstrap_ap``.
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
    scores = bootstrap_ap(matches, rng, n_replicates=n_replicates, group_of=group_of)
    defined = ~np.isnan(scores)
    usable = defined.any(axis=1)
    means = np.nansum(scores[usable], axis=1) / defined[usable].sum(axis=1)
    return interval(means, level=level)


def bootstrap_ap(
    matches: Matches,
    rng: np.random.Generator,
    *,
    n_replicates: int = 1000,
    group_of: Mapping[str, str] | None = None,
) -> npt.NDArray[np.float64]:
    """Average precision of every class in every replicate.

    Parameters
    ----------
    matches
        Of all fields.
    rng
        Draws the fields, or the groups.
    n_replicates
        How many sets are drawn.
    group_of
        Field id → group drawn as a whole (a sample, an antibody); a field without one stands for
        itself. None: every field stands for itself.

    Returns
    -------
    ndarray
        ``(n_replicates, K)``; NaN where a replicate has no truth of the class.

    Raises
    ------
    ConfigError
        When ``n_replicates`` is below 1.
    """
    if n_replicates < 1:
        raise ConfigError(f"expected at least one replicate, got {n_replicates}")
    scores = np.full((n_replicates, N_LOCATIONS), np.nan)
    groups = [(group_of or {}).get(fov_id, fov_id) for fov_id in matches.images]
    names, group = np.unique(groups, return_inverse=True)
    if not len(names):
        return scores
    drawn = rng.multinomial(len(names), np.full(len(names), 1 / len(names)), n_replicates)
    draws = drawn[:, group]  # (replicates, images)
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
    return scores


def interval(values: npt.NDArray[np.float64], *, level: float = 0.95) -> tuple[float, float] | None:
    """Percentile interval of the replicates ``(n_replicates,)`` that are defined (not NaN).

    Raises
    ------
    ConfigError
        When ``level`` is outside (0, 1).
    """
    if not 0 < level < 1:
        raise ConfigError(f"expected a level in (0, 1), got {level}")
    defined = values[~np.isnan(values)]
    if not len(defined):
        return None
    low, high = np.quantile(defined, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)

"""Whether cells differ by more than the classifier's error and ordinary scatter make them differ.

Permuting the cells of a field leaves its scores as they are, so that is no test. The null is the
distribution of the same statistic over fields without designed variation that the network has not
learned from, *matched* on what makes it large by itself: the number of cells, their mean
composition, their quality (doubt, share of Negative), size and brightness of the stain. With some
hundred fields no field has twins among them, so the match is a regression: the logarithm of the
statistic on those features (ridge), the spread of its residuals likewise, and the standardised
residuals of the null fields as they are, with an exponential tail above their 90 % quantile. All
residuals are those of a fit without the field itself.

Fields whose label has several places belong to the null: their cells differ by ordinary scatter,
and by that alone nearly every one of them would count as variable.

*Trimmed* fitting is for fields of which some do vary, as among the held-out fields of a real
training: what lies far above the expected is left out, and the residuals are taken for the rest of
a normal distribution that was cut there.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.stats import norm, truncnorm

from hpacells.core.errors import InputError
from hpacells.core.locations import LOCATION_KEYS, NEGATIVE
from hpacells.runtime.variation_null import NULL_LEVELS, KindNull, VariationNull
from hpacells.variation.amounts import learned_spread
from hpacells.variation.field_cells import FieldCells
from hpacells.variation.measures import (
    corrected_spread,
    location_distributions,
    main_axis_variance,
)

__all__ = [
    "FEATURES",
    "KINDS",
    "LEAST_FIELDS",
    "Judged",
    "describe_field",
    "fit_null",
    "judge_field",
]

Floats = npt.NDArray[np.float64]

KINDS = ("spatial", "intensity")
LEAST_FIELDS = 100
"""With fewer null fields nothing is fitted."""

_PLACES = tuple(key for key in LOCATION_KEYS if key != LOCATION_KEYS[NEGATIVE])
FEATURES = (
    "constant", "mean_entropy", "mean_entropy_squared", "inverse_n", "log_n", "log_area",
    "log_area_squared", "doubt", "negative", "log_protein", "log_protein_squared",
    *(f"share_{key}" for key in _PLACES),
)  # fmt: skip
"""What fields are matched on. ``share_``: of a place in the cells' mean composition."""

_FLOOR = {"spatial": 0.003, "intensity": 0.02}  # added before the logarithm
_RIDGE_MEAN, _RIDGE_SPREAD = 2.0, 30.0  # on standardised features
_LEAST_RESIDUAL = 1e-3
_CUT = 2.5  # trimmed: standardised residuals above are left out
_CUT_NORMAL = truncnorm(-np.inf, _CUT)
_LAST = norm.ppf(NULL_LEVELS[-1])
_ROUNDS = 10


@dataclass(frozen=True)
class Judged:
    """One statistic of one field beside its null.

    Parameters
    ----------
    effect
        log2 of the statistic over what the null expects: 0 as expected, 1 twice as much.
    p
        Share of null fields like this one whose statistic is at least as large.
    """

    effect: float
    p: float


def describe_field(
    cells: FieldCells, amount_weights: Sequence[float] = ()
) -> tuple[dict[str, float], Floats]:
    """Give the statistics of a field's cells and the features to match on.

    Parameters
    ----------
    cells
        At least one.
    amount_weights
        Of the null that they are to be judged by; where there are some, the intensity of cells
        without embeddings is undefined.

    Returns
    -------
    tuple
        Statistic by kind on a logarithmic scale, without a kind that is undefined (no cell with a
        place); and the features ``(F,)`` of ``FEATURES``.
    """
    places = location_distributions(cells.probabilities)
    statistics = {}
    if len(places):
        statistics["spatial"] = float(np.log(main_axis_variance(places) + _FLOOR["spatial"]))
    learned = len(amount_weights) > 0
    if cells.protein.any() and (cells.embedding.shape[1] or not learned):
        spread = learned_spread(cells, amount_weights) if learned else corrected_spread(cells)
        statistics["intensity"] = float(np.log(spread + _FLOOR["intensity"]))
    mean = np.delete(cells.probabilities, NEGATIVE, axis=1).mean(axis=0)
    shares = mean / max(float(mean.sum()), 1e-6)
    entropy = -float(shares @ np.log(np.maximum(shares, 1e-12)))
    protein = float(np.log(cells.protein.mean() + 1.0))
    n = len(cells)
    area = float(np.log(cells.area_um2 + 1.0).mean())
    features = [1.0, entropy, entropy**2, 1.0 / n, float(np.log(n)), area, area**2]
    features += [float(cells.doubt.mean()), float(cells.probabilities[:, NEGATIVE].mean())]
    features += [protein, protein**2]
    return statistics, np.array([*features, *shares], np.float64)


def judge_field(null: VariationNull, kind: str, statistic: float, features: Floats) -> Judged:
    """Compare a field's statistic with the null of fields like it.

    Parameters
    ----------
    null
        Of the model that scored the cells.
    kind
        ``spatial`` or ``intensity``.
    statistic, features
        From ``describe_field``.

    Returns
    -------
    Judged
        Its p is never below a tenth of one null field: nothing is known of what is rarer.
    """
    own: KindNull = getattr(null, kind)
    at = np.clip(features, null.lowest, null.highest)
    excess = statistic - float(at @ np.array(own.expected))
    z = excess / float(np.exp(at @ np.array(own.spread)))
    if z <= own.quantiles[-1]:
        p = 1.0 - float(np.interp(z, own.quantiles, NULL_LEVELS, left=0.0))
    else:
        p = (1.0 - NULL_LEVELS[-1]) * float(np.exp(-(z - own.quantiles[-1]) / own.tail))
    return Judged(excess / float(np.log(2.0)), max(p, 0.1 / null.n_fields))


def fit_null(
    fields: Sequence[tuple[dict[str, float], Floats]],
    *,
    source: str,
    trimmed: bool,
    amount_weights: tuple[float, ...] = (),
) -> VariationNull:
    """Fit the null to fields that do not vary by design.

    Parameters
    ----------
    fields
        ``describe_field`` of each.
    source
        Which fields these are, in words.
    trimmed
        Whether some of them may vary after all.
    amount_weights
        For the fields to judge. Those that described ``fields`` must not have been taught by the
        same field, or the null would be too narrow.

    Returns
    -------
    VariationNull
        For the model that scored them.

    Raises
    ------
    InputError
        When there are fewer than ``LEAST_FIELDS`` with both statistics.
    """
    whole = [(told, features) for told, features in fields if len(told) == len(KINDS)]
    if len(whole) < LEAST_FIELDS:
        raise InputError(
            f"null of variation: expected at least {LEAST_FIELDS} fields with enough whole cells, "
            f"got {len(whole)}. Add fields, or larger ones."
        )
    features = np.stack([at for _, at in whole])
    lowest, highest = np.quantile(features, [0.01, 0.99], axis=0)
    features = np.clip(features, lowest, highest)
    kinds = {
        kind: _fit_kind(features, np.array([told[kind] for told, _ in whole]), trimmed=trimmed)
        for kind in KINDS
    }
    return VariationNull(
        features=FEATURES,
        lowest=_numbers(lowest),
        highest=_numbers(highest),
        n_fields=len(whole),
        source=source,
        spatial=kinds["spatial"],
        intensity=kinds["intensity"],
        amount_weights=amount_weights,
    )


def _fit_kind(features: Floats, values: Floats, *, trimmed: bool) -> KindNull:
    expected, residuals = _regress(features, values, _RIDGE_MEAN)
    spread, own = _regress_spread(features, residuals)
    z = residuals / np.exp(own)
    if not trimmed:
        quantiles = np.quantile(z, NULL_LEVELS)
        tail = float((z[z > quantiles[-1]] - quantiles[-1]).mean())
    else:
        kept, middle, scale = np.ones(len(z), np.bool_), 0.0, 1.0
        for _ in range(_ROUNDS):
            expected, residuals = _regress(features[kept], values[kept], _RIDGE_MEAN)
            spread, own = _regress_spread(features[kept], residuals)
            z = (values - features @ expected) / np.exp(features @ spread)
            z[kept] = residuals / np.exp(own)
            scale = float(z[kept].std() / _CUT_NORMAL.std())
            middle = float(z[kept].mean() - scale * _CUT_NORMAL.mean())
            kept = z < middle + _CUT * scale
        expected[0] += middle * float(np.exp((features @ spread).mean()))
        quantiles = scale * norm.ppf(NULL_LEVELS)
        tail = scale * float(norm.expect(lb=_LAST, conditional=True) - _LAST)
    return KindNull(
        expected=_numbers(expected),
        spread=_numbers(spread),
        quantiles=_numbers(quantiles),
        tail=float(f"{max(tail, 1e-6):.6g}"),
    )


def _regress_spread(features: Floats, residuals: Floats) -> tuple[Floats, Floats]:
    """Fit the log spread; beside it, of each row, what a fit without it expects."""
    sizes = np.log(np.maximum(np.abs(residuals), _LEAST_RESIDUAL))
    spread, left = _regress(features, sizes, _RIDGE_SPREAD)
    return spread, sizes - left


def _regress(features: Floats, values: Floats, ridge: float) -> tuple[Floats, Floats]:
    """Fit ``values ≈ features @ coefficients``; residuals each of a fit without its own row.

    A field weighs by its cells: those of many are rarer among null fields, and scatter less.
    """
    mean, sd = features.mean(axis=0), features.std(axis=0)
    mean[0], sd[0] = 0.0, 1.0
    sd = np.where(sd > 1e-9, sd, 1.0)
    scaled = (features - mean) / sd
    n_cells = np.exp(features[:, FEATURES.index("log_n")])
    weighted = scaled * (n_cells / n_cells.mean())[:, None]
    penalty = np.full(scaled.shape[1], ridge)
    penalty[0] = 0.0
    inverse = np.linalg.inv(weighted.T @ scaled + np.diag(penalty))
    coefficients = inverse @ (weighted.T @ values)
    leverage = np.einsum("ij,jk,ik->i", scaled, inverse, weighted)
    residuals = (values - scaled @ coefficients) / np.maximum(1.0 - leverage, 0.05)
    coefficients = coefficients / sd
    coefficients[0] -= float(coefficients[1:] @ mean[1:])
    return coefficients, residuals


def _numbers(values: Floats) -> tuple[float, ...]:
    return tuple(float(f"{value:.6g}") for value in values)

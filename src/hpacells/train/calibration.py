"""From logits to probabilities of single cells, fitted on held-out fields by image labels alone.

No label of a cell is looked at. What an image's label says of its cells was measured
(``core.label_noise``): cells of images without a location lack it; of the cells of images with it
a share ``p`` shows it. With ``π`` the share of cells under images that have the location, a cell
that *lacks* it lies in such an image with probability

    c = π (1 - p) / (π (1 - p) + 1 - π),

so a cell's own probability ``q`` says how likely its image's label is:

    P(image has it | logit) = q + (1 - q) c,    q = sigmoid(scale · logit + bias).

Scale and bias are those under which the labels of the images are likeliest: a logistic regression
with a known rate of positives by chance, the positive-unlabelled case of Elkan and Noto (2008,
doi:10.1145/1401890.1401920). Every field counts once, since its cells share their label.

``train.soft_labels`` inverts the same mixture with the image's label known, by a ratio of densities
and a share per image; here the label is what is asked of a new image, so it has to be left out.

What it does not know: a presence other than the published one shifts the probabilities of its
location; what strays into images without the location (below 3 % of cells) counts as absent.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize
from scipy.special import expit, log_expit, logit, xlogy

from hpacells.core.label_noise import NEGATIVE_SHARE, PRESENCE, chance_of_label
from hpacells.core.locations import N_LOCATIONS, NEGATIVE
from hpacells.runtime.model_folder import Calibration, Postprocessing
from hpacells.runtime.postprocess import calibrated_logits

__all__ = ["LEAST_FIELDS", "LEAST_POSITIVES", "FittedCalibration", "fit_calibration"]

LEAST_FIELDS = 20
"""With fewer held-out fields nothing is fitted."""
LEAST_POSITIVES = 2
"""A location on fewer held-out fields, or on all but fewer, takes the pooled constants."""

_POOLED_SPREAD = (2.0, 6.0)
"""How far the log-scale that all locations share and their biases may lie from the identity:
standard deviations of a normal prior."""
_OWN_SPREAD = (0.2, 2.0)
"""How far a location's own may lie from the shared scale and the mean bias. The scale is the
network's, the bias the location's; of six pairs tried on simulated fields the least error."""

_LEAST = 1e-12

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class FittedCalibration:
    """Constants, how each location got its own, and what follows for the cells they come from.

    Parameters
    ----------
    calibration
        For ``model.json``.
    how
        ``(K,)`` per location ``own``, ``pooled`` or ``identity``.
    posterior
        ``(N, K)`` probability that the cell shows the location, given its logits *and* its image's
        label: 0 where the label lacks it.
    """

    calibration: Calibration
    how: tuple[str, ...]
    posterior: Floats


@dataclass(frozen=True)
class _Case:
    """One location's cells; ``chance`` and ``shift`` as in ``_Labels``."""

    logits: Floats
    targets: Floats
    weights: Floats
    chance: float = 0.0
    shift: float = 0.0


def fit_calibration(
    logits: npt.NDArray[np.float32],
    cell_field: npt.NDArray[np.int64],
    targets: npt.NDArray[np.float32],
    constants: Postprocessing,
    *,
    frequency: npt.NDArray[np.floating] | None = None,
) -> FittedCalibration:
    """Fit a scale and a bias per location.

    Parameters
    ----------
    logits
        ``(N, K)`` of cells of held-out fields.
    cell_field
        ``(N,)`` position of each cell's field.
    targets
        ``(F, K)`` 0 or 1, the image labels.
    constants
        How Negative is scored. Where it is derived, its logit is fitted to the probability that
        the cell shows nothing of what its image's label has. Where it is the network's own, it
        stays as it is: image labels say next to nothing of Negative cells.
    frequency
        ``(K,)`` share of images with each location where the probabilities are to hold: in all
        labelled images, say. Few held-out images differ from that by chance. None takes theirs.

    Returns
    -------
    FittedCalibration
        The identity with fewer than ``LEAST_FIELDS`` fields; the pooled constants for a location on
        fewer than ``LEAST_POSITIVES`` of them.

    References
    ----------
    Platt scaling: J. Platt, "Probabilistic outputs for support vector machines" (1999).
    """
    told = _read_labels(cell_field, targets, frequency)
    enough = told.n_fields * np.minimum(told.share, 1 - told.share) >= LEAST_POSITIVES - 0.5
    log_scale, bias = np.zeros(N_LOCATIONS), np.zeros(N_LOCATIONS)
    how = ["identity"] * N_LOCATIONS
    if told.n_fields >= LEAST_FIELDS and enough.any():
        cases = [told.case(k, logits[:, k].astype(np.float64)) for k in range(NEGATIVE)]
        shared = _fit([cases[k] for k in np.flatnonzero(enough)], np.zeros(2), _POOLED_SPREAD)
        pooled = np.array([shared[0], shared[1:].mean()])
        for k, case in enumerate(cases):
            how[k] = "own" if enough[k] else "pooled"
            log_scale[k], bias[k] = _fit([case], pooled, _OWN_SPREAD) if enough[k] else pooled
    scaled = calibrated_logits(logits, _constants(log_scale, bias), constants)
    posterior = told.posterior(scaled)
    if "own" in how and constants.negative != "own":
        how[NEGATIVE] = "own"
        case = _Case(scaled[:, NEGATIVE], posterior[:, NEGATIVE], told.weights)
        log_scale[NEGATIVE], bias[NEGATIVE] = _fit([case], np.zeros(2), _POOLED_SPREAD)
    return FittedCalibration(_constants(log_scale, bias), tuple(how), posterior)


@dataclass(frozen=True)
class _Labels:
    """What the images' labels say of their cells.

    ``on_cells`` (N, K) each cell's image label; ``weights`` (N,) that sum to 1 over a field; for
    every location but Negative: ``share`` of the fields that have it, ``chance`` that a cell
    without it is in such a field, ``shift`` of the held-out cells' logits above those of all cells,
    where the location is more frequent in the held-out fields.
    """

    n_fields: int
    on_cells: Floats
    weights: Floats
    share: Floats
    chance: Floats
    shift: Floats

    def case(self, k: int, logits: Floats) -> _Case:
        return _Case(logits, self.on_cells[:, k], self.weights, self.chance[k], self.shift[k])

    def posterior(self, scaled: Floats) -> Floats:
        """Join logits and labels; a cell with nothing of its image's label is Negative.

        Cells that lack one location lack another less often than independence says: the odds of
        having none are lowered until, before any logit is seen, they fit what was measured.
        """
        q = expit(scaled[:, :NEGATIVE] + self.shift)
        shown = self.on_cells[:, :NEGATIVE] * q / np.maximum(q + (1 - q) * self.chance, _LEAST)
        none = (1 - shown).prod(axis=1)
        before = (1 - self.on_cells[:, :NEGATIVE] * PRESENCE).prod(axis=1)
        others = self.weights * (self.on_cells[:, NEGATIVE] == 0)
        by_chance = float(others @ before) / max(float(others.sum()), _LEAST)
        fewer = (1 / by_chance - 1) / (1 / NEGATIVE_SHARE - 1) if by_chance > 0 else 1.0
        odds = np.where(self.on_cells[:, NEGATIVE] == 0, min(fewer, 1.0), 1.0)
        return np.column_stack([shown, odds * none / (odds * none + 1 - none)])


def _read_labels(
    cell_field: npt.NDArray[np.int64],
    targets: npt.NDArray[np.float32],
    frequency: npt.NDArray[np.floating] | None,
) -> _Labels:
    used, counts = np.unique(cell_field, return_counts=True)
    share = targets[used, :NEGATIVE].astype(np.float64).mean(axis=0)
    expected = share if frequency is None else frequency[:NEGATIVE]
    odds = [logit(np.clip(each, 1e-6, 1 - 1e-6) * PRESENCE) for each in (share, expected)]
    return _Labels(
        n_fields=len(used),
        on_cells=targets[cell_field].astype(np.float64),
        weights=(1 / counts)[np.searchsorted(used, cell_field)],
        share=share,
        chance=chance_of_label(share),
        shift=odds[0] - odds[1],
    )


def _constants(log_scale: Floats, bias: Floats) -> Calibration:
    scale = tuple(float(f"{value:.6g}") for value in np.exp(log_scale))
    return Calibration(scale=scale, bias=tuple(float(f"{value:.6g}") for value in bias))


def _fit(cases: list[_Case], start: Floats, spread: tuple[float, float]) -> Floats:
    """Find the log-scale that cases share and the bias of each, ``(1 + cases,)``.

    Those of highest posterior under a normal prior: ``start`` and ``spread`` are its mean and
    standard deviation for a log-scale and for a bias.
    """
    kind = np.array([0] + [1] * len(cases))
    mean, sd = start[kind], np.array(spread)[kind]

    def cost(at: Floats) -> tuple[float, Floats]:
        off = (at - mean) / sd
        total, slope = 0.5 * float(off @ off), off / sd
        for i, case in enumerate(cases, start=1):
            scaled = np.exp(at[0]) * case.logits
            z = scaled + at[i] + case.shift
            q = expit(z)
            likely = np.maximum(case.chance + (1 - case.chance) * q, _LEAST)
            told = xlogy(case.targets, likely) + (1 - case.targets) * log_expit(-z)
            by_logit = (1 - case.targets) * q
            by_logit -= case.targets * (1 - case.chance) * q * (1 - q) / likely
            total -= float(case.weights @ told)
            slope[0] += case.weights @ (by_logit * scaled)
            slope[i] += case.weights @ by_logit
        return total, slope

    limits = np.array([(-3, 3), (-15, 15)])[kind]
    return np.asarray(minimize(cost, mean, jac=True, method="L-BFGS-B", bounds=limits).x)

"""Constants of the blend, chosen on held-out fields by image labels alone.

A cell that looks like a location is more likely to have it when its image's label has it, and
cannot have it otherwise: ``FittedCalibration.posterior`` joins the two. Against that, average
precision can be computed without the label of any cell, every cell counting as present with its
posterior and as absent with the rest. What is chosen this way, from a coarse grid: how cell and
image score are blended, and how much Negative damps the others. On simulated fields, where the
truth can be looked up afterwards, it orders the candidates about as the true average precision
does, with the image's score a little too high: 0.2 against 0.35 for the cell's weight in a product
is 0.830 and 0.826 by image labels, 0.719 and 0.727 by the truth.

What image labels cannot tell stays as the recipe has it: how cells at the border are weighed and
how Negative is scored (HPA.md: what moved the competition's score). Unusual cells are not weighed
down: nothing here could say by how much.
"""

from itertools import product

import numpy as np
import numpy.typing as npt
from scipy.special import expit
from sklearn.metrics import average_precision_score

from hpacells.runtime.model_folder import Postprocessing
from hpacells.runtime.postprocess import blend_scores, calibrated_logits, pool_cells
from hpacells.train.calibration import FittedCalibration

__all__ = ["LEAST_GAIN", "expected_ap", "fit_postprocessing"]

LEAST_GAIN = 0.002
"""The recipe's constants stay unless others are better by this much."""

ABOUT_EQUAL = 0.005
"""Of candidates this close to the best the one that trusts cells most is taken: what is judged by
image labels flatters the image's score, which they have taught."""

_BLENDS = ("mix", "product")
_CELL_WEIGHTS = (0.2, 0.35, 0.5, 0.7, 0.85, 1.0)
_DAMPINGS = (0.0, 0.5, 1.0)

Floats = npt.NDArray[np.float64]


def fit_postprocessing(
    logits: npt.NDArray[np.float32],
    cell_field: npt.NDArray[np.int64],
    fitted: FittedCalibration,
    constants: Postprocessing,
) -> tuple[Postprocessing, str]:
    """Choose the blend.

    Parameters
    ----------
    logits, cell_field
        Of cells of held-out fields, as for ``fit_calibration``.
    fitted
        What that gave.
    constants
        The recipe's; all but the blend stay.

    Returns
    -------
    Postprocessing
        With blend, weights and damping chosen.
    str
        What was chosen on what, in words.
    """
    judged = [k for k, how in enumerate(fitted.how) if how == "own"]
    if not judged:
        return constants, "as in the recipe: too few held-out fields"
    cell = calibrated_logits(logits, fitted.calibration, constants)
    _, owner = np.unique(cell_field, return_inverse=True)
    image = np.stack([pool_cells(cell[owner == i], constants) for i in range(owner.max() + 1)])
    cell, image = expit(cell), image[owner]

    def judge(candidate: Postprocessing) -> float:
        blend = blend_scores(cell, image, candidate)
        return float(np.mean([expected_ap(blend[:, k], fitted.posterior[:, k]) for k in judged]))

    grid = [
        constants.model_copy(
            update={
                "blend": blend,
                "cell_weight": weight,
                "image_weight": round(1 - weight, 6),
                "negative_damping": damping,
            }
        )
        for blend, weight, damping in product(_BLENDS, _CELL_WEIGHTS, _DAMPINGS)
    ]
    scores = [judge(candidate) for candidate in grid]
    before = judge(constants)
    least = max(max(scores) - ABOUT_EQUAL, before + LEAST_GAIN)
    close = [i for i, score in enumerate(scores) if score >= least]
    chosen = constants
    if close:
        chosen = grid[max(close, key=lambda i: (grid[i].cell_weight, scores[i]))]
    return chosen, (
        f"blend {chosen.blend}, cell_weight {chosen.cell_weight:g}, negative_damping "
        f"{chosen.negative_damping:g}: expected average precision {judge(chosen):.3f} "
        f"(recipe's constants {before:.3f}) of {len(judged)} locations in {len(image)} cells of "
        f"{owner.max() + 1} held-out fields, by image labels; the rest as in the recipe"
    )


def expected_ap(scores: Floats, posterior: Floats) -> float:
    """Average precision of ``(N,)`` scores where each cell is present with its posterior."""
    present = np.repeat([1, 0], len(scores))
    weight = np.concatenate([posterior, 1 - posterior])
    return float(average_precision_score(present, np.tile(scores, 2), sample_weight=weight))

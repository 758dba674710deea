"""What a finished network's answers to the held-out fields say about using it.

Calibration, blend and doubt, each by its own module, for ``model.json``; with each goes a line that
says what was done on what. Truth of single cells is never looked at.
"""

from collections import Counter
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.special import expit

from hpacells.core.locations import LOCATION_KEYS
from hpacells.runtime.doubt import describe_crops, fit_doubt
from hpacells.runtime.model_folder import Calibration, Postprocessing
from hpacells.runtime.postprocess import calibrated_logits
from hpacells.train.calibration import LEAST_FIELDS, FittedCalibration, fit_calibration
from hpacells.train.config_sections import FittingConfig
from hpacells.train.data import TrainingData
from hpacells.train.fit_postprocessing import fit_postprocessing
from hpacells.train.validation import Validation, cells_of

__all__ = ["LEAST_CELLS", "fit_on_held_out"]

LEAST_CELLS = 100
"""With fewer held-out cells no doubt is fitted."""


def fit_on_held_out(
    validation: Validation | None,
    data: TrainingData,
    fields: npt.NDArray[np.int64],
    *,
    constants: Postprocessing,
    wanted: FittingConfig,
) -> dict[str, Any]:
    """Fit what is wanted.

    Parameters
    ----------
    validation
        Of the finished network on ``fields``; None where nothing was held out.
    data
        Crops and image labels; how often locations are labelled is taken from all of it.
    fields
        ``(F,)`` positions of the held-out fields.
    constants
        The recipe's.
    wanted
        What to fit.

    Returns
    -------
    dict
        Fields of ``ModelSpec``: ``calibration``, ``postprocessing``, ``doubt``, ``fitted``. What
        is not fitted is the identity, the recipe's, or None.
    """
    told = {"calibration": "identity", "postprocessing": "as in the recipe", "doubt": "none"}
    found: dict[str, Any] = {"postprocessing": constants, "fitted": told}
    if validation is None:
        told.update({key: f"{value}: no field was held out" for key, value in told.items()})
        return found
    cells = cells_of(data, fields)
    owner = data.field_of_cell[cells]
    fitted = fit_calibration(
        validation.logits, owner, data.targets, constants, frequency=data.targets.mean(axis=0)
    )
    calibration = fitted.calibration if wanted.calibration else Calibration()
    if wanted.calibration:
        found["calibration"] = calibration
        told["calibration"] = _tell(fitted, len(fields), len(cells))
        if wanted.postprocessing:
            found["postprocessing"], told["postprocessing"] = fit_postprocessing(
                validation.logits, owner, fitted, constants
            )
    if wanted.doubt and len(cells) < LEAST_CELLS:
        told["doubt"] = f"none: {len(cells)} held-out cells, {LEAST_CELLS} are needed"
    elif wanted.doubt:
        probability = expit(calibrated_logits(validation.logits, calibration, constants))
        found["doubt"] = fit_doubt(
            describe_crops(data.crops[cells], data.cell_masks[cells]),
            validation.embedding,
            probability.astype(np.float32),
        )
        told["doubt"] = f"against {len(cells)} held-out cells of {len(fields)} fields"
    return found


def _tell(fitted: FittedCalibration, n_fields: int, n_cells: int) -> str:
    """Say how many locations got constants of their own."""
    counts = Counter(fitted.how)
    if counts["identity"] == len(fitted.how):
        return f"identity: {n_fields} held-out fields, {LEAST_FIELDS} with labels are needed"
    shared = [key for key, how in zip(LOCATION_KEYS, fitted.how, strict=True) if how == "pooled"]
    return f"by the image labels of {n_fields} held-out fields, {n_cells} cells" + (
        f"; too rare there, with the constants of all together: {', '.join(shared)}" * bool(shared)
    )

import re

import numpy as np
import pytest
from sklearn.metrics import average_precision_score

from hpacells.core.locations import N_LOCATIONS, NEGATIVE
from hpacells.runtime.model_folder import Calibration, Postprocessing
from hpacells.train import fit_postprocessing as fit_module
from hpacells.train.calibration import FittedCalibration
from hpacells.train.fit_postprocessing import expected_ap, fit_postprocessing

RECIPE = Postprocessing(negative="product", border_power=0.4)
JUDGED = 3


def make_case(seed, *, cell_noise):
    """One location, on half of the images; cells of the others never show it."""
    rng = np.random.default_rng(seed)
    n_fields, n_cells = 60, 8
    has = np.arange(n_fields) % 2 == 0
    owner = np.repeat(np.arange(n_fields), n_cells)
    shown = has[owner] & (rng.random(len(owner)) < 0.5)
    logits = np.full((len(owner), N_LOCATIONS), -6, np.float32)
    logits[:, JUDGED] = 4 * shown - 3 + rng.normal(0, cell_noise, len(owner))
    posterior = np.zeros((len(owner), N_LOCATIONS))
    posterior[:, JUDGED] = shown
    posterior[:, NEGATIVE] = ~shown
    how = tuple("own" if k == JUDGED else "pooled" for k in range(N_LOCATIONS))
    return logits, owner, FittedCalibration(Calibration(), how, posterior)


def test_expected_precision_of_certain_cells_is_plain_precision():
    rng = np.random.default_rng(0)
    truth, scores = rng.random(50) < 0.3, rng.random(50)
    assert expected_ap(scores, truth.astype(float)) == pytest.approx(
        average_precision_score(truth, scores)
    )


def test_expected_precision_by_hand():
    # weights of present: .5 and 1; ranks: the half cell first
    # after the first: precision .5, recall 1/3; after both: precision .75, recall 1
    assert expected_ap(np.array([0.9, 0.1]), np.array([0.5, 1.0])) == pytest.approx(
        0.5 / 3 + 0.75 * 2 / 3
    )


def test_unsure_cells_lean_on_their_image():
    noisy, told = fit_postprocessing(*make_case(0, cell_noise=3.0), RECIPE)
    assert noisy.cell_weight < RECIPE.cell_weight or noisy.blend == "product"
    assert noisy.cell_weight + noisy.image_weight == pytest.approx(1)
    assert noisy.border_power == RECIPE.border_power
    assert f"blend {noisy.blend}" in told
    assert "60 held-out fields" in told


def test_the_recipe_stays_where_nothing_is_gained():
    constants, told = fit_postprocessing(*make_case(0, cell_noise=0.1), RECIPE)
    assert constants == RECIPE
    assert "recipe's constants 1.000" in told


def test_without_a_fitted_location_the_recipe_stays():
    logits, owner, fitted = make_case(0, cell_noise=1.0)
    nothing = FittedCalibration(Calibration(), ("identity",) * N_LOCATIONS, fitted.posterior)
    constants, told = fit_postprocessing(logits, owner, nothing, RECIPE)
    assert constants == RECIPE
    assert "too few" in told


def test_names_of_fields_do_not_matter():
    logits, owner, fitted = make_case(1, cell_noise=2.0)
    assert fit_postprocessing(logits, owner, fitted, RECIPE) == fit_postprocessing(
        logits, owner * 7 + 3, fitted, RECIPE
    )


def test_where_image_labels_see_no_difference_the_cell_is_trusted(monkeypatch):
    case = make_case(0, cell_noise=3.0)
    weights = []
    for equal in (0.0, 0.02, 1.0):
        monkeypatch.setattr(fit_module, "ABOUT_EQUAL", equal)
        weights.append(fit_postprocessing(*case, RECIPE)[0].cell_weight)
    assert weights == sorted(weights)
    assert weights[0] < weights[-1]
    told = fit_postprocessing(*case, RECIPE)[1]  # and never one that is worse than the recipe
    gained, recipe = re.search(
        r"precision ([0-9.]+) \(recipe's constants ([0-9.]+)\)", told
    ).groups()
    assert float(gained) > float(recipe)

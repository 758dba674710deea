import json

import numpy as np
import pytest
from scipy.special import expit

from hpacells.core.locations import N_LOCATIONS
from hpacells.runtime.model_folder import Calibration, Postprocessing, load_model
from hpacells.train.config_sections import FittingConfig
from hpacells.train.data import load_training_data
from hpacells.train.fitting import fit_on_held_out
from hpacells.train.validation import Validation

RECIPE = Postprocessing(negative="product")
SAID = {"calibration", "postprocessing", "doubt"}


@pytest.fixture(scope="module")
def held_out(store):
    """All 40 fields of drawn cells, and a network's answers: the label, and noise."""
    data = load_training_data(store)
    owner = np.repeat(np.arange(data.n_fields), np.diff(data.offsets))
    rng = np.random.default_rng(0)
    logits = 3 * data.targets[owner] - 2 + rng.normal(0, 1, (len(owner), N_LOCATIONS))
    validation = Validation(
        average_precision=(None,) * N_LOCATIONS,
        loss=1.0,
        n_fields=data.n_fields,
        logits=logits.astype(np.float32),
        embedding=expit(logits[:, :8]).astype(np.float32),
    )
    return validation, data, np.arange(data.n_fields)


def test_all_three_are_fitted_and_told(held_out):
    found = fit_on_held_out(*held_out, constants=RECIPE, wanted=FittingConfig())
    assert found["calibration"] != Calibration()
    assert found["doubt"] is not None
    assert found["postprocessing"].border_power == RECIPE.border_power
    assert set(found["fitted"]) == SAID
    assert "40 held-out fields" in found["fitted"]["calibration"]
    assert "too rare there" in found["fitted"]["calibration"]  # three of 19 locations occur
    assert "aggresome" in found["fitted"]["calibration"]
    json.dumps(found["fitted"])


def test_what_is_not_wanted_stays(held_out):
    nothing = FittingConfig(calibration=False, doubt=False)
    found = fit_on_held_out(*held_out, constants=RECIPE, wanted=nothing)
    assert "calibration" not in found
    assert "doubt" not in found
    assert found["postprocessing"] == RECIPE
    kept = fit_on_held_out(*held_out, constants=RECIPE, wanted=FittingConfig(postprocessing=False))
    assert kept["postprocessing"] == RECIPE
    assert "calibration" in kept


def test_nothing_held_out_is_told(held_out):
    _, data, _ = held_out
    none = np.zeros(0, np.int64)
    found = fit_on_held_out(None, data, none, constants=RECIPE, wanted=FittingConfig())
    assert found["postprocessing"] == RECIPE
    assert all("no field was held out" in line for line in found["fitted"].values())


def test_too_little_held_out_is_told(held_out):
    validation, data, _ = held_out
    few = np.arange(5)
    n = int(data.offsets[5])
    part = Validation(
        (None,) * N_LOCATIONS, 1.0, 5, validation.logits[:n], validation.embedding[:n]
    )
    found = fit_on_held_out(part, data, few, constants=RECIPE, wanted=FittingConfig())
    assert found["calibration"] == Calibration()
    assert found["postprocessing"] == RECIPE
    assert "5 held-out fields, 20" in found["fitted"]["calibration"]
    assert "held-out cells, 100" in found["fitted"]["doubt"]


def test_a_model_folder_keeps_what_was_fitted(held_out, make_model_folder):
    found = fit_on_held_out(*held_out, constants=RECIPE, wanted=FittingConfig())
    spec = load_model(make_model_folder(**found)).spec
    assert {key: getattr(spec, key) for key in found} == found

import numpy as np
import pytest

from hpacells.core.locations import NEGATIVE
from hpacells.runtime.model_folder import Architecture, ModelSpec, Training
from hpacells.train.data import load_training_data
from hpacells.train.validation import Validation, cells_of
from hpacells.train.variation_null import fit_variation_null
from hpacells.variation.null import FEATURES

SPEC = ModelSpec(
    name="drawn",
    version="1",
    architecture=Architecture(backbone="none"),
    crop_px=24,
    pixel_size_um=0.8,
    normalisation="",
    embedding_size=2,
    training=Training(data_hash="", n_fields=1, seed=0),
    licence="",
)


@pytest.fixture(scope="module")
def scene(make_store, tmp_path_factory):
    store = make_store(tmp_path_factory.mktemp("s"), 130)
    return store, load_training_data(store)


def fit(scene, fields, seed=0):
    store, data = scene
    n = len(cells_of(data, fields))
    logits = np.random.default_rng(seed).normal(0, 1, (n, 19)).astype(np.float32)
    answers = Validation((None,) * 19, 0.0, len(fields), logits, logits[:, :2])
    return fit_variation_null(answers, data, fields, SPEC, store=store)


def test_the_held_out_fields_make_a_null(scene):
    null, told = fit(scene, np.arange(5, 125))
    assert null.features == FEATURES
    assert null.source == told
    assert 100 <= null.n_fields <= 120
    assert told.startswith(f"{null.n_fields} held-out fields, by image labels")
    again, _ = fit(scene, np.arange(5, 125))
    assert again == null


def test_without_enough_fields_it_says_why(scene):
    null, told = fit(scene, np.arange(30))
    assert null is None
    assert told.startswith("none: null of variation: expected at least 100 fields")
    store, data = scene
    assert fit_variation_null(None, data, np.arange(0), SPEC, store=store) == (
        None,
        "none: no field was held out",
    )


def test_fields_of_negative_take_no_part(scene):
    _, data = scene
    targets = data.targets.copy()
    targets[:40, NEGATIVE] = 1
    null, told = fit((scene[0], type(data)(**{**vars(data), "targets": targets})), np.arange(125))
    assert null is None
    assert "got 8" in told or "got 7" in told

import numpy as np
import pytest

from hpacells.core.errors import ModelError
from hpacells.core.locations import LOCATION_KEYS, N_LOCATIONS
from hpacells.core.predictions import PredictionTable


def predictions(n=2, **changed):
    scores = np.full((n, N_LOCATIONS), 0.5, np.float32)
    values = {
        "cell": scores,
        "image": np.zeros(N_LOCATIONS, np.float32),
        "blend": scores,
        "embedding": np.zeros((n, 3), np.float32),
        "model_id": "m",
        **changed,
    }
    return PredictionTable(**values)


def test_any_number_of_cells():
    assert predictions(2).cell.shape == (2, N_LOCATIONS)
    assert predictions(0).cell.shape == (0, N_LOCATIONS)


def test_another_vocabulary_is_refused():
    with pytest.raises(ModelError, match="its locations are not"):
        predictions(locations=LOCATION_KEYS[::-1])


@pytest.mark.parametrize(
    "changed",
    [
        {"cell": np.zeros((2, 18), np.float32)},
        {"blend": np.zeros((3, N_LOCATIONS), np.float32)},
        {"image": np.zeros(18, np.float32)},
        {"embedding": np.zeros((1, 3), np.float32)},
    ],
)
def test_shapes_that_do_not_fit(changed):
    with pytest.raises(ModelError, match="scores of wrong shapes"):
        predictions(**changed)


@pytest.mark.parametrize("name", ["cell", "blend", "image"])
@pytest.mark.parametrize("value", [np.nan, -0.001, 1.001])
def test_scores_outside_0_to_1(name, value):
    scores = np.array(getattr(predictions(), name))
    scores.flat[4] = value
    with pytest.raises(ModelError, match=f"{name} scores must be finite float32"):
        predictions(**{name: scores})


def test_scores_of_another_type():
    with pytest.raises(ModelError, match="finite float32"):
        predictions(cell=np.zeros((2, N_LOCATIONS)))

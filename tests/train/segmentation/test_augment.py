"""Changes of stains."""

import numpy as np
import pytest
from pydantic import ValidationError

from hpacells.train.segmentation.augment import change_stains
from hpacells.train.segmentation.config import MapAugmentConfig, SegmentTrainConfig

STILL = {
    name: 0.0
    for name, info in MapAugmentConfig.model_fields.items()
    if name.endswith(("_share", "_log_sd")) or name == "offset_max"
}


def make_stains(seed=0):
    stains = np.zeros((3, 40, 56), np.float32)
    stains[:, 10:30, 12:40] = 0.7
    return stains + np.random.default_rng(seed).random(stains.shape, np.float32) * 0.2


def test_everything_off_leaves_the_stains():
    stains = make_stains()
    same = change_stains(stains, MapAugmentConfig(**STILL), np.random.default_rng(0))
    np.testing.assert_allclose(same, stains, atol=1e-6)


@pytest.mark.parametrize(
    "change",
    [
        {"gain_log_sd": 0.5},
        {"gamma_log_sd": 0.5},
        {"offset_max": 0.1},
        {"gradient_share": 1.0},
        {"blur_share": 1.0},
        {"noise_share": 1.0},
        {"texture_share": 1.0},
        {"debris_share": 1.0},
    ],
    ids=lambda change: next(iter(change)),
)
def test_each_change_changes_something_and_stays_in_range(change):
    stains = make_stains()
    before = stains.copy()
    changed = change_stains(stains, MapAugmentConfig(**STILL | change), np.random.default_rng(3))
    assert changed.dtype == np.float32
    assert changed.min() >= 0
    assert changed.max() <= 1
    assert np.abs(changed - stains).max() > 0.01
    np.testing.assert_array_equal(stains, before)


def test_the_same_generator_gives_the_same_stains():
    one, other = (
        change_stains(make_stains(), MapAugmentConfig(), np.random.default_rng(5)) for _ in "ab"
    )
    np.testing.assert_array_equal(one, other)


def test_settings_are_explained_and_checked():
    for config in (MapAugmentConfig, SegmentTrainConfig):
        for name, info in config.model_fields.items():
            assert info.description, name
    with pytest.raises(ValidationError, match="scale_range"):
        MapAugmentConfig(scale_range=(1.5, 0.7))
    with pytest.raises(ValidationError, match="multiple of 16"):
        SegmentTrainConfig(patch_px=100)

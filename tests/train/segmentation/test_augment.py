"""Changes of stains."""

import numpy as np
import pytest
from pydantic import ValidationError

from hpacells.train.segmentation.augment import change_stains, hide_borders
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
        {"glow_share": 1.0},
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


def test_glow_lies_around_cells_and_dims_nothing():
    stains = np.zeros((3, 60, 80), np.float32)
    stains[:, 20:40, 30:50] = 0.8
    config = MapAugmentConfig(**STILL | {"glow_share": 1.0, "glow_px": (5, 5)})
    glowing = change_stains(stains, config, np.random.default_rng(1))
    assert (glowing >= stains - 1e-6).all()
    assert glowing[:, 18, 40].min() > 0.01
    assert glowing[:, 18, 40].min() > glowing[:, 2, 4].max()


def touching_cells():
    cell = np.zeros((64, 96), bool)
    cell[8:56, 8:88] = True  # two cells, their border at column 48
    border = np.zeros_like(cell)
    border[8:56, 46:50] = True
    border |= cell & ~np.pad(cell[10:54, 10:86], ((10, 10), (10, 10)))
    stains = np.where(cell, np.float32(0.6), np.float32(0)) * np.ones((3, 1, 1), np.float32)
    stains[:, :, 46:50] = 0.1
    return stains, cell, border


def test_hidden_borders_are_those_between_cells_and_the_nuclei_stay():
    stains, cell, border = touching_cells()
    before = stains.copy()
    hidden = [hide_borders(stains, cell, border, np.random.default_rng(k)) for k in range(8)]
    np.testing.assert_array_equal(stains, before)
    middle = np.s_[20:44, 47:49]
    assert max(h[1][middle].mean() for h in hidden) > 0.4  # filled in, at least in some
    for changed in hidden:
        np.testing.assert_array_equal(changed[0], stains[0])
        np.testing.assert_array_equal(changed[:, ~cell], stains[:, ~cell])
        np.testing.assert_allclose(changed[:, 8:56, 8:24], stains[:, 8:56, 8:24])  # a free edge
        assert 0 <= changed.min() <= changed.max() <= 1


def test_without_touching_cells_no_border_is_hidden():
    stains, cell, border = touching_cells()
    cell[:, 44:52] = False
    border &= cell
    assert hide_borders(stains, cell, border, np.random.default_rng(0)) is stains


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

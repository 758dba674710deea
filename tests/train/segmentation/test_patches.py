"""Patches for one step."""

import numpy as np
import pytest

from hpacells.train.segmentation.config import MapAugmentConfig, SegmentTrainConfig
from hpacells.train.segmentation.data import build_cache
from hpacells.train.segmentation.patches import draw_batch

FIELDS = np.arange(5)


@pytest.fixture(scope="module")
def cache(drawn_dataset, tmp_path_factory):
    return build_cache(drawn_dataset, tmp_path_factory.mktemp("cache"), 0.32)


def make_config(**augment):
    return SegmentTrainConfig(
        patch_px=64, batch=6, augment=MapAugmentConfig(**{"blank_share": 0.0} | augment)
    )


def test_shapes_ranges_and_that_maps_follow_the_stains(cache):
    batch = draw_batch(cache, FIELDS, make_config(), 3)
    assert batch.stains.shape == (6, 3, 64, 64)
    assert batch.targets.shape == (6, 4, 64, 64)
    assert batch.weights.shape == (6, 64, 64)
    assert set(np.unique(batch.targets)) == {0.0, 1.0}
    assert batch.stains.min() >= 0
    assert batch.stains.max() <= 1
    nucleus = batch.targets[:, 2] > 0
    assert batch.stains[:, 0][nucleus].mean() > batch.stains[:, 0][~nucleus].mean() + 0.2
    assert (batch.targets[:, 1:] <= batch.targets[:, :1]).all()  # all lies in cells


def test_a_step_is_the_same_each_time_and_steps_differ(cache):
    one, again, other = (draw_batch(cache, FIELDS, make_config(), step) for step in (7, 7, 8))
    np.testing.assert_array_equal(one.stains, again.stains)
    np.testing.assert_array_equal(one.targets, again.targets)
    assert (one.stains != other.stains).any()


def test_a_patch_larger_than_its_field_weighs_nothing_outside(cache):
    config = make_config(scale_range=(0.5, 0.5), mix_share=0.0)
    batch = draw_batch(cache, FIELDS, config, 0)
    outside = batch.weights == 0
    assert 0.1 < outside.mean() < 0.6  # the field has 90 of 128 rows, 110 of 128 columns
    assert not batch.targets[:, 0][outside].any()


def test_other_cells_are_set_into_free_places_only(cache):
    plain = draw_batch(cache, FIELDS, make_config(mix_share=0.0), 1)
    mixed = draw_batch(cache, FIELDS, make_config(mix_share=1.0, missing_share=0.0), 1)
    before, after = plain.targets[:, 0], mixed.targets[:, 0]
    assert (after >= before).all()
    assert after.sum() > before.sum()
    kept = before > 0
    np.testing.assert_array_equal(mixed.targets[:, 1][kept], plain.targets[:, 1][kept])


def test_blank_patches_and_missing_stains(cache):
    blank = draw_batch(cache, FIELDS, make_config(blank_share=1.0), 0)
    assert not blank.targets.any()
    assert (blank.weights == 1.0).all()
    missing = draw_batch(cache, FIELDS, make_config(missing_share=1.0), 0)
    np.testing.assert_array_equal(missing.present.sum(axis=1), np.full(6, 2.0))

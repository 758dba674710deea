import numpy as np
import pytest

from hpacells.core.locations import LOCATION_KEYS, N_LOCATIONS
from hpacells.train.bags import BagCells
from hpacells.train.config_sections import SynthesisConfig
from hpacells.train.synthesis import synthesise_bags

SIDE = 16
INSIDE = (slice(None), slice(2, 14), slice(3, 12))


def draw_bags(n_bags=3, per_bag=2, *, soft=False):
    """Microtubules are columns, the ER rows, the protein a bright speckle."""
    rng = np.random.default_rng(0)
    n = n_bags * per_bag
    crops = np.zeros((n, 4, SIDE, SIDE), np.uint8)
    crops[:, 0] = np.where(np.arange(SIDE) % 2, 120, 0)[None, None, :]
    crops[:, 3] = np.where(np.arange(SIDE) % 2, 90, 0)[None, :, None]
    crops[:, 1] = rng.integers(0, 250, (n, SIDE, SIDE))
    masks = np.zeros((n, SIDE, SIDE), np.uint8)
    masks[INSIDE] = 1
    targets = np.zeros((n_bags, N_LOCATIONS), np.float32)
    targets[:, [0, 16]] = 1
    cells = np.full((n, N_LOCATIONS), 0.4, np.float32) if soft else None
    return BagCells(crops, masks, np.repeat(np.arange(n_bags), per_bag), targets, cells)


def synthesise(cells, seed=0, **shares):
    synthesise_bags(cells, SynthesisConfig(**shares), np.random.default_rng(seed))
    return cells


def test_negative_shows_no_more_than_negative_images_do():
    for seed in range(5):
        protein = synthesise(draw_bags(), seed, negative=1).crops[:, 1]
        values = protein[INSIDE]
        assert np.percentile(values, 50) <= 2
        assert np.percentile(values, 95) <= 5  # 2, and noise
        assert np.percentile(values, 99.5) <= 10 + 3 * 1.5


def test_what_is_dark_already_gains_nothing_but_noise():
    cells = draw_bags()
    cells.crops[:, 1] = 0
    assert synthesise(cells, negative=1).crops[:, 1].max() < 8


@pytest.mark.parametrize(("key", "source"), [("microtubules", 0), ("endoplasmic_reticulum", 3)])
def test_a_copied_stain_has_the_pattern_of_its_source_and_noise_of_its_own(key, source):
    before = draw_bags()
    gains = []
    for seed in range(5):
        cells = synthesise(draw_bags(), seed, **{key: 1})
        for crop in cells.crops:
            lit = crop[source] > 0
            assert crop[1][lit].mean() > 5 * crop[1][~lit].mean()
            assert crop[1][lit].std() > 2
        gains.append(cells.crops[:, 1].mean() / before.crops[:, source].mean())
        np.testing.assert_array_equal(cells.crops[:, [0, 2, 3]], before.crops[:, [0, 2, 3]])
        np.testing.assert_array_equal(cells.cell_masks, before.cell_masks)
    assert max(gains) > 1.3 * min(gains)


def test_a_stain_too_dark_to_copy_leaves_the_bag_as_it_is():
    cells, before = draw_bags(), draw_bags()
    cells.crops[:2, 0] = before.crops[:2, 0] = 5
    synthesise(cells, microtubules=1)
    np.testing.assert_array_equal(cells.crops[:2], before.crops[:2])
    np.testing.assert_array_equal(cells.image_targets[0], before.image_targets[0])
    assert cells.image_targets[1].tolist() != before.image_targets[1].tolist()


@pytest.mark.parametrize("key", list(SynthesisConfig.model_fields))
def test_bag_and_cells_get_that_location_and_no_other(key):
    cells = synthesise(draw_bags(soft=True), **{key: 1})
    expected = np.eye(N_LOCATIONS)[LOCATION_KEYS.index(key)]
    np.testing.assert_array_equal(cells.image_targets, np.tile(expected, (3, 1)))
    np.testing.assert_array_equal(cells.cell_targets, np.tile(expected, (6, 1)))


def test_shares_are_of_bags_and_exclude_each_other():
    cells = synthesise(draw_bags(600, 1), negative=0.1, microtubules=0.2, endoplasmic_reticulum=0.3)
    kinds = [LOCATION_KEYS.index(key) for key in SynthesisConfig.model_fields]
    np.testing.assert_allclose(cells.image_targets[:, kinds].mean(0), [0.1, 0.2, 0.3], atol=0.05)
    assert set(cells.image_targets.sum(1)) == {1.0, 2.0}  # synthesised, or the two it had
    changed = (cells.crops[:, 1] != draw_bags(600, 1).crops[:, 1]).any((1, 2))
    np.testing.assert_array_equal(changed, cells.image_targets.sum(1) == 1)


def test_nothing_asked_nothing_done_and_a_seed_repeats():
    cells, before = synthesise(draw_bags()), draw_bags()
    np.testing.assert_array_equal(cells.crops, before.crops)
    np.testing.assert_array_equal(cells.image_targets, before.image_targets)
    one, two = (synthesise(draw_bags(), 3, negative=0.5, microtubules=0.5) for _ in range(2))
    np.testing.assert_array_equal(one.crops, two.crops)


def test_a_bag_of_empty_masks_is_no_error():
    cells = draw_bags(1)
    cells.cell_masks[:] = 0
    before = cells.crops.copy()
    synthesise(cells, microtubules=1)
    np.testing.assert_array_equal(cells.crops, before)
    assert synthesise(cells, negative=1).image_targets[0].sum() == 1

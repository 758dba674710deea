import numpy as np
import pytest

from hpacells.core.locations import N_LOCATIONS, NEGATIVE
from hpacells.train.bags import BagCells
from hpacells.train.config_sections import MixConfig
from hpacells.train.mixing import mix_bags, unite

SIDE = 12
UPPER, LOWER = slice(1, 8), slice(5, 11)


def draw_bags(*, soft=None):
    """Bag 0: three upper cells of grey 100, location 0; bag 1: two lower of grey 40, location 7.

    Outside their masks, both are 9.
    """
    crops = np.full((5, 4, SIDE, SIDE), 9, np.uint8)
    masks = np.zeros((5, SIDE, SIDE), np.uint8)
    crops[:3, :, UPPER], crops[3:, :, LOWER] = 100, 40
    masks[:3, UPPER], masks[3:, LOWER] = 1, 1
    targets = np.zeros((2, N_LOCATIONS), np.float32)
    targets[0, 0] = targets[1, 7] = 1
    return BagCells(crops, masks, np.array([0, 0, 0, 1, 1]), targets, soft)


def mix(cells, seed=0, **shares):
    mix_bags(cells, MixConfig(**shares), np.random.default_rng(seed))
    return cells


def onehot(*classes):
    return np.isin(np.arange(N_LOCATIONS), classes).astype(np.float32)


def test_mixup_overlays_the_two_cells_and_nothing_of_their_surroundings():
    cells = mix(draw_bags(), mixup=1)
    for i, (crop, mask) in enumerate(zip(cells.crops, cells.cell_masks, strict=True)):
        assert (crop == crop[:1]).all()  # the same for all four stains
        upper, both, lower = (int(crop[0, row, 0]) for row in (2, 6, 9))
        own, share = (upper / 100, lower / 40)
        assert 0.34 < own < 0.66
        assert own + share == pytest.approx(1, abs=0.03)
        assert both == pytest.approx(upper + lower, abs=1)
        np.testing.assert_array_equal(mask[:, 0], [0] + [1] * 10 + [0])
        np.testing.assert_array_equal(crop[:, [0, 11]], 9)
        assert i < 5
    expected = onehot(0, 7)
    np.testing.assert_array_equal(cells.image_targets, [expected, expected])


def test_cutmix_puts_the_other_cell_beyond_a_line_through_the_middle():
    before = draw_bags()
    angles = set()
    for seed in range(4):
        cells = mix(draw_bags(), seed, cutmix=1)
        for i in range(5):
            own, other = (before, 3) if i < 3 else (before, 0)
            from_other = (cells.crops[i] == own.crops[other]).all(0)
            from_own = (cells.crops[i] == own.crops[i]).all(0)
            assert (from_own | from_other).all()
            only = from_other & ~from_own
            kept = from_own & ~from_other
            assert not (only & kept[::-1, ::-1] & only[::-1, ::-1]).any()
            mask = np.where(only, before.cell_masks[other], cells.cell_masks[i])
            np.testing.assert_array_equal(mask, cells.cell_masks[i])
            angles.add(kept.tobytes())
        np.testing.assert_array_equal(cells.image_targets, [onehot(0, 7)] * 2)
    assert len(angles) > 10


def test_the_soft_targets_of_cut_cells_count_by_the_share_that_is_left():
    soft = np.zeros((5, N_LOCATIONS), np.float32)
    soft[:3, 0], soft[3:, 7] = 0.8, 1
    cells = mix(draw_bags(soft=soft.copy()), cutmix=1)
    before = draw_bags()
    for i in range(5):
        shown = (cells.crops[i, 0] == 100) & (cells.cell_masks[i] > 0)
        upper = shown.sum() / before.cell_masks[0].sum()
        lower = ((cells.crops[i, 0] == 40) & (cells.cell_masks[i] > 0)).sum() / 72
        empty = (1 - upper) * (1 - lower)
        expected = 0.8 * upper * onehot(0) + lower * onehot(7) + empty * onehot(NEGATIVE)
        np.testing.assert_allclose(cells.cell_targets[i], expected, atol=1e-6)
    mixed = mix(draw_bags(soft=soft.copy()), mixup=1).cell_targets
    np.testing.assert_allclose(mixed, np.tile(0.8 * onehot(0) + onehot(7), (5, 1)))


def test_uniting_by_hand():
    np.testing.assert_array_equal(unite(onehot(1, 3), onehot(3, 5)), onehot(1, 3, 5))
    np.testing.assert_array_equal(unite(onehot(NEGATIVE), onehot(5)), onehot(5))
    np.testing.assert_array_equal(unite(onehot(NEGATIVE), onehot(NEGATIVE)), onehot(NEGATIVE))
    united = unite(0.5 * onehot(2), 0.5 * onehot(2))
    np.testing.assert_allclose(united, 0.75 * onehot(2))
    unknown = np.full(N_LOCATIONS, -1, np.float32)
    np.testing.assert_array_equal(unite(unknown, onehot(2)), unknown)
    np.testing.assert_array_equal(unite(onehot(2), unknown), unknown)
    # half of an empty cell beside 30 % of one with location 5: something is seen with 30 %
    cut = unite(onehot(NEGATIVE), onehot(5), left=(0.5, 0.3))
    np.testing.assert_allclose(cut, 0.3 * onehot(5) + 0.7 * onehot(NEGATIVE), atol=1e-6)


def test_bags_take_in_others_as_they_were_and_never_themselves():
    n = 200
    crops = np.zeros((n, 4, 2, 2), np.uint8)
    targets = np.zeros((n, N_LOCATIONS), np.float32)
    targets[np.arange(n), np.arange(n) % 17] = 1
    own = targets.copy()
    bags = BagCells(crops, np.ones((n, 2, 2), np.uint8), np.arange(n), targets, None)
    mix(bags, mixup=0.2, cutmix=0.3)
    changed = (bags.image_targets != own).any(1)
    assert 0.35 < changed.mean() < 0.6
    assert bags.image_targets.sum(1).max() == 2
    assert (bags.image_targets >= own).all()


def test_one_bag_or_no_share_changes_nothing_and_a_seed_repeats():
    for cells, shares in ((draw_bags(), {}), (draw_bags(), {"mixup": 0.0})):
        mix(cells, **shares)
        np.testing.assert_array_equal(cells.crops, draw_bags().crops)
    whole = draw_bags()
    alone = BagCells(
        whole.crops[:3], whole.cell_masks[:3], np.zeros(3, int), whole.image_targets[:1], None
    )
    np.testing.assert_array_equal(mix(alone, mixup=1).crops, draw_bags().crops[:3])
    one, two = (mix(draw_bags(), 5, cutmix=1).crops for _ in range(2))
    np.testing.assert_array_equal(one, two)

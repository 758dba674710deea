import pytest
import torch

from hpacells.train.augment import augment_crops
from hpacells.train.config import AugmentConfig

NOTHING = AugmentConfig(dihedral=False, warp_share=0, intensity=0, noise=0)


def make_cells(n=64, side=20):
    generator = torch.Generator().manual_seed(0)
    crops = torch.randint(1, 200, (n, 4, side, side), generator=generator, dtype=torch.uint8)
    masks = torch.zeros((n, side, side), dtype=torch.uint8)
    masks[:, 4:12, 6:18] = 1
    return crops * masks.unsqueeze(1), masks


def augment(config, seed=0, n=64):
    crops, masks = make_cells(n)
    return augment_crops(crops, masks, config, torch.Generator().manual_seed(seed))


def test_nothing_changes_nothing():
    crops, masks = make_cells()
    got, got_masks = augment(NOTHING)
    torch.testing.assert_close(got, crops.float())
    torch.testing.assert_close(got_masks, masks.float())


def test_quarter_turns_are_exact_and_all_eight_occur():
    crops, masks = make_cells()
    turned, turned_masks = augment(NOTHING.model_copy(update={"dihedral": True}))
    found = set()
    for original, mask, got, got_mask in zip(crops, masks, turned, turned_masks, strict=True):
        for k in range(8):
            expected = torch.rot90(original.float(), k % 4, (1, 2))
            expected_mask = torch.rot90(mask.float(), k % 4, (0, 1))
            if k >= 4:
                expected, expected_mask = expected.flip(2), expected_mask.flip(1)
            if torch.equal(expected, got) and torch.equal(expected_mask, got_mask):
                found.add(k)
                break
        else:
            pytest.fail("not one of the eight symmetries")
    assert found == set(range(8))


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_warping_moves_mask_and_pixels_together(share):
    config = NOTHING.model_copy(update={"warp_share": share})
    crops, _ = make_cells()
    warped, masks = augment(config)
    changed = (warped != crops.float()).flatten(1).any(1).float().mean()
    assert abs(float(changed) - share) < 0.2
    bright_outside = (warped.amax(1) > 100) & (masks == 0)
    assert bright_outside.float().mean() < 0.02
    assert set(masks.unique().tolist()) <= {0.0, 1.0}
    area = masks.sum((1, 2))
    assert ((area > 96 * 0.6) & (area < 96 * 1.4)).all()


def test_intensity_keeps_zeros_and_differs_between_stains():
    crops, _ = make_cells()
    bright, _ = augment(NOTHING.model_copy(update={"intensity": 0.2}))
    assert (bright[crops == 0] == 0).all()
    inside = crops[:, :, 4:12, 6:18].float()
    factors = (bright[:, :, 4:12, 6:18] / inside).flatten(2).median(2).values
    assert factors.std() > 0.1
    assert (factors[:, 0] - factors[:, 1]).abs().max() > 0.05


def test_values_stay_on_the_8_bit_scale_and_a_seed_repeats():
    config = AugmentConfig(intensity=1.0, noise=50)
    first, _ = augment(config, seed=4)
    assert first.min() >= 0
    assert first.max() <= 255
    torch.testing.assert_close(first, augment(config, seed=4)[0])
    assert not torch.equal(first, augment(config, seed=5)[0])

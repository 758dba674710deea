import cv2
import numpy as np
import pytest
import torch

from hpacells.train.augment import augment_crops, hide_stains
from hpacells.train.config import AugmentConfig, TrainConfig

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


def alone(**change):
    """Only this change, of every cell."""
    return NOTHING.model_copy(update={"degraded_share": 1.0, **change})


def change_drawn(plane, **change):
    """Put a drawn plane into every stain of 16 cells and change them."""
    crops = torch.from_numpy(np.tile(plane.astype(np.uint8), (16, 4, 1, 1)))
    masks = torch.ones((16, *plane.shape), dtype=torch.uint8)
    changed, _ = augment_crops(crops, masks, alone(**change), torch.Generator().manual_seed(2))
    return changed.numpy()


def test_blur_spreads_a_point_and_keeps_its_light():
    point = np.zeros((21, 21))
    point[10, 10] = 200
    blurred = change_drawn(point, blur=1.5)
    np.testing.assert_allclose(blurred.sum((2, 3)), 200, atol=25)  # rounded to 8 bits
    peaks = blurred[:, :, 10, 10]
    assert peaks.min() < 60
    assert (peaks == peaks[:, :1]).all()  # one focus for all stains of a cell
    assert len(np.unique(peaks)) > 4


def test_gamma_keeps_black_white_and_order():
    ramp = np.arange(256).reshape(16, 16)
    curved = change_drawn(ramp, gamma=0.3).reshape(16, 4, 256)
    np.testing.assert_allclose(curved[..., [0, 255]], np.tile([0, 255], (16, 4, 1)), atol=1e-3)
    assert (np.diff(curved, axis=-1) >= 0).all()
    exponents = np.log(curved[..., 100] / 255) / np.log(100 / 255)
    expected = 255 * (ramp.ravel() / 255) ** exponents[..., None]
    np.testing.assert_allclose(curved, expected, atol=0.01)
    assert 0.2 < np.log(exponents).std() < 0.4


@pytest.mark.parametrize(("name", "sign"), [("black_level", -1), ("background", 1)])
def test_black_level_and_background_move_a_stain_as_a_whole(name, sign):
    ramp = np.arange(50, 194).reshape(12, 12)
    moved = change_drawn(ramp, **{name: 40.0}) - ramp
    np.testing.assert_allclose(moved, np.broadcast_to(moved[:, :, :1, :1], moved.shape), atol=1e-4)
    steps = sign * moved[:, :, 0, 0]
    assert steps.min() >= 0
    assert 25 < steps.max() <= 40
    dark = change_drawn(np.zeros((12, 12)), **{name: 40.0})
    assert (dark > 0).any() == (name == "background")


def test_grain_multiplies_the_protein_alone_and_keeps_its_mean():
    flat = np.full((40, 40), 100)
    flat[:, :5] = 0
    grained = change_drawn(flat, grain=0.5)
    others = [0, 2, 3]
    np.testing.assert_array_equal(grained[:, others], np.tile(flat, (16, 3, 1, 1)))
    protein = grained[:, 1]
    assert (protein[:, :, :5] == 0).all()
    np.testing.assert_allclose(protein[:, :, 5:].mean((1, 2)), 100, rtol=0.1)
    assert np.log(protein[:, :, 5:]).std((1, 2)).max() > 0.3


def test_jpeg_loses_little_and_nothing_of_what_is_flat():
    np.testing.assert_allclose(change_drawn(np.full((16, 16), 80), jpeg=40), 80, atol=2)
    ramp = np.random.default_rng(0).integers(60, 160, (16, 16))
    coded = change_drawn(ramp, jpeg=40)
    assert 0.5 < np.abs(coded - ramp).mean() < 20
    assert np.abs(coded.mean((2, 3)) - ramp.mean()).max() < 3


def test_outlines_shrink_or_grow_by_whole_pixels_and_never_vanish():
    crops, masks = make_cells(64)
    masks[:16] = 0
    masks[:16, 3, 3] = 1
    generator = torch.Generator().manual_seed(0)
    changed, moved = augment_crops(crops, masks, alone(mask_px=2), generator)
    torch.testing.assert_close(changed, crops.float())
    assert (moved[:16, 3, 3] == 1).all()
    assert (moved[:16].sum((1, 2)) == 1).any()
    # a cross takes one row or column per side and step, and leaves out the corners
    sides = {(m.any(1).sum().item(), m.any(0).sum().item()) for m in moved[16:]}
    assert sides == {(4, 8), (6, 10), (10, 14), (12, 16)}


def test_each_change_befalls_its_share_of_the_cells():
    crops, masks = make_cells(200)
    config = alone(background=30.0).model_copy(update={"degraded_share": 0.25})
    changed, _ = augment_crops(crops, masks, config, torch.Generator().manual_seed(0))
    share = (changed != crops).flatten(1).any(1).float().mean()
    assert abs(float(share) - 0.25) < 0.08


def test_strong_changes_are_the_same_for_any_number_of_threads_and_leave_their_input():
    crops, masks = make_cells(24)
    before = crops.clone(), masks.clone()
    config = TrainConfig.model_validate({"augment": "strong"}).augment
    threads = torch.get_num_threads(), cv2.getNumThreads()
    found = []
    try:
        for n in (1, 3):
            torch.set_num_threads(n)
            cv2.setNumThreads(n)
            found.append(augment_crops(crops, masks, config, torch.Generator().manual_seed(1)))
    finally:
        torch.set_num_threads(threads[0])
        cv2.setNumThreads(threads[1])
    for one, three, old, new in zip(*found, before, (crops, masks), strict=True):
        torch.testing.assert_close(one, three, rtol=0, atol=0)
        torch.testing.assert_close(old, new, rtol=0, atol=0)


def test_a_hidden_stain_is_zero_in_whole_bags():
    crops = torch.full((1200, 4, 2, 2), 7.0)
    bags = np.repeat(np.arange(400), 3)
    config = AugmentConfig(missing_er=0.3, missing_microtubules=0.5)
    hide_stains(crops, bags, config, torch.Generator().manual_seed(0))
    seen = crops[:, :, 0, 0].reshape(400, 3, 4).numpy()
    assert (seen == seen[:, :1]).all()
    assert set(np.unique(crops)) == {0.0, 7.0}
    hidden = (seen[:, 0] == 0).mean(0)
    np.testing.assert_allclose(hidden, [0.5, 0, 0, 0.3], atol=0.07)
    both = ((seen[:, 0, 0] == 0) & (seen[:, 0, 3] == 0)).mean()
    assert abs(both - 0.15) < 0.06

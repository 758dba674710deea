from dataclasses import replace

import numpy as np
import pytest
import torch

from hpacells.core.locations import LOCATION_KEYS
from hpacells.train.bags import draw_epoch
from hpacells.train.batch import prepare_step
from hpacells.train.config import TrainConfig

STILL = {"dihedral": False, "warp_share": 0, "intensity": 0, "noise": 0}
EVERYTHING = {
    "augment": {"preset": "strong", "missing_er": 0.3, "missing_microtubules": 0.3},
    "synthesis": {"negative": 0.2, "microtubules": 0.2, "endoplasmic_reticulum": 0.2},
    "mix": {"mixup": 0.3, "cutmix": 0.3},
}


@pytest.fixture
def batch(data):
    rng = np.random.default_rng(0)
    fields = np.arange(data.n_fields)
    return next(draw_epoch(data, fields, bag_size=7, bags_per_batch=5, rng=rng))


def prepare(data, batch, seed=0, **recipe):
    config = TrainConfig.model_validate(recipe)
    return prepare_step(data, batch, config, torch.Generator().manual_seed(seed))


def tensors_of(step):
    return step.crops, step.cell_masks, step.present, step.image_targets


def test_a_plain_step_is_the_data_itself(data, batch):
    step = prepare(data, batch, augment=STILL)
    cells = batch.cells[batch.cell_present]
    assert (~batch.cell_present).sum() > 0  # some bag is padded
    np.testing.assert_array_equal(step.crops, data.crops[cells])
    np.testing.assert_array_equal(step.cell_masks, data.cell_masks[cells])
    np.testing.assert_array_equal(step.present, batch.cell_present)
    np.testing.assert_array_equal(step.image_targets, data.targets[batch.fields])
    assert step.cell_targets is None
    assert {t.dtype for t in (step.crops, step.cell_masks, step.image_targets)} == {torch.float32}


def test_soft_targets_of_cells_go_with_their_cells(data, batch):
    soft = np.random.default_rng(0).random((len(data.crops), data.targets.shape[1]), np.float32)
    soft[batch.cells[0, 0]] = -1
    known = replace(data, cell_targets=soft)
    cells = batch.cells[batch.cell_present]
    plain = prepare(known, batch, augment=STILL)
    np.testing.assert_array_equal(plain.cell_targets, soft[cells])
    made = prepare(known, batch, synthesis={"negative": 1.0})
    negative = np.eye(data.targets.shape[1])[LOCATION_KEYS.index("negative")]
    np.testing.assert_array_equal(made.cell_targets, np.tile(negative, (len(cells), 1)))
    mixed = prepare(known, batch, mix={"mixup": 1.0}).cell_targets
    assert (mixed[0] == -1).all()
    np.testing.assert_array_equal(soft, known.cell_targets)


def test_a_hidden_stain_stays_zero_through_all_that_is_added(data, batch):
    step = prepare(data, batch, augment=EVERYTHING["augment"] | {"missing_er": 1.0})
    assert (step.crops[:, 3] == 0).all()
    assert step.crops[:, 1].amin() >= 0
    assert (step.crops[:, 2].amax((1, 2)) > 0).all()


def test_one_generator_decides_everything_whatever_the_threads(data, batch):
    before = data.crops.copy(), data.targets.copy()
    one, other = (prepare(data, batch, seed, **EVERYTHING) for seed in (1, 2))
    threads = torch.get_num_threads()
    torch.manual_seed(7)
    state = torch.get_rng_state()
    try:
        torch.set_num_threads(3)
        same = prepare(data, batch, 1, **EVERYTHING)
    finally:
        torch.set_num_threads(threads)
    assert torch.equal(state, torch.get_rng_state())
    for left, right in zip(tensors_of(one), tensors_of(same), strict=True):
        torch.testing.assert_close(left, right, rtol=0, atol=0)
    assert not torch.equal(one.crops, other.crops)
    np.testing.assert_array_equal(data.crops, before[0])
    np.testing.assert_array_equal(data.targets, before[1])


def test_targets_stay_probabilities(data, batch):
    for seed in range(5):
        step = prepare(data, batch, seed, **EVERYTHING)
        assert step.image_targets.min() >= 0
        assert step.image_targets.max() <= 1
        assert (step.image_targets.sum(1) > 0).all()
        assert step.crops.isfinite().all()
        assert (step.crops.min() >= 0) & (step.crops.max() <= 255)


def test_bags_that_were_made_are_named_unless_they_may_be_mixed(data, batch):
    shares = {"negative": 0.0, "microtubules": 0.5, "endoplasmic_reticulum": 0.0}
    step = prepare(data, batch, augment=STILL, synthesis=shares)
    assert 0 < step.made.sum() < len(step.made)
    changed = (step.image_targets != torch.from_numpy(data.targets[batch.fields])).any(dim=1)
    torch.testing.assert_close(step.made, changed)
    mixed = prepare(data, batch, augment=STILL, synthesis=shares, mix={"mixup": 0.1})
    assert not mixed.made.any()

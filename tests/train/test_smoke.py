from pathlib import Path

from hpacells.train.config import TrainConfig
from hpacells.train.config_sections import RoundsConfig
from hpacells.train.smoke import shorten_recipe, smoke_fields

LARGE = TrainConfig(
    backbone="eca_nfnet_l1",
    crop_px=448,
    pixel_size_um=0.1,
    bag_size=12,
    bags_per_batch=64,
    epochs=60,
    devices=8,
    num_nodes=2,
    accelerator="cuda",
    precision="bf16-mixed",
    compile=True,
    weights=Path("/nowhere/weights.safetensors"),
    freeze=True,
    rounds=RoundsConfig(n=3, folds=5, cell_loss_weight=0.7),
)


def test_what_this_machine_lacks_is_replaced_and_told():
    short, told = shorten_recipe(LARGE, has_cuda=False)
    assert (short.accelerator, short.precision, short.devices, short.num_nodes) == (
        "cpu",
        "32-true",
        1,
        1,
    )
    assert (short.weights, short.freeze, short.compile) == (None, False, False)
    assert "devices: 1 (recipe: 8)" in told
    assert "weights: None (recipe: /nowhere/weights.safetensors)" in told
    assert len(told) == 7


def test_choices_stay_and_lengths_go():
    short, _ = shorten_recipe(LARGE, has_cuda=False)
    assert (short.backbone, short.crop_px) == (LARGE.backbone, LARGE.crop_px)
    assert short.rounds == RoundsConfig(n=1, folds=2, epochs=1, cell_loss_weight=0.7)
    assert (short.epochs, short.bag_size, short.bags_per_batch) == (1, 2, 4)
    assert smoke_fields(LARGE) < smoke_fields(TrainConfig())
    small, told = shorten_recipe(TrainConfig(bag_size=1), has_cuda=False)
    assert told == []
    assert (small.bag_size, small.rounds.n) == (1, 0)


def test_a_gpu_is_used_where_the_recipe_wants_one():
    short, _ = shorten_recipe(LARGE, has_cuda=True)
    assert (short.accelerator, short.precision, short.devices) == ("cuda", "bf16-mixed", 1)
    assert shorten_recipe(TrainConfig(), has_cuda=True)[0].accelerator == "cpu"


def test_weights_that_are_there_are_loaded(tmp_path):
    file = tmp_path / "w.safetensors"
    file.touch()
    short, told = shorten_recipe(TrainConfig(weights=file, freeze=True), has_cuda=False)
    assert (short.weights, short.freeze, told) == (file, True, [])

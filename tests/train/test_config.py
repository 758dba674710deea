import ast
from itertools import pairwise
from pathlib import Path

import pytest

from hpacells.core.errors import ConfigError
from hpacells.train import config, config_sections
from hpacells.train.config import TrainConfig, read_train_config
from hpacells.train.config_sections import AUGMENT_PRESETS, AugmentConfig


def test_defaults_then_file_then_command_line(tmp_path):
    recipe = tmp_path / "r.yaml"
    recipe.write_text("seed: 3\nepochs: 7\naugment:\n  noise: 0\n")
    got = read_train_config(recipe, seed=5, epochs=None)
    assert (got.seed, got.epochs, got.augment.noise) == (5, 7, 0)
    assert got.bag_size == TrainConfig().bag_size
    assert read_train_config(None) == TrainConfig()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("epoch: 3", "epoch: Extra inputs"),
        ("bag_size: 0", "bag_size"),
        ("augment: {glow: 1}", r"augment\.glow"),
        ("- 3", "key: value"),
        ("a: [", "cannot be read"),
        ("learning_rate: .nan", "learning_rate"),
    ],
)
def test_a_bad_recipe_is_named(tmp_path, text, message):
    recipe = tmp_path / "r.yaml"
    recipe.write_text(text)
    with pytest.raises(ConfigError, match=message):
        read_train_config(recipe)


def test_a_missing_file_and_a_bad_option_are_named(tmp_path):
    with pytest.raises(ConfigError, match=r"none\.yaml"):
        read_train_config(tmp_path / "none.yaml")
    with pytest.raises(ConfigError, match="options: seed"):
        read_train_config(None, seed=-1)


def test_a_recipe_cannot_predict_with_another_pooling_than_it_trains_with():
    with pytest.raises(ConfigError, match="training pools with lse_sharpness 2"):
        read_train_config(None, postprocessing={"lse_sharpness": 5.0})
    read_train_config(None, postprocessing={"border_power": 0.4})


def test_views_are_not_for_cached_features():
    frozen = {"weights": "encoder.safetensors", "freeze": "cached"}
    with pytest.raises(ConfigError, match="views: cached features"):
        read_train_config(None, views=4, **frozen)
    assert read_train_config(None, views=4, weights="encoder.safetensors").views == 4


def test_negative_is_derived_unless_the_recipe_says_otherwise():
    """Any key under postprocessing once brought back the network's own, untrained answer."""
    assert read_train_config(None, postprocessing={"blend": "product"}).postprocessing.negative == (
        "product"
    )
    for rule in ("own", "one_minus_max"):
        chosen = read_train_config(None, postprocessing={"negative": rule}, negative_target="image")
        assert chosen.postprocessing.negative == rule
        assert TrainConfig.model_validate(chosen.model_dump(mode="json")) == chosen
    with pytest.raises(ConfigError, match=r"negative_target 'none' never trains"):
        read_train_config(None, postprocessing={"negative": "own"}, negative_target="none")


@pytest.mark.parametrize(
    "settings",
    [{"pooling": "attention"}, {"cell_loss_weight": 0}],
    ids=lambda given: next(iter(given)),
)
def test_a_recipe_that_teaches_nothing_is_refused(settings):
    with pytest.raises(ConfigError, match=r"image_loss_weight: without an image loss"):
        read_train_config(None, **settings)
    assert read_train_config(None, **settings, image_loss_weight=0.5)


def test_softening_under_a_teacher_of_the_whole_target_is_refused():
    with pytest.raises(ConfigError, match=r"soften: teacher\.weight 1 replaces"):
        read_train_config(None, soften={"share": 0.1}, teacher={"weight": 1.0})
    read_train_config(None, soften={"share": 0.1}, teacher={"weight": 0.9})


def test_the_recipes_in_the_repository_are_valid():
    recipes = sorted((Path(__file__).parents[2] / "configs").glob("*.yaml"))
    assert recipes
    for recipe in recipes:
        assert "nfnet" in read_train_config(recipe).backbone


@pytest.mark.parametrize("module", [config, config_sections])
def test_every_field_is_documented(module):
    tree = ast.parse(Path(module.__file__).read_text(encoding="utf-8"))
    for model in (node for node in tree.body if isinstance(node, ast.ClassDef)):
        for field, after in pairwise([*model.body, None]):
            if isinstance(field, ast.AnnAssign):
                assert isinstance(after, ast.Expr), f"{model.name}.{field.target.id}"


def test_a_preset_is_written_out_and_fields_go_before_it(tmp_path):
    recipe = tmp_path / "r.yaml"
    recipe.write_text("augment: {preset: strong, jpeg: 0}")
    chosen = read_train_config(recipe).augment
    assert (chosen.jpeg, chosen.blur) == (0, AUGMENT_PRESETS["strong"]["blur"])
    recipe.write_text("augment: weak")
    weak = read_train_config(recipe)
    assert weak.augment.warp_share == 0
    assert TrainConfig.model_validate(weak.model_dump(mode="json")) == weak
    assert TrainConfig().augment == AugmentConfig()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("augment: mild", "augment: .*expected weak, strong or fields, got 'mild'"),
        ("augment: {preset: [1]}", "augment: .*expected weak, strong"),
        ("augment: 3", "augment"),
        ("augment: {preset: weak, jpeg: 200}", r"augment\.jpeg"),
        ("mix: {mixup: 0.7, cutmix: 0.4}", "mix: .*at most, got 1.1"),
        ("synthesis: {negative: 0.7, microtubules: 0.4}", "synthesis: .*at most, got 1.1"),
        ("synthesis: {golgi_apparatus: 0.1}", r"synthesis\.golgi_apparatus"),
        ("rare_cap: 0.5", "rare_cap"),
    ],
)
def test_a_bad_share_or_preset_is_named(tmp_path, text, message):
    recipe = tmp_path / "r.yaml"
    recipe.write_text(text)
    with pytest.raises(ConfigError, match=message):
        read_train_config(recipe)

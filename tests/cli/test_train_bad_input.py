"""What ``hpacells train`` says to input that cannot be trained on: a clear stop, each reached."""

import shutil

import pytest
import torch
import yaml
from typer.testing import CliRunner

from hpacells.cli import train as command
from hpacells.core.errors import ConfigError, InputError, OutputError, TableError
from hpacells.crops.store import CropStore
from hpacells.simulate.config import SimulateConfig
from hpacells.simulate.dataset import write_dataset
from hpacells.train.checkpoint import Checkpoint, write_checkpoint
from hpacells.train.config import TrainConfig
from hpacells.train.data import load_training_data
from hpacells.train.prepare import prepare_data
from hpacells.train.run import _claim


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    folder = tmp_path_factory.mktemp("simulated") / "set"
    write_dataset(folder, SimulateConfig(size_px=512), fields=2, seed=5)
    return folder


@pytest.fixture(scope="module")
def store(dataset, tmp_path_factory):
    config = TrainConfig(crop_px=32, pixel_size_um=0.8)
    out = tmp_path_factory.mktemp("cut")
    return prepare_data(dataset, out, config, segmenter="watershed").store.path


@pytest.fixture
def fail(tmp_path, recipe_text):
    """Run the command with more lines in its recipe; give the error it ends with."""

    def run(data, out, more="", *, recipe=recipe_text):
        file = tmp_path / "recipe.yaml"
        file.write_text(recipe + more)
        words = [str(data), str(out), "--config", str(file), "--threads", "1"]
        result = CliRunner().invoke(command.app, words)
        assert result.exception is not None, result.output
        return result.exception

    return run


def test_an_unknown_key_is_named(store, tmp_path, fail):
    error = fail(store, tmp_path / "m", "epoch: 3\n")
    assert isinstance(error, ConfigError)
    assert "epoch: Extra inputs are not permitted" in str(error)
    nested = fail(store, tmp_path / "m", "rounds: {n: 1, fold: 2}\n")
    assert "rounds.fold" in str(nested)


def test_a_data_set_smaller_than_a_bag_is_refused(store, tmp_path, fail, recipe_text):
    recipe = recipe_text.replace("bag_size: 2", "bag_size: 64")
    error = fail(store, tmp_path / "m", recipe=recipe)
    assert isinstance(error, InputError)
    assert "at least 64 cells (bag_size)" in str(error)


def test_more_folds_than_genes_are_refused(store, tmp_path, fail):
    error = fail(store, tmp_path / "m", "rounds: {n: 1, folds: 10}\n")
    assert isinstance(error, ConfigError)
    assert "rounds.folds: expected at most" in str(error)


def test_a_label_out_of_range_is_refused_before_anything_is_cut(dataset, tmp_path, fail):
    copy = shutil.copytree(dataset, tmp_path / "set")
    lines = (copy / "train.csv").read_text().splitlines()
    first = lines[1].split(",")
    lines[1] = ",".join([first[0], "0|23", *first[2:]])
    (copy / "train.csv").write_text("\n".join(lines) + "\n")
    error = fail(copy, tmp_path / "m")
    assert isinstance(error, TableError)
    assert "23" in str(error)
    assert not (tmp_path / "m").exists()


def test_a_folder_of_another_training_is_refused(store, tmp_path, fail):
    stopped = fail(
        store, tmp_path / "m", "rounds: {n: 1, folds: 10}\n"
    )  # it has claimed the folder
    assert isinstance(stopped, ConfigError)
    error = fail(store, tmp_path / "m", "learning_rate: 0.5\n")
    assert isinstance(error, OutputError)
    assert "other settings (learning_rate, rounds)" in str(error)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "cells.parquet").touch()
    assert isinstance(fail(store, tmp_path / "other"), OutputError)


def test_a_checkpoint_of_another_architecture_is_refused(store, tmp_path, fail, recipe_text):
    config = TrainConfig.model_validate(yaml.safe_load(recipe_text))
    (tmp_path / "m").mkdir()
    _claim(tmp_path / "m", config, load_training_data(CropStore.open(store)))
    layer = torch.nn.Linear(2, 2)
    state = layer.state_dict()
    optimizer = torch.optim.AdamW(layer.parameters()).state_dict()
    write_checkpoint(tmp_path / "m" / "checkpoint.pt", Checkpoint(1, state, state, optimizer))
    error = fail(store, tmp_path / "m")
    assert isinstance(error, OutputError)
    assert "checkpoint" in str(error)

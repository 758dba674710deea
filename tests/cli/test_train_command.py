import re
import shutil

import pytest
from typer.testing import CliRunner

from hpacells.cli import train as command
from hpacells.core.errors import ConfigError, MissingExtraError
from hpacells.runtime.model_folder import load_model
from hpacells.simulate.config import SimulateConfig
from hpacells.simulate.dataset import write_dataset
from hpacells.train.run import TrainSummary


@pytest.fixture
def recipe(tmp_path, recipe_text):
    path = tmp_path / "recipe.yaml"
    path.write_text(recipe_text)
    return path


def invoke(*arguments):
    return CliRunner().invoke(command.app, [str(argument) for argument in arguments])


def test_a_dataset_becomes_a_model_without_truth(tmp_path, recipe):
    dataset = tmp_path / "set"
    write_dataset(dataset, SimulateConfig(size_px=768), fields=3, seed=5)
    shutil.rmtree(dataset / "truth")
    arguments = (dataset, tmp_path / "m", "--config", recipe, "--threads", 1, "--seed", 4)
    result = invoke(*arguments)
    assert result.exit_code == 0, result.output
    assert "No image has these locations" in result.output
    assert load_model(tmp_path / "m").spec.training.seed == 4
    again = invoke(*arguments)
    assert "Finished before" in again.output


def test_smoke_tries_a_recipe(tmp_path, recipe, monkeypatch):
    monkeypatch.setattr(command, "smoke_fields", lambda config: 2)
    result = invoke("--smoke", "--config", recipe, "--threads", 1)
    assert result.exit_code == 0, result.output
    assert "The recipe works" in result.output


@pytest.mark.parametrize(
    ("kind", "told"),
    [
        ("near_duplicates", "The table names no antibody or gene, so"),
        ("mixed", "The table names neither antibody nor gene of some fields, so"),
        ("gene", None),
    ],
)
def test_held_out_fields_without_groups_are_spoken_of(capsys, tiny_model_folder, kind, told):
    counts = dict.fromkeys(
        ("cells", "fields_train", "fields_val", "fields_failed", "fields_without_cells"), 3
    )
    counts["fields_unlabelled"] = 0
    spec = load_model(tiny_model_folder).spec
    command._tell(TrainSummary(spec, counts, 0.5, (), kind), tiny_model_folder)
    output = capsys.readouterr().out
    assert ("only near copies of a field were kept together" in output) == bool(told)
    assert (told or "") in output
    assert "image-level mean AP 0.500" in output


def test_smoke_with_data_alone_is_refused(tmp_path):
    error = invoke(tmp_path, "--smoke").exception
    assert isinstance(error, ConfigError)
    assert "--smoke: expected no folder, or DATA and OUT, got only" in str(error)


def test_data_and_out_are_needed(tmp_path):
    assert isinstance(invoke().exception, ConfigError)
    assert isinstance(invoke(tmp_path).exception, ConfigError)


def test_without_torch_the_extra_is_named(monkeypatch):
    monkeypatch.setattr(command, "find_spec", lambda name: None if name == "torch" else name)
    advice = "pip install -c constraints.txt -e '.[train]'"
    with pytest.raises(MissingExtraError, match=f"torch, not .*{re.escape(advice)}"):
        CliRunner().invoke(command.app, ["--smoke"], catch_exceptions=False)


def test_help_ends_with_an_example():
    result = invoke("--help")
    assert result.exit_code == 0
    assert "Example: hpacells train" in result.output


def test_impossible_threads_are_refused_before_the_cells_are_cut(tmp_path):
    # all fields were segmented and cropped first
    result = invoke(tmp_path, tmp_path / "m", "--threads", 0)
    assert isinstance(result.exception, ConfigError)
    assert "--threads" in str(result.exception)
    assert not (tmp_path / "m").exists()

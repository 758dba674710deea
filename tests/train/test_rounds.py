from dataclasses import replace

import numpy as np
import pytest
import torch

from hpacells.core.errors import OutputError
from hpacells.core.label_noise import PRESENCE
from hpacells.train import rounds
from hpacells.train.config_sections import RoundsConfig
from hpacells.train.records import LoopResult
from hpacells.train.rounds import fold_warnings, recipe_with_cell_targets, run_rounds
from hpacells.train.split import split_fields, split_folds
from hpacells.train.validation import Validation, cells_of


@pytest.fixture
def fold(data):
    return split_folds(data, split_fields(data, 0.2, seed=0), 2, seed=0)


@pytest.fixture
def recipe(tiny_config):
    return tiny_config.model_copy(update={"rounds": RoundsConfig(n=2, folds=2, epochs=1)})


@pytest.fixture
def trainings(monkeypatch):
    """Instead of training: note what was asked for, answer with the position of each cell."""
    asked = []

    def train(data, held_out, config, *, checkpoint_path, progress):
        asked.append((data, held_out, config, checkpoint_path.name))
        progress(1, 1, "loss 0.5")
        cells = cells_of(data, np.flatnonzero(held_out))
        logits = np.tile(cells[:, None], (1, 19)).astype(np.float32)
        validation = Validation((None,) * 19, 0.0, int(held_out.sum()), logits, logits)
        return LoopResult(torch.nn.Identity(), validation, [])

    monkeypatch.setattr(rounds, "train_classifier", train)
    return asked


def test_every_fold_is_judged_by_a_model_of_the_others(data, fold, recipe, trainings, tmp_path):
    told = []
    run_rounds(
        data, fold, recipe, folder=tmp_path, progress=lambda done, total, what: told.append(what)
    )
    assert len(trainings) == 4
    for number, (_, left_out, config, name) in enumerate(trainings):
        np.testing.assert_array_equal(left_out, (fold == number % 2) | (fold == -1))
        assert config.epochs == config.validate_every == 1
        assert name == f"round_{number // 2 + 1}_fold_{number % 2 + 1}.pt"
        judged = np.load(tmp_path / name.replace(".pt", ".npz"))["logits"]
        np.testing.assert_array_equal(
            judged[:, 0], cells_of(data, np.flatnonzero(fold == number % 2))
        )
    assert told[2] == "round 2 of 2, fold 1 of 2: loss 0.5"
    assert sorted(path.suffix for path in tmp_path.iterdir()) == [".npz"] * 4


def test_a_round_learns_from_the_one_before(data, fold, recipe, trainings, tmp_path):
    result = run_rounds(data, fold, recipe, folder=tmp_path)
    first, second = trainings[0], trainings[2]
    assert first[0].cell_targets is None
    assert first[2].cell_loss_weight == recipe.cell_loss_weight
    assert second[0].cell_targets.shape == (len(data.crops), 19)
    assert second[2].cell_loss_weight == recipe.rounds.cell_loss_weight
    held_out = np.repeat(fold < 0, np.diff(data.offsets))
    assert (result.cell_targets[held_out] == -1).all()
    soft = result.cell_targets[~held_out]
    assert ((soft >= 0) & (soft <= 1)).all()
    owner = np.repeat(np.arange(data.n_fields), np.diff(data.offsets))[~held_out]
    assert not soft[:, :18][data.targets[owner][:, :18] == 0].any()


def test_held_out_labels_and_their_cells_teach_nothing(data, fold, recipe, trainings, tmp_path):
    one = run_rounds(data, fold, recipe, folder=tmp_path / "one")
    other = replace(data, targets=data.targets.copy())
    other.targets[fold < 0] = 1 - other.targets[fold < 0]
    two = run_rounds(other, fold, recipe, folder=tmp_path / "two")
    np.testing.assert_array_equal(one.cell_targets, two.cell_targets)


def test_finished_folds_are_not_trained_again(data, fold, recipe, trainings, tmp_path):
    whole = run_rounds(data, fold, recipe, folder=tmp_path)
    (tmp_path / "round_2_fold_1.npz").unlink()
    (tmp_path / "round_1_fold_1.pt").write_text("left by a kill after the judgement")
    trainings.clear()
    again = run_rounds(data, fold, recipe, folder=tmp_path)
    assert [name for *_, name in trainings] == ["round_2_fold_1.pt"]
    np.testing.assert_array_equal(whole.cell_targets, again.cell_targets)
    assert not list(tmp_path.glob("*.pt"))


@pytest.mark.parametrize("damage", ["text", "shape"])
def test_a_damaged_judgement_is_named(data, fold, recipe, trainings, tmp_path, damage):
    run_rounds(data, fold, recipe, folder=tmp_path)
    file = tmp_path / "round_1_fold_2.npz"
    if damage == "text":
        file.write_text("no archive")
    else:
        np.savez(file, logits=np.zeros((3, 19), np.float32))
    with pytest.raises(OutputError, match="fold trains again"):
        run_rounds(data, fold, recipe, folder=tmp_path)


def test_without_rounds_nothing_happens(data, fold, tiny_config, tmp_path):
    assert run_rounds(data, fold, tiny_config, folder=tmp_path) is data


def test_weights_of_the_rounds_replace_the_recipes(tiny_config):
    wanted = RoundsConfig(n=1, cell_loss_weight=0.7)
    assert recipe_with_cell_targets(tiny_config.model_copy(update={"rounds": wanted})) == (
        tiny_config.model_copy(update={"rounds": wanted, "cell_loss_weight": 0.7})
    )
    both = wanted.model_copy(update={"image_loss_weight": 0.25})
    found = recipe_with_cell_targets(tiny_config.model_copy(update={"rounds": both}))
    assert found.image_loss_weight == 0.25


def test_a_location_in_one_fold_only_is_told(data, fold):
    assert fold_warnings(data, fold) == []
    lone = replace(data, targets=data.targets.copy())
    lone.targets[np.flatnonzero(fold == 1)[0], 15] = 1
    (warning,) = fold_warnings(lone, fold)
    assert warning.startswith("Aggresome: all its images are of one fold")


def test_two_real_rounds_are_repeatable_and_continue(
    data, fold, tiny_config, tmp_path, monkeypatch
):
    """Stopped within the second fold's training, it goes on there and ends the same."""
    recipe = tiny_config.model_copy(
        update={"rounds": RoundsConfig(n=1, folds=2, epochs=1), "checkpoint_every": 1}
    )
    whole = run_rounds(data, fold, recipe, folder=tmp_path / "whole")

    def stop(done, total, what):
        if "fold 2" in what and done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_rounds(data, fold, recipe, folder=tmp_path / "cut", progress=stop)
    left = sorted(path.name for path in (tmp_path / "cut").iterdir())
    assert left == ["round_1_fold_1.npz", "round_1_fold_2.pt"]
    steps = []
    again = run_rounds(
        data,
        fold,
        recipe,
        folder=tmp_path / "cut",
        progress=lambda done, total, what: steps.append(done),
    )
    assert steps[0] == 2
    np.testing.assert_array_equal(whole.cell_targets, again.cell_targets)


def test_with_one_fold_a_model_of_all_fields_judges_their_cells(data, tiny_config, tmp_path):
    held_out = split_fields(data, 0.2, seed=0)
    fold = split_folds(data, held_out, 1, seed=0)
    np.testing.assert_array_equal(fold, np.where(held_out, -1, 0))
    assert fold_warnings(data, fold) == []
    one = {"rounds": RoundsConfig(n=1, folds=1, epochs=1)}
    soft = run_rounds(data, fold, tiny_config.model_copy(update=one), folder=tmp_path).cell_targets
    owner = data.field_of_cell
    assert (soft[held_out[owner]] == -1).all()
    labelled = data.targets[owner][:, :18] > 0
    assert not soft[~held_out[owner]][:, :18][~labelled[~held_out[owner]]].any()
    for k in np.flatnonzero(labelled[~held_out[owner]].any(axis=0)):
        found = soft[labelled[:, k] & ~held_out[owner], k]
        assert found.mean() == pytest.approx(PRESENCE[k], abs=1e-3)
    judged = np.load(tmp_path / "round_1_fold_1.npz")["logits"]
    assert judged.shape == (int((~held_out[owner]).sum()), 19)

"""What the learning benchmark trains, without training it."""

import argparse
from types import SimpleNamespace

import corrections
import numpy as np
import pytest
import weak_labels
import weak_runs
from weak_labels import ABLATIONS, Job, check_ablations
from weak_runs import claim, shipped_recipe, train_and_score

OPTIONS = argparse.Namespace(
    backbone="hpa_nfnet_pico", epochs=24, ablate_epochs=8, precision="32-true", compile=False
)
JOBS = [Job(name, "measured", 0) for name in ABLATIONS]


def test_a_retraining_takes_what_it_does_not_name_from_the_shipped_recipe():
    """A section that the recipe left to its defaults was once asked for, and missing."""
    recipe, shipped = corrections._recipe(4, 1), shipped_recipe()
    assert recipe.teacher == shipped.teacher.model_copy(update={"start_share": 0})
    assert (recipe.crop_spec(), recipe.seed) == (shipped.crop_spec(), 1)


def test_every_ablation_changes_the_shipped_recipe():
    check_ablations(JOBS, OPTIONS)
    folders = {job.name for job in JOBS}
    assert len(folders) == len(JOBS)


def test_an_ablation_of_what_is_not_there_is_named(monkeypatch):
    monkeypatch.setitem(ABLATIONS, "without focus", {"soften": {"share": 0}})
    with pytest.raises(SystemExit, match="without focus"):
        check_ablations([*JOBS, Job("without focus", "measured", 0)], OPTIONS)


def test_an_ablation_keeps_the_rest_of_its_section():
    name = next(name for name in ABLATIONS if "measured presence" in name)
    recipe = weak_labels._recipe(Job(name, "measured", 0), OPTIONS)
    assert (recipe.teacher.weight, recipe.teacher.prior) == (1.0, False)


def test_a_folder_of_another_training_is_refused_before_it_is_continued(tmp_path):
    asked = {"recipe": {"epochs": 2, "seed": 0}, "data": "a", "test": "t"}
    claim(tmp_path / "run", asked)
    claim(tmp_path / "run", asked)
    with pytest.raises(SystemExit, match=r"other epochs, test\."):
        claim(tmp_path / "run", {**asked, "recipe": {"epochs": 3, "seed": 0}, "test": "u"})
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "checkpoint.pt").touch()
    with pytest.raises(SystemExit, match=r"request\.json"):
        claim(tmp_path / "old", asked)


def test_a_training_that_is_kept_is_not_repeated_but_for_another_recipe(tmp_path, monkeypatch):
    truth = np.eye(19, dtype=np.float32).repeat(3, axis=0)
    cells = SimpleNamespace(
        data=SimpleNamespace(
            data_hash="c",
            n_fields=8,
            targets=truth,
            cell_targets=None,
            groups=("a", "b", "c"),
            field_of_cell=np.arange(57) % 3,
        ),
        truth=SimpleNamespace(targets=truth, known=np.ones(57, np.bool_)),
    )
    asked = []
    monkeypatch.setattr(weak_runs, "KEPT", tmp_path / "kept")
    monkeypatch.setattr(weak_runs, "_train", lambda *given: asked.append(given))
    monkeypatch.setattr(
        weak_runs, "score_cells", lambda *_, **__: truth - truth.mean(axis=1)[:, None]
    )

    def run(recipe):
        return train_and_score(tmp_path / "bench" / "naive", recipe, cells.data, cells)

    recipe = shipped_recipe()
    first = run(recipe)
    assert (first.mean(), first.interval("ten"), len(asked)) == (1.0, (1.0, 1.0), 1)
    assert run(recipe) == first
    assert len(asked) == 1
    run(shipped_recipe({"seed": 1}))
    assert len(asked) == 2

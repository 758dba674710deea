import argparse
import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import real_or_simulated
import simulated_data
import transfer
from cell_samples import CellSample, class_targets, plain_cells, real_tiles
from not_easy import precisions
from real_or_simulated import bootstrap_auc, choose_features, mean_fold_auc, rank_features
from simulated_data import dataset, open_data
from simulator_speed import digest_folder, seconds_at
from transfer import class_precisions, evaluate, rows_of
from transfer_training import AUGMENT, recipe, run_folder


def test_classes_of_unequal_size_weigh_the_same():
    labels = np.repeat([0, 2, 13, 14, 16], [54, 18, 36, 18, 54])
    np.testing.assert_allclose(class_precisions(np.zeros((180, 19)), labels), 0.2)
    np.testing.assert_allclose(class_precisions(np.eye(19)[labels], labels), 1.0)


def test_average_precision_with_weights_by_hand():
    labels = np.array([0, 0, 2])
    scores = np.zeros((3, 19))
    scores[:, 0] = [0.9, 0.1, 0.5]  # weights 1/2, 1/2, 1: precision 1, then 1/2
    assert class_precisions(scores, labels)[0] == pytest.approx(0.5 * 1 + 0.5 * 0.5)


def test_every_draw_of_mosaics_has_every_class(monkeypatch):
    monkeypatch.setattr(transfer, "N_BOOTSTRAP", 40)
    labels, groups = np.array([0, 0, 2, 2, 2]), np.array(["a", "b", "c", "c", "d"])
    found = evaluate(np.eye(19)[[0, 9, 2, 2, 2]], labels, groups)
    assert found["classes"]["nucleoli"] == {"ap": 1.0, "low": 1.0, "high": 1.0, "mosaics": 2}
    assert found["interval"][0] <= found["macro"] <= found["interval"][1]
    assert np.isfinite(found["interval"]).all()


def test_an_existing_model_is_reported_and_not_judged():
    result = {"macro": 0.9, "interval": [0.8, 1.0], "classes": {}}
    assert rows_of("m", result, judged=False)[0]["met"] is None
    assert rows_of("m", result, judged=True)[0]["met"] is True


def test_trainings_that_differ_have_folders_of_their_own(tmp_path, monkeypatch):
    data = open_data(write_data(tmp_path / "d"), 2)
    other = open_data(write_data(tmp_path / "e" / "d", seed=2), 2)
    given = {"learning_rate": 2e-3, "precision": "32-true", "start": "random"}
    plain, slow, other_start = (
        recipe(argparse.Namespace(**given | changed))
        for changed in ({}, {"learning_rate": 1e-3}, {"start": "nfnet-sim"})
    )
    settings = [(data, 10, plain), (data, 11, plain), (data, 10, slow), (other, 10, plain)]
    settings += [(data, 10, other_start)]
    folders = {run_folder(d, tmp_path, steps=n, config=c) for d, n, c in settings}
    assert len(folders) == 5
    known = run_folder(data, tmp_path, steps=10, config=other_start)
    monkeypatch.setattr("transfer_training.recorded_weights", lambda _: {"weights_sha256": "new"})
    assert run_folder(data, tmp_path, steps=10, config=other_start) != known
    assert other_start.weights_of == "whole"
    assert plain.augment == other_start.augment == AUGMENT


def write_data(path, *, seed=1, finished=True):
    path.mkdir(parents=True)
    settings = {"seed": seed, "size_px": 768, "pixel_size_um": 0.16}
    content = {"settings": settings, "fields": 3, "finished": finished}
    (path / "simulate.json").write_text(json.dumps(content))
    (path / "train.csv").write_text("ID\n")
    return path


def options(**changed):
    return argparse.Namespace(
        **{"data": None, "fields": 2, "judging": False, "seed": 5, "size": 768}
        | {"pixel_size_um": 0.16, "workers": 1}
        | changed
    )


def test_a_folder_says_itself_what_it_is(tmp_path):
    data = dataset(options(data=write_data(tmp_path / "d", seed=1), seed=77, size=99))
    assert (data.seed, data.size_px, data.pixel_um, data.fields) == (1, 768, 0.16, 2)
    assert data.facts()["seed"] == 1
    assert data.digest != open_data(write_data(tmp_path / "e", seed=3), 2).digest


@pytest.mark.parametrize(
    ("seed", "finished", "fields", "message"),
    [
        (900_000, True, 2, "--judging"),
        (1, False, 2, "not finished"),
        (1, True, 4, "at least 4 fields, it has 3"),
    ],
)
def test_a_folder_that_will_not_do_is_refused(tmp_path, seed, finished, fields, message):
    path = write_data(tmp_path / "d", seed=seed, finished=finished)
    with pytest.raises(SystemExit, match=message):
        open_data(path, fields)


def test_judging_is_allowed_when_said(tmp_path):
    path = write_data(tmp_path / "d", seed=900_001)
    assert open_data(path, 3, judging=True).seed == 900_001
    with pytest.raises(SystemExit, match=r"no simulate\.json"):
        open_data(tmp_path, 1)
    with pytest.raises(SystemExit, match="--seed"):
        dataset(options(seed=900_000))


def test_a_finished_folder_with_more_fields_is_taken_as_it_is(tmp_path, monkeypatch):
    write_data(tmp_path / "data_5_768_0.16", seed=5)
    calls = []
    monkeypatch.setattr(simulated_data.subprocess, "run", lambda c, check: calls.append(c))
    assert dataset(options(work=tmp_path)).fields == 2
    assert not calls
    with pytest.raises(SystemExit, match="it has 3"):  # the replaced command made nothing
        dataset(options(work=tmp_path, fields=4))
    assert calls[0][calls[0].index("--fields") + 1] == "4"


def test_cells_of_another_scale_are_refused(tmp_path):
    data = replace(open_data(write_data(tmp_path / "d"), 2), pixel_um=0.08)
    with pytest.raises(SystemExit, match=r"0\.16"):
        plain_cells(data, tmp_path, workers=1)


def test_folds_with_one_kind_have_no_auc():
    scores, truth = np.array([0.1, 0.9, 0.9, 0.1, 0.5]), np.array([0, 1, 0, 1, 1]) > 0
    assert mean_fold_auc(scores, truth, np.array([0, 0, 1, 1, 2])) == 0.5
    assert np.isnan(mean_fold_auc(scores[4:], truth[4:], np.array([2])))


def test_seconds_are_read_from_the_line_at_20_cells():
    measured = np.array([[1.5, 10], [2.5, 30], [3.5, 50]])
    assert seconds_at(measured, 20) == pytest.approx(2.0)


def test_classes_without_truth_have_no_precision():
    targets = class_targets(["0|16", "16", "2"])
    found = precisions(targets.astype(float), targets)
    assert np.isnan(found[1])
    assert found[16] == 1.0


def sample(values, groups):
    n = len(values)
    names = ("intensity:red:mean", "intensity:green:mean", "shape::cell_log_area")
    return CellSample(
        names, np.tile(values[:, None], 3), groups, np.full(n, "0"), np.full(n, ""), groups
    )


def test_reference_features_leave_out_the_protein():
    names = ("ratio:red:x", "correlation:red+green:cell", "shape::cell_log_area")
    assert choose_features(names, shape=False) == [0]
    assert choose_features(names, shape=True) == [0, 2]


def test_a_feature_that_separates_all_comes_first(monkeypatch):
    monkeypatch.setattr(real_or_simulated, "N_BOOTSTRAP", 40)
    real = sample(np.arange(4.0), np.array(list("aabb")))
    simulated = sample(np.arange(4.0) + 10, np.array(list("ccdd")))
    best = rank_features(real, simulated, [0])[0]
    assert best["auc"] == 1.0
    assert best["d"] == pytest.approx(10 / np.std([0, 1, 2, 3]))
    scores = np.r_[np.zeros(4), np.ones(4)]
    groups = np.r_[real.groups, simulated.groups]
    assert bootstrap_auc(scores, scores > 0, groups) == (1.0, 1.0)


def test_digests_leave_out_the_lock_alone(tmp_path):
    (tmp_path / ".fields").mkdir()
    for name in (".fields/a.json", ".lock", "simulate.json", "truth.csv"):
        (tmp_path / name).write_text("1")
    assert list(digest_folder(tmp_path)) == [".fields/a.json", "simulate.json", "truth.csv"]


@pytest.mark.realdata
@pytest.mark.skipif("HPACELLS_REAL_DATA" not in os.environ, reason="HPACELLS_REAL_DATA is not set")
def test_real_sample_is_180_tiles_of_20_mosaics():
    found = [
        (name, label, tile.shape)
        for name, label, tile in real_tiles(Path(os.environ["HPACELLS_REAL_DATA"]))
    ]
    assert len(found) == 180
    assert len({name for name, _, _ in found}) == 20
    assert {shape for *_, shape in found} == {(4, 512, 512)}

from dataclasses import replace

import numpy as np
import pytest

from hpacells.core.errors import ConfigError, OutputError
from hpacells.train.split import folds_without, split_fields, split_folds, write_split


def as_groups(data, targets, groups):
    """The drawn data under other labels and groups."""
    n = len(targets)
    wide = np.zeros((n, data.targets.shape[1]), np.float32)
    wide[:, : targets.shape[1]] = targets
    return replace(
        data,
        fov_ids=tuple(f"f{i:03d}" for i in range(n)),
        groups=tuple(groups),
        targets=wide,
        offsets=np.arange(n + 1),
    )


def test_folds_are_whole_groups_of_about_one_size_with_all_locations(data):
    held_out = split_fields(data, 0.2, seed=3)
    fold = split_folds(data, held_out, 3, seed=3)
    np.testing.assert_array_equal(fold == -1, held_out)
    assert set(fold[~held_out]) == {0, 1, 2}
    genes = np.array(data.groups)
    for i in range(3):
        assert not set(genes[fold == i]) & set(genes[fold != i])
        assert set(np.flatnonzero(data.targets[fold == i].any(axis=0))) == {0, 7, 16}
    counts = np.bincount(fold[~held_out])
    assert counts.max() - counts.min() <= 6
    np.testing.assert_array_equal(fold, split_folds(data, held_out, 3, seed=3))
    assert not np.array_equal(fold, split_folds(data, held_out, 3, seed=4))


def test_a_location_keeps_its_share_in_every_fold(data):
    rng = np.random.default_rng(0)
    targets = (rng.random((300, 5)) < [0.5, 0.2, 0.1, 0.05, 0.02]).astype(np.float32)
    many = as_groups(data, targets, [f"G{i:03d}" for i in range(300)])
    fold = split_folds(many, np.zeros(300, np.bool_), 3, seed=0)
    for k in range(5):
        per_fold = np.bincount(fold[targets[:, k] > 0], minlength=3)
        assert per_fold.max() - per_fold.min() <= 1, k


def test_a_location_of_one_group_is_never_held_out(data):
    """It would be absent from the training and judged all the same."""
    targets = np.zeros((12, 3), np.float32)
    targets[:, 0] = 1
    targets[3, 1] = targets[8, 2] = 1
    few = as_groups(data, targets, [f"G{i:02d}" for i in range(12)])
    for seed in range(10):
        held_out = split_fields(few, 0.5, seed=seed)
        assert held_out.sum() >= 4
        assert not held_out[[3, 8]].any()


def test_locations_that_a_fold_cannot_learn_are_named(data):
    targets = np.zeros((9, 2), np.float32)
    targets[:, 0] = 1
    targets[[4, 5], 1] = 1  # one gene has all of it
    groups = ["A", "B", "C", "D", "E", "E", "F", "G", "H"]
    few = as_groups(data, targets, groups)
    fold = split_folds(few, np.zeros(9, np.bool_), 3, seed=0)
    without = folds_without(few, fold)
    assert without.shape == (3, 19)
    assert np.flatnonzero(without[:, 1]).tolist() == [fold[4]]
    assert not without[:, 0].any()
    assert without[:, 2:].all()  # no image has them: no training knows them


def test_more_folds_than_groups_are_refused(data):
    few = as_groups(data, np.ones((4, 1), np.float32), ["A", "A", "B", "B"])
    with pytest.raises(ConfigError, match=r"rounds\.folds: expected at most 2"):
        split_folds(few, np.zeros(4, np.bool_), 3, seed=0)


def test_no_fold_is_empty_however_few_the_groups(data):
    for n in (2, 3, 5):
        few = as_groups(data, np.ones((n, 2), np.float32), [f"G{i}" for i in range(n)])
        for seed in range(5):
            fold = split_folds(few, np.zeros(n, np.bool_), min(n, 3), seed=seed)
            assert set(fold) == set(range(min(n, 3)))


def test_the_file_says_split_and_fold(data, tmp_path):
    held_out = split_fields(data, 0.2, seed=0)
    fold = split_folds(data, held_out, 2, seed=0)
    plain = write_split(tmp_path / "plain.csv", data, held_out)
    both = write_split(tmp_path / "both.csv", data, held_out, fold)
    assert plain != both
    lines = (tmp_path / "both.csv").read_text().splitlines()
    assert lines[0] == "fov_id,gene,split,fold"
    for i, line in enumerate(lines[1:]):
        end = "val," if held_out[i] else f"train,{fold[i]}"
        assert line == f"{data.fov_ids[i]},{data.groups[i]},{end}"


def test_a_split_that_stands_there_is_never_replaced_by_another(data, tmp_path):
    """Continued under another library or other genes, a training was judged on what it had seen."""
    file = tmp_path / "split.csv"
    first = split_fields(data, 0.2, seed=0)
    before = write_split(file, data, first)
    assert write_split(file, data, first) == before
    with pytest.raises(OutputError, match=r"split\.csv: expected the split that is decided now"):
        write_split(file, data, split_fields(data, 0.2, seed=1))
    with pytest.raises(OutputError, match="Choose another output folder"):
        write_split(file, replace(data, groups=data.fov_ids), first)
    assert write_split(file, data, first) == before


def test_a_column_of_mixed_groups_is_called_group(data, tmp_path):
    write_split(
        tmp_path / "s.csv", replace(data, group_kind="mixed"), split_fields(data, 0, seed=0)
    )
    assert (tmp_path / "s.csv").read_text().startswith("fov_id,group,split\n")

from dataclasses import replace

import numpy as np
import pytest

from hpacells.core.errors import InputError
from hpacells.crops.store import finish_store
from hpacells.train.bags import draw_epoch
from hpacells.train.data import _group_fields, load_training_data, shuffle_targets
from hpacells.train.split import split_fields, write_split


def test_targets_and_cells_belong_to_their_fields(store, data):
    assert data.n_fields == 40
    for i, part in enumerate(store.fields()):
        cells = slice(data.offsets[i], data.offsets[i + 1])
        np.testing.assert_array_equal(data.crops[cells], part.crops)
        named = np.flatnonzero(data.targets[i])
        assert "|".join(map(str, named)) == part.metadata["image_labels"]
    assert "Aggresome" in data.absent_locations()
    assert "Cytosol" not in data.absent_locations()


def test_fields_without_label_or_cells_are_left_out_and_counted(make_store, tmp_path, monkeypatch):
    store = make_store(tmp_path / "s", 6)
    rows = store.fields_table().to_pylist()
    parts = {part.fov_id: part.crops for part in store.fields()}
    rows[1]["image_labels"] = None
    rows[2]["image_labels"] = ""
    rows[4]["n_crops"] = 0
    changed = store.fields_table().from_pylist(rows, schema=store.fields_table().schema)
    monkeypatch.setattr(type(store), "fields_table", lambda self: changed)
    data = load_training_data(store)
    assert data.fov_ids == ("f000", "f003", "f005")
    assert (data.n_unlabelled, data.n_without_cells, data.n_failed) == (2, 1, 0)
    kept = np.concatenate([parts[name] for name in data.fov_ids])
    np.testing.assert_array_equal(data.crops, kept)


def test_a_store_without_labelled_cells_is_refused(make_store, tmp_path):
    folder = make_store(tmp_path / "s", 2).path
    with pytest.raises(InputError, match="got 0 fields"):
        load_training_data(finish_store(folder, [], []))


def test_hash_follows_the_data(make_store, tmp_path, data):
    one = load_training_data(make_store(tmp_path / "one", 4))
    same = load_training_data(make_store(tmp_path / "same", 4))
    other = load_training_data(make_store(tmp_path / "other", 4, seed=1))
    assert one.data_hash == same.data_hash
    nameless = load_training_data(make_store(tmp_path / "nameless", 4, gene=False))
    hashes = {one.data_hash, other.data_hash, data.data_hash, nameless.data_hash}
    assert len(hashes) == 4  # other genes are another split


def test_shuffling_moves_labels_and_keeps_their_counts(data):
    shuffled = shuffle_targets(data, np.random.default_rng(0))
    assert not np.array_equal(shuffled.targets, data.targets)
    np.testing.assert_array_equal(shuffled.targets.sum(0), data.targets.sum(0))


def test_no_group_is_split_and_the_split_is_repeatable(data, tmp_path):
    held_out = split_fields(data, 0.2, seed=1)
    genes = np.array(data.groups)
    assert data.group_kind == "gene"
    assert not set(genes[held_out]) & set(genes[~held_out])
    assert 2 <= held_out.sum() <= 16
    np.testing.assert_array_equal(held_out, split_fields(data, 0.2, seed=1))
    hashes = {write_split(tmp_path / f"{i}.csv", data, held_out) for i in range(2)}
    assert len(hashes) == 1
    lines = (tmp_path / "0.csv").read_text().splitlines()
    assert lines[0] == "fov_id,gene,split"
    assert sum(line.endswith(",val") for line in lines) == held_out.sum()


def test_without_genes_fields_are_the_groups(make_store, tmp_path):
    data = load_training_data(make_store(tmp_path / "s", 20, gene=False))
    assert data.group_kind == "fov_id"
    held_out = split_fields(data, 0.2, seed=0)
    assert held_out.sum() == 4
    write_split(tmp_path / "split.csv", data, held_out)
    assert (tmp_path / "split.csv").read_text().startswith("fov_id,group,split")


def test_fields_that_share_an_antibody_or_a_gene_are_one_group():
    """Two antibodies of one gene once stood on both sides; one empty cell ungrouped all fields."""
    rows = [
        {"fov_id": "a", "antibody": "H2", "gene": "G1"},
        {"fov_id": "b", "antibody": "H1", "gene": "G1"},
        {"fov_id": "c", "antibody": "H1", "gene": None},
        {"fov_id": "d", "antibody": None, "gene": "G2"},
        {"fov_id": "e", "antibody": None, "gene": "G2"},
        {"fov_id": "f", "antibody": None, "gene": ""},
    ]
    assert _group_fields(rows) == (("H1", "H1", "H1", "G2", "G2", "f"), "mixed")
    assert _group_fields(rows[:5]) == (("H1", "H1", "H1", "G2", "G2"), "antibody")
    assert _group_fields(rows[3:]) == (("G2", "G2", "f"), "mixed")
    assert _group_fields(rows[3:5]) == (("G2", "G2"), "gene")
    assert _group_fields(rows[5:]) == (("f",), "fov_id")


def test_nothing_is_held_out_when_not_asked_or_too_few(make_store, tmp_path, data):
    assert not split_fields(data, 0.0, seed=0).any()
    few = load_training_data(make_store(tmp_path / "s", 6))
    assert not split_fields(few, 0.3, seed=0).any()


def test_an_epoch_draws_every_field_once_and_only_its_cells(data):
    rng = np.random.default_rng(0)
    fields = np.arange(3, 40)
    seen = []
    for batch in draw_epoch(data, fields, bag_size=7, bags_per_batch=5, rng=rng):
        for row, field in enumerate(batch.fields):
            first, stop = data.offsets[field], data.offsets[field + 1]
            cells = batch.cells[row][batch.cell_present[row]]
            assert len(cells) == len(set(cells)) == min(7, stop - first)
            assert ((cells >= first) & (cells < stop)).all()
            assert (batch.cells[row][~batch.cell_present[row]] == 0).all()
        seen.extend(batch.fields.tolist())
    assert sorted(seen) == fields.tolist()


def test_an_epoch_follows_its_generator_and_epochs_differ(data):
    def draw(seed):
        batches = draw_epoch(
            data,
            np.arange(40),
            bag_size=4,
            bags_per_batch=8,
            rng=np.random.default_rng([seed, 0]),
        )
        return np.concatenate([batch.cells for batch in batches])

    np.testing.assert_array_equal(draw(1), draw(1))
    assert not np.array_equal(draw(1), draw(2))
    drawn = np.concatenate([draw(seed) for seed in range(12)])
    assert set(drawn.ravel()) == set(range(len(data.crops)))  # no cell is left out for ever


def test_every_class_with_groups_enough_is_on_both_sides(data):
    for seed in range(4):
        held_out = split_fields(data, 0.3, seed=seed)
        assert 8 <= held_out.sum() <= 16  # about 6 of 20 genes, two fields each
        for side in (held_out, ~held_out):
            assert set(np.flatnonzero(data.targets[side].any(axis=0))) == {0, 7, 16}


def test_shuffled_labels_are_one_of_the_images_own_sets(data):
    """The control keeps each label whole: classes still stand together as they did."""
    shuffled = shuffle_targets(data, np.random.default_rng(1))
    wholes = {tuple(np.flatnonzero(row)) for row in data.targets}
    assert {tuple(np.flatnonzero(row)) for row in shuffled.targets} == wholes
    assert shuffled.groups == data.groups


@pytest.mark.parametrize(("n", "share", "wanted"), [(30, 0.1, 3), (8, 0.1, 1)])
def test_rare_locations_do_not_keep_a_share_from_being_held_out(data, n, share, wanted):
    """The stratifier rounded each rare location's share to 0, and held out nothing at all."""
    targets = np.zeros((n, data.targets.shape[1]), np.float32)
    targets[np.arange(n), np.arange(n) // 2] = 1  # two groups a location
    targets[0, 18] = 1  # and one that a single group has
    few = replace(
        data,
        fov_ids=data.fov_ids[:n],
        groups=tuple(f"G{i:02d}" for i in range(n)),
        targets=targets,
    )
    held_out = split_fields(few, share, seed=0)
    assert held_out.sum() == wanted
    assert not held_out[0]
    assert targets[~held_out].any(axis=0).sum() == targets.any(axis=0).sum()

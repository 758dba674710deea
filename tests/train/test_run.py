import csv
import json

import pyarrow.parquet as pq
import pytest
import torch

from hpacells.core.errors import ConfigError, InputError, OutputError
from hpacells.runtime.model_folder import load_model
from hpacells.train import run
from hpacells.train.config import AugmentConfig, TrainConfig
from hpacells.train.config_sections import RoundsConfig
from hpacells.train.data import load_training_data
from hpacells.train.prepare import PreparedData
from hpacells.train.run import train, train_on_store
from hpacells.train.split import split_fields


@pytest.fixture(scope="module")
def trained(store, tmp_path_factory):
    """One training of the drawn cells, long enough to learn them."""
    out = tmp_path_factory.mktemp("trained") / "model"
    config = TrainConfig(
        backbone="hpa_nfnet_pico",
        embedding_size=32,
        crop_px=24,
        pixel_size_um=0.8,
        bag_size=6,
        bags_per_batch=4,
        epochs=20,
        learning_rate=5e-3,
        augment=AugmentConfig(shift_px=1, warp_share=0.1),
        val_fraction=0.3,
        validate_every=5,
        pooling="top_mean",
    )
    summary = train_on_store(PreparedData(store), out, config, threads=1)
    return out, config, summary


def test_it_learns_an_obvious_pattern(trained):
    _, _, summary = trained
    assert summary.validation_mean_ap > 0.75  # chance is about 0.4
    assert "Aggresome" in summary.absent_locations
    assert summary.group_kind == "gene"


def test_the_folder_is_a_model_with_its_records(trained):
    out, config, summary = trained
    folder = load_model(out)
    assert folder.spec == summary.spec
    assert folder.spec.training.config == config.model_dump(mode="json")
    # the default pooling was once written whatever the training had used
    assert folder.spec.postprocessing.image_pooling == "top_mean"
    assert folder.spec.postprocessing.negative == "product"
    with (out / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [int(row["epoch"]) for row in rows] == list(range(1, 21))
    assert [i + 1 for i, row in enumerate(rows) if row["val_image_ap"]] == [5, 10, 15, 20]
    assert float(rows[-1]["loss"]) < float(rows[0]["loss"]) / 2
    assert list((out / "logs").glob("events*"))
    assert not (out / "checkpoint.pt").exists()
    content = json.loads((out / "training.json").read_text())
    counts = content["counts"]
    assert counts["fields_train"] + counts["fields_val"] == 40
    assert content["validation"]["ap"]["aggresome"] is None


def test_asked_again_it_is_finished(trained, store):
    out, config, summary = trained
    before = (out / "model.json").read_bytes()
    again = train_on_store(PreparedData(store), out, config)
    assert again.already_done
    assert again.counts == summary.counts
    assert again.validation_mean_ap == summary.validation_mean_ap
    assert (out / "model.json").read_bytes() == before


def test_another_recipe_or_other_data_in_the_same_folder_is_refused(
    trained, store, make_store, tmp_path
):
    out, config, _ = trained
    other = config.model_copy(update={"seed": 9})
    with pytest.raises(OutputError, match=r"other settings \(seed\)"):
        train_on_store(PreparedData(store), out, other)
    data = make_store(tmp_path / "s", 8)
    with pytest.raises(OutputError, match="other data"):
        train_on_store(PreparedData(data), out, config)


def test_a_folder_with_somebodys_model_is_refused(store, tiny_config, tmp_path):
    (tmp_path / "model.json").write_text("{}")
    with pytest.raises(OutputError, match="holds a model"):
        train_on_store(PreparedData(store), tmp_path, tiny_config)


def test_shuffled_labels_teach_nothing(trained, store, tmp_path):
    _, config, summary = trained
    shuffled = config.model_copy(update={"shuffle_labels": True, "epochs": 8})
    control = train_on_store(PreparedData(store), tmp_path / "m", shuffled, threads=1)
    assert control.validation_mean_ap < summary.validation_mean_ap - 0.15


def test_too_few_cells_and_bad_threads_are_named(make_store, tiny_config, tmp_path):
    store = make_store(tmp_path / "s", 1, n_cells=2)
    with pytest.raises(InputError, match=r"at least 4 cells \(bag_size\), got 2"):
        train_on_store(PreparedData(store), tmp_path / "m", tiny_config)
    before = torch.get_num_threads()
    with pytest.raises(ConfigError, match="--threads"):
        train_on_store(PreparedData(store), tmp_path / "m", tiny_config, threads=0)
    assert torch.get_num_threads() == before


def test_a_store_of_other_crops_is_refused(store, tiny_config, tmp_path):
    other = tiny_config.model_copy(update={"crop_px": 32})
    with pytest.raises(ConfigError, match="expected crops of 32 px"):
        train(store.path, tmp_path / "m", other)


def test_killed_before_the_export_it_continues_without_training_again(
    store, tiny_config, tmp_path, monkeypatch
):
    config = tiny_config.model_copy(update={"epochs": 1})
    export = run.export_model

    def killed(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(run, "export_model", killed)
    with pytest.raises(KeyboardInterrupt):
        train_on_store(PreparedData(store), tmp_path / "m", config, threads=1)
    assert (tmp_path / "m" / "checkpoint.pt").is_file()
    assert not (tmp_path / "m" / "model.json").exists()
    monkeypatch.setattr(run, "export_model", export)
    steps = []
    summary = train_on_store(
        PreparedData(store),
        tmp_path / "m",
        config,
        threads=1,
        progress=lambda done, total, what: steps.append(done),
    )
    assert steps == []
    assert not summary.already_done
    assert load_model(tmp_path / "m").spec == summary.spec
    assert not (tmp_path / "m" / "checkpoint.pt").exists()


def test_the_split_on_disk_is_the_one_that_was_used(trained, store):
    out, config, summary = trained
    data = load_training_data(store)
    held_out = split_fields(data, config.val_fraction, seed=config.seed)
    with (out / "split.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["split"] == "val" for row in rows] == held_out.tolist()
    assert [row["fov_id"] for row in rows] == list(data.fov_ids)
    genes = {side: {r["gene"] for r in rows if r["split"] == side} for side in ("train", "val")}
    assert not genes["train"] & genes["val"]
    assert summary.counts["fields_val"] == held_out.sum()


def test_a_training_with_rounds_keeps_its_folds_and_says_what_they_lack(
    make_store, tiny_config, tmp_path
):
    """One location stands in a single gene: the rule for it is told, not silent."""
    store = make_store(tmp_path / "s", 12)
    fields = store.fields_table()
    labels = fields["image_labels"].to_pylist()
    labels[4] += "|15"
    column = fields.schema.get_field_index("image_labels")
    pq.write_table(
        fields.set_column(column, fields.schema.field(column), [labels]),
        store.path / "fields.parquet",
    )
    config = tiny_config.model_copy(
        update={"epochs": 1, "rounds": RoundsConfig(n=1, folds=2, epochs=1)}
    )
    told = []
    summary = train_on_store(
        PreparedData(store),
        tmp_path / "m",
        config,
        threads=1,
        progress=lambda done, total, what: told.append(what),
    )
    assert summary.warnings[0].startswith("Aggresome: all its images are of one fold")
    assert {what.split(":")[0] for what in told} >= {
        "round 1 of 1, fold 1 of 2",
        "round 1 of 1, fold 2 of 2",
    }
    with (tmp_path / "m" / "split.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert {row["fold"] for row in rows if row["split"] == "train"} == {"0", "1"}
    content = json.loads((tmp_path / "m" / "training.json").read_text())
    split = load_model(tmp_path / "m").spec.training.split_sha256
    assert content["split_sha256"] == split
    assert len(split) == 64
    again = train_on_store(PreparedData(store), tmp_path / "m", config)
    assert (again.already_done, again.warnings) == (True, summary.warnings)


def test_settings_that_came_later_do_not_refuse_an_older_folder(store, tiny_config, tmp_path):
    data = load_training_data(store)
    run._claim(tmp_path, tiny_config, data)
    request = json.loads((tmp_path / "request.json").read_text())
    del request["config"]["rounds"]
    (tmp_path / "request.json").write_text(json.dumps(request))
    run._claim(tmp_path, tiny_config, data)
    later = tiny_config.model_copy(update={"rounds": RoundsConfig(n=1)})
    with pytest.raises(OutputError, match=r"other settings \(rounds\)"):
        run._claim(tmp_path, later, data)
    request["config"]["gone"] = 1
    (tmp_path / "request.json").write_text(json.dumps(request))
    with pytest.raises(OutputError, match=r"other settings \(gone, rounds\)"):
        run._claim(tmp_path, tiny_config, data)


def test_nothing_held_out_though_asked_for_is_told(make_store, tiny_config, tmp_path):
    store = make_store(tmp_path / "s", 4)  # two genes
    config = tiny_config.model_copy(update={"epochs": 1})
    summary = train_on_store(PreparedData(store), tmp_path / "m", config, threads=1)
    assert summary.warnings == (
        "Nothing is held out: too few groups of fields (gene) for val_fraction 0.2.",
    )
    assert summary.validation_mean_ap is None


def test_without_genes_near_copies_are_the_groups(make_store, tiny_config, tmp_path, monkeypatch):
    store = make_store(tmp_path / "s", 8, gene=False)
    config = tiny_config.model_copy(update={"epochs": 1})
    summary = train_on_store(PreparedData(store), tmp_path / "m", config, threads=1)
    assert summary.group_kind == "near_duplicates"
    header = (tmp_path / "m" / "split.csv").read_text().splitlines()[0]
    assert header == "fov_id,near_duplicates,split"
    monkeypatch.setattr(run, "group_near_duplicates", None)  # a finished folder looks for none
    again = train_on_store(PreparedData(store), tmp_path / "m", config)
    assert (again.already_done, again.group_kind) == (True, "near_duplicates")


def test_a_training_with_another_split_than_it_began_with_is_refused(
    store, tiny_config, tmp_path, monkeypatch
):
    def killed(*arguments, **more):
        raise KeyboardInterrupt

    monkeypatch.setattr(run, "train_classifier", killed)
    with pytest.raises(KeyboardInterrupt):
        train_on_store(PreparedData(store), tmp_path, tiny_config, threads=1)
    file = tmp_path / "split.csv"
    file.write_text(file.read_text().replace(",val", ",train", 1))
    with pytest.raises(OutputError, match=r"split\.csv: expected the split that is decided now"):
        train_on_store(PreparedData(store), tmp_path, tiny_config, threads=1)


def test_other_weights_under_the_same_name_are_refused(store, tiny_config, tmp_path):
    file = tmp_path / "weights.safetensors"
    config = tiny_config.model_copy(update={"weights": file})
    data = load_training_data(store)
    out = tmp_path / "model"
    out.mkdir()
    file.write_bytes(b"one")
    run._claim(out, config, data)
    assert len(json.loads((out / "request.json").read_text())["weights_sha256"]) == 64
    file.write_bytes(b"other")
    with pytest.raises(OutputError, match="a training with other weights"):
        run._claim(out, config, data)
    file.unlink()  # a finished training does not need it any more
    run._claim(out, config, data)

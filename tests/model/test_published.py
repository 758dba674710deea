"""Published classifiers from a server to a run folder, by the command line, and what goes wrong."""

import pickle
import shutil
import threading

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from hpacells.cli import models as models_command
from hpacells.cli.app import main
from hpacells.model import published
from hpacells.model.subcell import SubcellEncoder
from hpacells.runtime.cache import cache_lock
from hpacells.runtime.model_folder import load_model
from hpacells.train.architecture import build_network, recorded_weights
from hpacells.train.config import TrainConfig


def run(*arguments):
    with pytest.raises(SystemExit) as ended:
        main([str(argument) for argument in arguments])
    return ended.value.code


def left(entry):
    """What there is of a model in the cache, but for hashes of first sight."""
    paths = entry.folder.parent.rglob("*")
    return sorted(path.name for path in paths if path.suffix != ".sha256")


def no_server(serve):
    shutil.rmtree(serve[0])


def test_from_the_server_to_a_run_folder_and_back(
    publish_subcell, serve, write_quadruplet, tmp_path, capsys
):
    entry, _ = publish_subcell(n_heads=1)
    assert run("run", tmp_path, tmp_path / "out", "--model", entry.name) == 2
    assert "hpacells models install small-subcell" in capsys.readouterr().err

    assert run("models", "install", entry.name) == 0
    told = capsys.readouterr().out
    assert told.index("Licence: MIT. Cite: nobody.") < told.index("fetching http://127.0.0.1")
    assert "model.onnx, model.safetensors, terms.onnx are whole" in told
    assert left(entry) == ["model", "model.json", "model.onnx", "model.safetensors", "terms.onnx"]
    no_server(serve)  # from here on there is no network

    write_quadruplet(tmp_path / "images", "f", seed=1, shape=(150, 200), pixel_size_um=0.64)
    asked = ("run", tmp_path / "images", tmp_path / "out", "--model", entry.name)
    asked += ("--pixel-size-um", 0.64, "--workers", 1, "--segmenter", "watershed")
    assert run(*asked) == 0
    told = capsys.readouterr().out
    assert "1 fields, model small-subcell, 1 worker(s)" in told
    assert f"cell by cell: {tmp_path / 'out' / 'terms.parquet'}" in told
    terms = pq.read_table(tmp_path / "out" / "terms.parquet")
    cells = pq.read_table(tmp_path / "out" / "cells.parquet")
    assert terms["cell_id"].to_pylist() == cells["cell_id"].to_pylist()
    assert [name for name in cells.column_names if name.startswith("term_")] == []
    assert terms.num_columns == 33
    np.testing.assert_allclose(
        np.maximum(terms["term_centrosome"], terms["term_centriolar_satellite"]),
        cells["p_centrosome"],
        atol=1e-5,
    )
    embedding = pq.read_table(tmp_path / "out" / "embeddings.parquet")["embedding"]
    assert len(embedding[0]) == 1536

    capsys.readouterr()
    assert run(*asked[:2], tmp_path / "out2", *asked[3:], "--missing", "yellow") == 2
    assert "it looks at yellow, which --missing says is not there" in capsys.readouterr().err
    assert run(*asked[:2], tmp_path / "out2", "--model", entry.folder, "--missing", "red") == 2
    assert "there is no red. Take one that does without" in capsys.readouterr().err

    shutil.copytree(entry.folder, tmp_path / "stick")
    assert run("models", "install", entry.name) == 0
    assert "nothing to do" in capsys.readouterr().out
    assert run("models", "list", entry.name) == 0
    assert "installed yes" in capsys.readouterr().out
    assert run("models", "remove", entry.name) == 0
    assert not entry.folder.parent.exists()
    assert run("models", "verify", entry.name) == 2
    assert run("models", "install", entry.name, "--from", tmp_path / "stick") == 0
    assert load_model(entry.folder).spec.name == entry.name
    (entry.folder / "terms.onnx").write_bytes(b"damaged")
    capsys.readouterr()
    assert run("models", "verify", entry.name) == 2
    assert "terms.onnx: expected sha256" in capsys.readouterr().err


class Evil:
    def __reduce__(self):
        return (print, ("it ran",))


def test_a_file_that_would_run_code_is_refused_and_does_not_run(publish_subcell, serve, capfd):
    entry, _ = publish_subcell(n_heads=1)
    with (serve[0] / "encoder.pth").open("wb") as file:
        torch.save({"encoder.embeddings.cls_token": Evil()}, file)
    assert run("models", "install", entry.name) == 2
    told = capfd.readouterr()
    assert "a PyTorch file with nothing but tensors" in told.err
    assert "it ran" not in told.out + told.err
    assert "model" not in left(entry)
    (serve[0] / "encoder.pth").write_bytes(pickle.dumps(Evil()))
    run("models", "remove", entry.name)
    assert run("models", "install", entry.name) == 2
    told = capfd.readouterr()
    assert "it ran" not in told.out + told.err


def test_without_a_network_or_a_file_nothing_is_installed(publish_subcell, serve, tmp_path, capsys):
    entry, _ = publish_subcell(n_heads=1)
    (serve[0] / "classifier_seed_0.pth").rename(tmp_path / "elsewhere")
    assert run("models", "install", entry.name) == 2
    told = capsys.readouterr().err
    assert "classifier_seed_0.pth: cannot be fetched" in told
    assert "put it by hand at" in told
    assert left(entry) == ["encoder.pth"]  # whole, and not fetched again
    (tmp_path / "partly").mkdir()
    assert run("models", "install", entry.name, "--from", tmp_path / "partly") == 2
    assert "expected the file classifier_seed_0.pth there" in capsys.readouterr().err
    assert run("models", "install", entry.name, "--from", tmp_path / "nowhere") == 2
    assert "expected a folder" in capsys.readouterr().err
    assert run("models", "verify", "--from", tmp_path) == 2
    assert "only 'models install NAME'" in capsys.readouterr().err


def test_published_files_from_a_folder(publish_subcell, serve, tmp_path, monkeypatch):
    entry, _ = publish_subcell(n_heads=1)
    serve[0].rename(tmp_path / "stick")
    monkeypatch.setattr(published, "_convert", lambda model, files, folder, tell: folder.mkdir())
    monkeypatch.setattr(published, "load_model", lambda folder: folder)
    done = published.install_classifier(entry, tell=str, source=tmp_path / "stick")
    assert done == entry.folder
    assert left(entry) == ["model"]


def test_a_conversion_that_fails_leaves_the_files_and_no_folder(publish_subcell, monkeypatch):
    entry, _ = publish_subcell(n_heads=1)

    def fail(model, files, folder, tell):
        folder.mkdir()
        raise OSError("full")

    monkeypatch.setattr(published, "_convert", fail)
    with pytest.raises(OSError, match="full"):
        published.install_classifier(entry, tell=str)
    assert left(entry) == ["classifier_seed_0.pth", "encoder.pth"]


def test_two_at_once_install_once(publish_subcell, monkeypatch):
    entry, _ = publish_subcell(n_heads=1)
    made, told = [], []

    def convert(model, files, folder, tell):
        made.append(folder)
        folder.mkdir()
        (folder / "model.json").write_text("{}")

    monkeypatch.setattr(published, "_convert", convert)
    monkeypatch.setattr(published, "load_model", lambda folder: folder)

    def install():
        published.install_classifier(entry, tell=told.append)

    with cache_lock(entry.name):
        threads = [threading.Thread(target=install) for _ in range(2)]
        for thread in threads:
            thread.start()
        for _ in range(200):
            if sum("waiting" in line for line in told) == 2:
                break
            threading.Event().wait(0.05)
        assert made == []
    for thread in threads:
        thread.join()
    assert len(made) == 1


def test_without_torch_it_says_what_to_install(publish_subcell, monkeypatch, capsys):
    entry, _ = publish_subcell(n_heads=1)
    monkeypatch.setattr(models_command, "find_spec", lambda name: None)
    assert run("models", "install", entry.name) == 2
    assert "'.[train]'" in capsys.readouterr().err


def test_a_folder_of_another_model_is_not_taken(publish_subcell, tiny_model_folder, capsys):
    entry, _ = publish_subcell(n_heads=1)
    assert run("models", "install", entry.name, "--from", tiny_model_folder) == 2
    assert "expected the model small-subcell, got tiny" in capsys.readouterr().err
    assert not entry.folder.exists()


def test_installed_weights_are_a_backbone_by_their_name(publish_subcell, tmp_path, monkeypatch):
    entry, _ = publish_subcell(n_heads=1)
    published.install_classifier(entry, tell=str)
    config = TrainConfig(
        backbone="subcell",
        backbone_kwargs={"depth": 1},
        weights=entry.name,
        freeze=True,
        crop_px=64,
        drop_path=0,
    )
    network = build_network(config)
    whole = SubcellEncoder(4, crop_px=64, depth=1)
    whole.load(tmp_path / "served" / "encoder.pth")
    for name, tensor in whole.state_dict().items():
        assert torch.equal(network.backbone.state_dict()[name], tensor), name
    assert len(recorded_weights(config)["weights_sha256"]) == 64

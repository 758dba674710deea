"""A head trained on what a frozen backbone makes of the cells: computed once, the same network."""

import json

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from hpacells.core.errors import ConfigError, ModelError
from hpacells.model.export import load_classifier
from hpacells.model.network import CellClassifier
from hpacells.train import features
from hpacells.train.architecture import build_network
from hpacells.train.config import TrainConfig, read_train_config
from hpacells.train.features import with_cached_features
from hpacells.train.prepare import PreparedData
from hpacells.train.run import train_on_store


@pytest.fixture
def config(tmp_path):
    """A recipe on a frozen backbone of weights that were made elsewhere."""
    torch.manual_seed(3)
    made = CellClassifier("hpa_nfnet_pico", crop_px=24, encoder_input="cell_contrast")
    save_file(made.state_dict(), tmp_path / "weights.safetensors")
    return TrainConfig(
        backbone="hpa_nfnet_pico",
        weights=tmp_path / "weights.safetensors",
        freeze="cached",
        crop_px=24,
        pixel_size_um=0.8,
        embedding_size=32,
        bag_size=4,
        epochs=3,
        val_fraction=0.2,
        teacher={"weight": 0},  # whose targets would change the loss half way
    )


def test_they_are_the_backbones_and_computed_once(data, config, tmp_path, monkeypatch):
    monkeypatch.setattr(features, "_BLOCK", 100)
    told = []
    first = with_cached_features(data, config, tmp_path, progress=lambda *now: told.append(now))
    assert told[-1] == (len(data.crops), len(data.crops), "features")
    assert first.crops.shape[0] == first.cell_masks.shape[0] == len(data.crops)
    network = build_network(config).eval()
    with torch.no_grad():
        planes = network.prepare(
            torch.from_numpy(data.crops[:5]), torch.from_numpy(data.cell_masks[:5])
        )
        expected = network.backbone(planes).numpy()
    np.testing.assert_allclose(first.crops[:5], expected, atol=1e-5)

    blocks = sorted((tmp_path / "features").rglob("*.npy"))
    assert len(blocks) == -(-len(data.crops) // 100)
    blocks[1].unlink()  # a killed computation
    asked = []
    monkeypatch.setattr(
        features, "build_network", lambda config: asked.append(config) or build_network(config)
    )
    again = with_cached_features(data, config, tmp_path)
    np.testing.assert_array_equal(again.crops, first.crops)
    assert len(asked) == 1
    with_cached_features(data, config, tmp_path)
    assert len(asked) == 1
    other = config.model_copy(update={"outside": "keep"})
    assert np.abs(with_cached_features(data, other, tmp_path).crops - first.crops).max() > 1e-3


def test_a_training_on_them_gives_a_whole_model(make_store, config, tmp_path):
    store = make_store(tmp_path / "store", 30)
    train_on_store(PreparedData(store), tmp_path / "out", config, threads=1)
    network, spec = load_classifier(tmp_path / "out")
    kept = build_network(config)
    for name, tensor in kept.backbone.state_dict().items():
        assert torch.equal(network.backbone.state_dict()[name], tensor), name
    assert not torch.equal(network.head.weight, kept.head.weight)
    assert spec.training.config["freeze"] == "cached"
    rows = (tmp_path / "out" / "metrics.csv").read_text().splitlines()
    losses = [float(row.split(",")[rows[0].split(",").index("loss")]) for row in rows[1:]]
    assert losses[-1] < losses[0]
    request = json.loads((tmp_path / "out" / "request.json").read_text())
    assert request["weights_sha256"]


@pytest.mark.parametrize("change", [{"augment": "weak"}, {"mix": {"mixup": 0.1}}])
def test_changes_of_single_cells_are_refused(change, config):
    kept = {"weights": config.weights, "freeze": "cached"}
    with pytest.raises(ConfigError, match=f"{next(iter(change))} would do nothing"):
        read_train_config(None, **kept, **change)


def test_weights_by_the_name_of_a_model_that_is_not_installed(tmp_path, monkeypatch):
    monkeypatch.setenv("HPACELLS_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    config = TrainConfig(backbone="subcell", weights="subcell-vit", freeze=True, crop_px=64)
    with pytest.raises(ModelError, match="hpacells models install subcell-vit"):
        build_network(config)

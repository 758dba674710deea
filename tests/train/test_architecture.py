import hashlib
import json

import pytest
import torch
from pydantic import ValidationError
from safetensors.torch import save_file

from hpacells.core.errors import ModelError
from hpacells.model import export
from hpacells.model.export import build_classifier, export_model, load_classifier
from hpacells.model.network import NORMALISATION
from hpacells.model.pretrained import read_weights
from hpacells.model.timm_parts import create_model
from hpacells.runtime.model_folder import (
    WEIGHTS_FILE,
    Architecture,
    ModelSpec,
    Training,
    load_model,
)
from hpacells.runtime.registry import resolve_model
from hpacells.train.architecture import architecture_kwargs, build_network, recorded_weights
from hpacells.train.config import TrainConfig


@pytest.fixture(scope="module")
def rgb_file(tmp_path_factory):
    file = tmp_path_factory.mktemp("weights") / "test_resnet.safetensors"
    save_file(create_model("test_resnet", pretrained=False, num_classes=7).state_dict(), file)
    return file


def make_config(**fields):
    return TrainConfig(
        backbone="test_resnet", crop_px=32, pixel_size_um=0.5, embedding_size=16, **fields
    )


def make_spec(config):
    return ModelSpec(
        name="tiny",
        version="1",
        architecture=Architecture(backbone=config.backbone, kwargs=architecture_kwargs(config)),
        crop_px=config.crop_px,
        pixel_size_um=config.pixel_size_um,
        normalisation=NORMALISATION,
        embedding_size=config.embedding_size,
        training=Training(data_hash="0", n_fields=1, seed=0),
        licence="BSD-3-Clause",
    )


def make_cells(n=6):
    generator = torch.Generator().manual_seed(3)
    crops = torch.randint(0, 256, (n, 4, 32, 32), generator=generator, dtype=torch.uint8)
    return crops, torch.ones(n, 32, 32)


def test_a_frozen_backbone_stays_as_its_file_is(rgb_file):
    # batch statistics, dropout and weights: only the head moves
    network = build_network(make_config(weights=rgb_file, freeze=True, drop_path=0.1))
    before = {name: value.clone() for name, value in network.state_dict().items()}
    optimizer = torch.optim.SGD([p for p in network.parameters() if p.requires_grad], lr=0.5)
    network.train()
    assert network.training
    assert not any(module.training for module in network.backbone.modules())
    for _ in range(2):
        logits, _ = network(*make_cells())
        logits.square().mean().backward()
        optimizer.step()
    moved = {name for name, value in network.state_dict().items() if (value != before[name]).any()}
    assert moved == {"embed.weight", "embed.bias", "head.weight", "head.bias"}
    assert all(parameter.grad is None for parameter in network.backbone.parameters())


def test_without_freezing_the_backbone_learns(rgb_file):
    network = build_network(make_config(weights=rgb_file)).train()
    network(*make_cells())[0].square().mean().backward()
    assert all(parameter.grad is not None for parameter in network.backbone.parameters())
    assert network.backbone.bn1.training


def test_freezing_needs_weights():
    with pytest.raises(ValidationError, match=r"freeze: .*weights"):
        make_config(freeze=True)


def test_what_the_encoder_is_given_is_written_down(rgb_file):
    assert architecture_kwargs(make_config())["encoder_input"] == "cell_contrast"
    assert architecture_kwargs(make_config(weights=rgb_file))["encoder_input"] == "photograph"
    chosen = make_config(weights=rgb_file, encoder_input="stains")
    assert architecture_kwargs(chosen)["encoder_input"] == "stains"


def test_a_model_folder_needs_no_pretrained_file(rgb_file, tmp_path, monkeypatch):
    # the graph itself: tests/model/test_export.py
    monkeypatch.setattr(export, "_write_graph", lambda model, path: path.write_bytes(b"graph"))
    monkeypatch.setattr(export, "strip_notes", lambda path: None)
    monkeypatch.setattr(export, "_check_graph", lambda path, model: None)
    config = make_config(weights=rgb_file)
    network = build_network(config).eval()
    spec = export_model(network, make_spec(config), tmp_path)
    assert "mean 0.5" in spec.normalisation
    assert json.loads((tmp_path / "model.json").read_text())["normalisation"] == spec.normalisation
    assert "weights" not in spec.architecture.kwargs
    again, _ = load_classifier(tmp_path)
    with torch.no_grad():
        torch.testing.assert_close(again(*make_cells()), network(*make_cells()))


def test_weights_are_known_by_their_content(rgb_file, tmp_path):
    kept = recorded_weights(make_config(weights=rgb_file))
    assert kept == {"weights_sha256": hashlib.sha256(rgb_file.read_bytes()).hexdigest()}
    assert recorded_weights(make_config()) == {}
    assert recorded_weights(make_config(weights=tmp_path / "gone.safetensors")) == {}


def test_model_folders_from_before_get_what_they_were_trained_on():
    spec = make_spec(make_config())
    old = spec.model_copy(update={"architecture": Architecture(backbone="test_resnet", kwargs={})})
    assert build_classifier(old).input.words == NORMALISATION


def test_a_whole_model_is_gone_on_with(tmp_path):
    config = make_config()
    trained = build_network(config)
    with torch.no_grad():
        trained.head.weight.add_(1.0)
    file = tmp_path / "model.safetensors"
    save_file(trained.state_dict(), file)
    again = build_network(make_config(weights=file, weights_of="whole"))
    for name, value in trained.state_dict().items():
        assert torch.equal(again.state_dict()[name], value), name
    with pytest.raises(ModelError, match="another architecture"):
        build_network(
            TrainConfig(
                backbone="test_resnet",
                crop_px=32,
                pixel_size_um=0.5,
                embedding_size=24,
                weights=file,
                weights_of="whole",
            )
        )
    with pytest.raises(ValidationError, match="weights_of: 'whole' starts from"):
        make_config(weights_of="whole")


def test_a_shipped_model_is_gone_on_with_by_its_name():
    spec = load_model(resolve_model("nfnet-sim")).spec
    recipe = TrainConfig.model_validate(spec.training.config | {"weights": "nfnet-sim"})
    network = build_network(recipe.model_copy(update={"weights_of": "whole"}))
    kept = read_weights(resolve_model("nfnet-sim") / WEIGHTS_FILE)
    assert all(torch.equal(value, kept[name]) for name, value in network.state_dict().items())

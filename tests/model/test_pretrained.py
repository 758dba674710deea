import pickle
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from hpacells.core.errors import ModelError
from hpacells.model.backbone import build_backbone
from hpacells.model.encoder_input import STEM_PLANES
from hpacells.model.pretrained import read_weights
from hpacells.model.timm_parts import create_model

STEMS = {
    "test_nfnet": "stem.conv1.weight",
    "test_convnext": "stem.0.weight",
    "test_vit": "patch_embed.proj.weight",
    "test_resnet": "conv1.0.weight",
    "test_efficientnet": "conv_stem.weight",
}


def published(name, *, n_classes=10, **kwargs):
    """A three-channel network with a head, as timm publishes them."""
    model = create_model(name, pretrained=False, num_classes=n_classes, **kwargs)
    return {key: value.clone() for key, value in model.state_dict().items()}


@pytest.mark.parametrize("suffix", ["safetensors", "pth"])
@pytest.mark.parametrize("name", STEMS)
def test_rgb_weights_become_those_of_four_stains(tmp_path, name, suffix):
    state = published(name)
    file = tmp_path / f"{name}.{suffix}"
    if suffix == "pth":
        torch.save({"state_dict": state}, file)
    else:
        save_file(state, file)
    native = 160  # of timm's test networks
    got = build_backbone(name, crop_px=native, weights=file).state_dict()
    stem = got.pop(STEMS[name])
    for stain, plane in enumerate(STEM_PLANES):
        torch.testing.assert_close(stem[:, stain], 0.75 * state[STEMS[name]][:, plane])
    assert all(torch.equal(value, state[key]) for key, value in got.items())
    assert 0 < len(state) - 1 - len(got) <= 2, "only the head is left out"


def test_the_stems_response_keeps_its_size(tmp_path):
    state = published("test_convnext")
    save_file(state, tmp_path / "w.safetensors")
    stem = build_backbone("test_convnext", weights=tmp_path / "w.safetensors").stem[0]
    rgb = torch.nn.Conv2d(3, stem.out_channels, stem.kernel_size, stem.stride, stem.padding)
    rgb.load_state_dict({part: state[f"stem.0.{part}"] for part in ("weight", "bias")})
    generator = torch.Generator().manual_seed(0)
    for shared in (True, False):  # one picture in all planes, and one of its own in each
        planes = torch.rand(2, 1 if shared else 4, 40, 40, generator=generator).expand(2, 4, 40, 40)
        assert 0.7 < stem(planes).std() / rgb(planes[:, :3]).std() < 1.4


def test_positions_of_a_vit_are_interpolated_to_the_crop(tmp_path):
    save_file(published("test_vit"), tmp_path / "w.safetensors")
    small = build_backbone("test_vit", crop_px=96, weights=tmp_path / "w.safetensors")
    assert small(torch.zeros(1, 4, 96, 96)).shape == (1, 64)
    assert small.pos_embed.shape[1] == 1 + 6 * 6


def test_weights_of_another_network_are_refused_by_name(tmp_path):
    file = tmp_path / "w.safetensors"
    save_file(published("test_resnet"), file)
    with pytest.raises(
        ModelError, match=r"another architecture.*test_nfnet.*Missing.*stem"
    ) as told:
        build_backbone("test_nfnet", weights=file)
    assert "Unexpected" in str(told.value)
    assert len(str(told.value)) < 800
    with pytest.raises(ModelError, match="another architecture"):
        build_backbone("test_vit", weights=file)


@pytest.mark.parametrize("change", ["missing", "unexpected", "shape"])
def test_a_single_wrong_tensor_is_named(tmp_path, change):
    state = published("test_nfnet")
    name = next(key for key in state if key.startswith("stages.1.") and key.endswith("weight"))
    if change == "missing":
        del state[name]
    elif change == "shape":
        state[name] = state[name][:1].clone()
    else:
        name, state["stages.9.wings"] = "stages.9.wings", torch.zeros(2)
    save_file(state, tmp_path / "w.safetensors")
    with pytest.raises(ModelError, match=name):
        build_backbone("test_nfnet", weights=tmp_path / "w.safetensors")


def test_weights_that_are_not_finite_are_refused(tmp_path):
    state = published("test_nfnet")
    state["stem.conv1.weight"][0, 0, 0, 0] = torch.nan
    save_file(state, tmp_path / "w.safetensors")
    with pytest.raises(ModelError, match=r"finite.*stem\.conv1\.weight"):
        read_weights(tmp_path / "w.safetensors")


class Malicious:
    """A pickle that writes a file when it is loaded."""

    def __init__(self, target):
        self.target = target

    def __reduce__(self):
        return Path.touch, (self.target,)


@pytest.mark.parametrize("wrapped", [True, False])
def test_a_malicious_pickle_is_refused_and_nothing_in_it_runs(tmp_path, wrapped):
    file, target = tmp_path / "evil.pth", tmp_path / "written"
    if wrapped:
        torch.save({"state_dict": Malicious(target)}, file)
    else:
        file.write_bytes(pickle.dumps(Malicious(target), protocol=2))
    with pytest.raises(ModelError, match="nothing but tensors"):
        read_weights(file)
    assert not target.exists()


@pytest.mark.parametrize("name", ["w.safetensors", "w.pth"])
@pytest.mark.parametrize("content", [b"", b"no weights at all"])
def test_files_of_another_kind_are_refused(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ModelError, match=name):
        read_weights(tmp_path / name)


def test_a_missing_file_and_a_file_without_tensors_are_refused(tmp_path):
    with pytest.raises(ModelError, match="there is none"):
        read_weights(tmp_path / "w.pth")
    torch.save({"epoch": 3}, tmp_path / "w.pth")
    with pytest.raises(ModelError, match=r"tensors by name, got epoch"):
        read_weights(tmp_path / "w.pth")
    torch.save({}, tmp_path / "w.pth")
    with pytest.raises(ModelError, match="got none"):
        read_weights(tmp_path / "w.pth")
    torch.save([1, 2], tmp_path / "w.pth")
    with pytest.raises(ModelError, match="something else"):
        read_weights(tmp_path / "w.pth")

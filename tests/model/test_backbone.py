import pytest
import torch

from hpacells.core.errors import ConfigError, ModelError
from hpacells.model.backbone import build_backbone, feature_size
from hpacells.model.network import CellClassifier

FAMILIES = [
    "dm_nfnet_f0",
    "nfnet_l0",
    "eca_nfnet_l0",
    "efficientnet_b0",
    "tf_efficientnetv2_b0",
    "convnext_atto",
    "convnextv2_atto",
    "resnest14d",
    "seresnext26d_32x4d",
    "swin_tiny_patch4_window7_224",
    "swinv2_tiny_window8_256",
    "vit_tiny_patch16_224",
]
LARGE = [*(f"dm_nfnet_f{i}" for i in range(1, 7)), "eca_nfnet_l1", "eca_nfnet_l2"]


def shape_of_features(name, crop_px):
    """On the meta device: shapes only, whatever the network's size."""
    with torch.device("meta"):
        backbone = build_backbone(name, crop_px=crop_px, drop_path=0.05).eval()
        return backbone(torch.zeros(2, 4, crop_px, crop_px)).shape


@pytest.mark.parametrize("name", FAMILIES)
def test_families_take_four_stains(name):
    n, size = shape_of_features(name, 96)
    assert (n, size % 64) == (2, 0)


@pytest.mark.slow
@pytest.mark.parametrize("name", [*FAMILIES, *LARGE])
def test_large_networks_and_crops_of_other_sizes(name):
    assert shape_of_features(name, 112) == shape_of_features(name, 128)


def test_a_network_without_drop_path_is_built_where_none_is_asked_for():
    with torch.device("meta"):
        build_backbone("densenet121", crop_px=64)
        with pytest.raises(ConfigError, match="drop_path"):
            build_backbone("densenet121", crop_px=64, drop_path=0.05)


@pytest.mark.parametrize("name", ["resnet10t", "hpa_nfnet_pico", "subcell"])
@pytest.mark.parametrize(
    "key",
    [
        "pretrained",
        "pretrained_cfg",
        "pretrained_cfg_overlay",
        "checkpoint_path",
        "cache_dir",
        "features_only",
        "num_classes",
        "in_chans",
    ],
)
def test_nothing_is_downloaded_or_loaded_past_the_checks(name, key):
    with pytest.raises(ConfigError, match=rf"backbone_kwargs: {key} cannot .*'weights'"):
        build_backbone(name, crop_px=64, **{key: True})


@pytest.mark.parametrize("name", ["vit_small_patch14_dinov2", "subcell"])
def test_crops_whose_edge_no_patch_would_see_are_refused(name):
    with torch.device("meta"), pytest.raises(ConfigError, match=r"multiple of 1[46]"):
        build_backbone(name, crop_px=100)


def test_crops_that_a_network_cannot_divide_are_refused():
    backbone = build_backbone("test_convnext", crop_px=64)
    assert feature_size(backbone, 64) == 64
    with pytest.raises(ConfigError, match="crops of 2 px"):
        feature_size(backbone, 2)


@pytest.mark.parametrize("name", ["test_vit", "test_convnext", "test_nfnet", "hpa_nfnet_pico"])
def test_only_the_classifiers_last_layer_is_spared_by_clipping(name):
    # gradients of parameters whose names begin with 'head.' aren't clipped
    model = CellClassifier(name, crop_px=64)
    spared = [name for name, _ in model.named_parameters() if name.startswith("head.")]
    assert spared == ["head.weight", "head.bias"]


def test_our_own_networks_start_from_a_trained_classifier(tmp_path):
    trained = CellClassifier("hpa_nfnet_pico", crop_px=32)
    file = tmp_path / "model.pth"
    torch.save(trained.state_dict(), file)
    again = build_backbone("hpa_nfnet_pico", weights=file)
    for key, value in trained.backbone.state_dict().items():
        assert torch.equal(again.state_dict()[key], value)
    with pytest.raises(ModelError, match="another architecture"):
        build_backbone("hpa_nfnet_nano", weights=file)

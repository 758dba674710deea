import pytest
import torch

from hpacells.core.errors import ConfigError
from hpacells.core.locations import N_LOCATIONS
from hpacells.model.backbone import OWN_BACKBONES, build_backbone, feature_size
from hpacells.model.network import CellClassifier


def make_network(outside="zero"):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return CellClassifier("hpa_nfnet_pico", crop_px=32, outside=outside).eval()


def make_cells(n=3, side=32):
    generator = torch.Generator().manual_seed(1)
    crops = torch.randint(0, 256, (n, 4, side, side), generator=generator, dtype=torch.uint8)
    masks = torch.zeros((n, side, side), dtype=torch.uint8)
    masks[:, 8:24, 6:20] = 1
    return crops, masks


@pytest.mark.parametrize("name", [*OWN_BACKBONES, "test_nfnet", "test_convnext"])
def test_every_backbone_gives_as_many_features_as_it_says(name):
    backbone = build_backbone(name, drop_path=0.1)
    assert backbone(torch.zeros(2, 4, 64, 64)).shape == (2, feature_size(backbone, 64))
    assert backbone.training


def test_own_backbones_hold_no_batch_statistics():
    for name in OWN_BACKBONES:
        assert not list(build_backbone(name).buffers())


def test_an_unknown_backbone_is_refused():
    with pytest.raises(ConfigError, match="hpa_nfnet_nano"):
        build_backbone("resnet9000")


@pytest.mark.parametrize("name", ["hpa_nfnet_pico", "resnet10t"])
def test_arguments_that_a_backbone_does_not_take_are_named(name):
    # a recipe's wrong backbone_kwargs once ended in a traceback
    with pytest.raises(ConfigError, match=r"backbone_kwargs: .*wings"):
        build_backbone(name, wings=2)


def test_shapes_and_types():
    logits, embedding = make_network()(*make_cells())
    assert logits.shape == (3, N_LOCATIONS)
    assert embedding.shape == (3, 128)
    assert logits.dtype == torch.float32


def test_input_is_the_square_root_of_the_grey_value_inside_the_cell():
    crops = torch.tensor([0, 255, 64]).view(1, 1, 1, 3).expand(1, 4, 2, 3)
    masks = torch.tensor([[[1, 1, 1], [1, 0, 1]]])
    expected = torch.tensor([[0.0, 4.0, 2.004], [0.0, 0.0, 2.004]])
    prepared = make_network().prepare(crops.to(torch.uint8), masks)
    torch.testing.assert_close(prepared[0, 2], expected, atol=1e-3, rtol=0)
    kept = make_network("keep").prepare(crops.to(torch.uint8), masks)
    torch.testing.assert_close(kept[0, 2, 1, 1], torch.tensor(4.0))


@torch.no_grad()
def test_neighbours_influence_a_cell_only_where_they_are_kept():
    crops, masks = make_cells()
    changed = torch.where(masks.bool().unsqueeze(1), crops, 255 - crops)
    zero, keep = make_network("zero"), make_network("keep")
    torch.testing.assert_close(zero(crops, masks)[0], zero(changed, masks)[0])
    assert (keep(crops, masks)[0] - keep(changed, masks)[0]).abs().max() > 1e-3


@torch.no_grad()
def test_a_cell_alone_gets_what_it_gets_in_company():
    crops, masks = make_cells(5)
    model = make_network().train()
    model.drop.p = 0.0
    together = model(crops, masks)[0]
    alone = torch.cat([model(crops[i : i + 1], masks[i : i + 1])[0] for i in range(5)])
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=1e-4)


def test_options_of_a_recipe_reach_the_backbone():
    mean_only = build_backbone("hpa_nfnet_pico", global_pool="avg")
    assert 2 * feature_size(mean_only, 32) == feature_size(build_backbone("hpa_nfnet_pico"), 32)
    paths = {type(module).__name__ for module in build_backbone("hpa_nfnet_nano").modules()}
    dropping = build_backbone("hpa_nfnet_nano", drop_path=0.2)
    assert "DropPath" not in paths
    assert "DropPath" in {type(module).__name__ for module in dropping.modules()}


def test_a_new_network_says_that_most_classes_are_absent():
    logits, _ = make_network()(*make_cells())
    assert (logits.sigmoid() < 0.3).all()


def test_dropout_acts_in_training_only():
    model = CellClassifier("hpa_nfnet_pico", crop_px=32, dropout=0.5)
    crops, masks = make_cells()
    with torch.no_grad():
        model.eval()
        assert torch.equal(model(crops, masks)[0], model(crops, masks)[0])
        model.train()
        assert not torch.equal(model(crops, masks)[0], model(crops, masks)[0])


@pytest.mark.parametrize(
    ("views", "turns", "same"),
    [(8, 1, True), (8, 3, True), (4, 2, True), (4, 1, False), (2, 0, True)],
)
def test_averaged_views_don_t_care_how_a_cell_lies(views, turns, same):
    model = make_network()
    model.views = views
    crops, masks = make_cells()
    turned = crops.rot90(turns, (2, 3)).flip(3), masks.rot90(turns, (1, 2)).flip(2)
    for straight, other in zip(model(crops, masks), model(*turned), strict=True):
        assert torch.allclose(straight, other, atol=1e-5) == same


def test_views_average_the_embedding_in_use_and_cost_nothing_in_training():
    one, four = make_network(), make_network()
    four.views = 4
    crops, masks = make_cells()
    forms = [(crops.rot90(turns, (2, 3)), masks.rot90(turns, (1, 2))) for turns in (0, 2)]
    forms += [(c.flip(3), m.flip(2)) for c, m in forms]
    mean = torch.stack([one(c, m)[1] for c, m in forms]).mean(dim=0)
    logits, embedding = four(crops, masks)
    torch.testing.assert_close(embedding, mean, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(logits, one.head(mean), atol=1e-5, rtol=1e-4)
    planes = four.prepare(crops, masks)
    torch.testing.assert_close(four(planes, None), one(planes, None))
    for model in (one, four):
        model.train()
        model.drop.p = 0.0
    torch.testing.assert_close(four(crops, masks), one(crops, masks))


def test_another_number_of_views_is_refused():
    with pytest.raises(ConfigError, match="views: expected 1, 2, 4 or 8, got 3"):
        CellClassifier("hpa_nfnet_pico", crop_px=32, views=3)

import pytest
import torch
from torch import nn

from hpacells.core.channels import CHANNELS
from hpacells.core.errors import ConfigError
from hpacells.model.encoder_input import NORMALISATION, STEM_PLANES, count_planes, make_input
from hpacells.model.network import CellClassifier, encoder_input_of
from hpacells.model.subcell import SUBCELL_STAINS


def grey_values(*stains):
    """One cell in a row of pixels; the values of red, green, blue, yellow."""
    return torch.tensor(stains, dtype=torch.uint8).view(1, 4, 1, -1)


@pytest.mark.parametrize(
    ("backbone", "pretrained", "expected"),
    [
        ("hpa_nfnet_nano", False, "cell_contrast"),
        ("hpa_nfnet_nano", True, "cell_contrast"),
        ("nfnet_l0", False, "cell_contrast"),
        ("nfnet_l0", True, "photograph"),
        ("subcell", False, "cell_min_max"),
        ("subcell_dna_protein", True, "cell_min_max"),
    ],
)
def test_what_a_backbone_is_given_by_default(backbone, pretrained, expected):
    assert encoder_input_of(backbone, pretrained=pretrained) == expected


def test_a_photograph_has_the_mean_and_spread_of_the_encoders_own():
    backbone = nn.Identity()
    backbone.pretrained_cfg = {"mean": (0.5, 0.25, 0.1), "std": (0.5, 0.25, 0.2)}
    made = make_input("photograph", "nfnet_l0", backbone)
    got = made(grey_values([255, 0], [255, 0], [255, 0], [255, 0]), torch.tensor([[[1, 1]]]))
    white = [(1 - mean) / std for mean, std in ((0.5, 0.5), (0.25, 0.25), (0.1, 0.2), (0.5, 0.5))]
    black = [-1.0, -1.0, -0.5, -1.0]
    torch.testing.assert_close(got[0, :, 0, 0], torch.tensor(white))
    torch.testing.assert_close(got[0, :, 0, 1], torch.tensor(black))
    assert "mean 0.5, 0.25, 0.1, 0.5" in made.words
    assert STEM_PLANES == (0, 1, 2, 0)
    assert not made.state_dict(), "the numbers are in model.json's words, not in its weights"


def test_outside_the_cell_a_photograph_is_black():
    made = make_input("photograph", "nfnet_l0", nn.Identity())
    bright = grey_values([255, 255], [255, 255], [255, 255], [255, 255])
    black = made(torch.zeros_like(bright), None)
    torch.testing.assert_close(made(bright, torch.tensor([[[0, 0]]])), black)


def test_subcell_gets_its_stains_in_its_order_scaled_together():
    made = make_input("cell_min_max", "subcell", nn.Identity())
    got = made(grey_values([10, 20], [110, 60], [30, 30], [40, 10]), None)
    red, yellow, blue, green = [0, 0.1], [0.3, 0], [0.2, 0.2], [1, 0.5]
    torch.testing.assert_close(got[0, :, 0], torch.tensor([red, yellow, blue, green]))


def test_subcell_without_a_stain_is_scaled_by_those_it_takes():
    made = make_input("cell_min_max", "subcell_dna_protein", nn.Identity())
    got = made(grey_values([0, 255], [110, 60], [10, 30], [0, 255]), None)
    torch.testing.assert_close(got[0, :, 0], torch.tensor([[0, 0.2], [1, 0.5]]))
    assert count_planes("cell_min_max", "subcell_dna_protein") == 2


def test_an_empty_cell_is_zero_and_its_surroundings_count_for_nothing():
    made = make_input("cell_min_max", "subcell", nn.Identity())
    empty = grey_values([0, 0], [0, 0], [0, 0], [0, 0])
    assert not made(empty, None).any()
    inside = torch.tensor([[[1, 0]]])
    neighbour = grey_values([50, 255], [100, 255], [0, 255], [0, 255])
    torch.testing.assert_close(made(neighbour, inside)[0, 3, 0], torch.tensor([1.0, 0.0]))


def test_every_input_says_in_words_what_it_does():
    assert make_input("stains", "nfnet_l0", nn.Identity()).words == NORMALISATION
    for name, stains in SUBCELL_STAINS.items():
        words = make_input("cell_min_max", name, nn.Identity()).words
        assert f"stains {', '.join(stains)};" in words
        assert set(stains) <= set(CHANNELS)


@pytest.mark.parametrize(
    ("kind", "name"),
    [("cell_min_max", "nfnet_l0"), ("stains", "subcell"), ("photograph", "subcell")],
)
def test_an_input_that_an_encoder_cannot_take_is_refused(kind, name):
    with pytest.raises(ConfigError, match="encoder_input"):
        make_input(kind, name, nn.Identity())


def test_a_classifier_uses_the_input_it_is_told():
    model = CellClassifier("test_resnet", crop_px=32, encoder_input="photograph")
    assert "mean 0.5" in model.input.words
    crops, mask = torch.zeros(1, 4, 32, 32, dtype=torch.uint8), torch.ones(1, 32, 32)
    assert model.prepare(crops, mask).max() < 0


def test_a_cells_contrast_is_that_within_its_outline():
    made = make_input("cell_contrast", "hpa_nfnet_pico", nn.Identity())
    crop = grey_values([0, 255, 9], [64, 64, 200], [0, 0, 255], [255, 255, 0])
    inside = torch.tensor([[[1, 1, 0]]])
    got = made(crop, inside)[0, :, 0]
    protein = 4 * (64 / 255) ** 0.5
    expected = [[-1, 1, 0], [0, 0, 0], [0, 0, 0], [0, 0, 0], [protein, protein, 0], [1, 1, 0]]
    torch.testing.assert_close(got, torch.tensor(expected, dtype=torch.float32))
    assert got.shape[0] == count_planes("cell_contrast", "hpa_nfnet_pico")


def test_a_cells_contrast_forgets_the_exposure_and_the_surroundings():
    made = make_input("cell_contrast", "hpa_nfnet_pico", nn.Identity())
    inside = torch.tensor([[[1, 1, 1, 0]]])
    dim = grey_values([4, 16, 36, 0], [4, 16, 36, 0], [4, 16, 36, 0], [4, 16, 36, 0])
    bright = grey_values(*[[16, 64, 144, 255]] * 4)
    torch.testing.assert_close(made(dim, inside)[:, :4], made(bright, inside)[:, :4])
    assert not made(dim, torch.zeros(1, 1, 4)).any()

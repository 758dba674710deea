import numpy as np
import pytest
from skimage.color import deltaE_ciede2000, rgb2lab

from hpacells.core.locations import LOCATIONS
from hpacells.core.palette import REJECTED_COLOR, STYLES, hex_to_rgb, lighten

# Machado, Oliveira & Fernandes 2009, severity 1.0, on linear RGB.
VISIONS = {
    "normal": np.eye(3),
    "deuteranope": [
        [0.367322, 0.860646, -0.227968],
        [0.280085, 0.672501, 0.047413],
        [-0.011820, 0.042940, 0.968881],
    ],
    "protanope": [
        [0.152286, 1.052583, -0.204868],
        [0.114503, 0.786281, 0.099216],
        [-0.003882, -0.048116, 1.051998],
    ],
}


def seen_as_lab(colors, vision):
    rgb = np.array([hex_to_rgb(color) for color in colors]) / 255
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    seen = np.clip(linear @ np.transpose(VISIONS[vision]), 0, 1)
    encoded = np.where(seen <= 0.0031308, seen * 12.92, 1.055 * seen ** (1 / 2.4) - 0.055)
    return rgb2lab(encoded[None])[0]


@pytest.mark.parametrize(
    ("vision", "least"), [("normal", 11), ("deuteranope", 7.5), ("protanope", 7.5)]
)
def test_any_two_colours_can_be_told_apart(vision, least):
    lab = seen_as_lab([style.color for style in STYLES] + [REJECTED_COLOR], vision)
    distance = deltaE_ciede2000(lab[:, None], lab[None])
    assert distance[~np.eye(len(lab), dtype=bool)].min() >= least


def test_colours_are_bright_enough_for_a_dark_picture():
    assert seen_as_lab([style.color for style in STYLES], "normal")[:, 0].min() > 45


def test_every_location_has_a_style_in_the_vocabularys_order():
    assert [style.location for style in STYLES] == list(LOCATIONS)
    assert len({style.short for style in STYLES}) == len(STYLES)
    assert all(style.short.isascii() and 1 < len(style.short) <= 12 for style in STYLES)


def test_lighten_keeps_white_and_greys_black():
    assert lighten("#ffffff") == "#ffffff"
    assert lighten("#000000") == "#7f7f7f"

import pytest

from hpacells.core.crop_spec import CropSpec
from hpacells.core.errors import ConfigError


def test_specs_are_values():
    assert CropSpec(128, 0.16) == CropSpec(128, 0.16, "zero")
    assert CropSpec(128, 0.16) != CropSpec(128, 0.16, "keep")


@pytest.mark.parametrize("crop_px", [0, 15, 1025])
def test_impossible_sides(crop_px):
    with pytest.raises(ConfigError, match="--crop-px: expected 16-1024"):
        CropSpec(crop_px, 0.16)


@pytest.mark.parametrize("size", [0.0, 0.01, 2.1, float("nan")])
def test_impossible_scales(size):
    with pytest.raises(ConfigError, match="crop pixel size"):
        CropSpec(128, size)

"""The ``unet`` segmenter, mostly with a network of thresholds in place of the trained one."""

import pickle

import cv2
import numpy as np
import pytest

from hpacells.core.channels import CHANNELS, Channel
from hpacells.core.errors import ConfigError, ModelError
from hpacells.core.fov import FieldOfView
from hpacells.segment import registry
from hpacells.segment.config import UnetConfig
from hpacells.segment.measure import measure_cells
from hpacells.segment.stain_input import NORMALISATION
from hpacells.segment.unet import UnetSegmenter


def draw_fov(shape=(400, 620), *, pixel_um=0.08, radius_um=10.0, at_um=((12, 14), (18, 37))):
    """Round cells with round nuclei at these places (rows, columns in µm)."""
    pixels = np.zeros((len(CHANNELS), *shape), np.uint8)
    for row, column in at_um:
        centre = (round(column / pixel_um), round(row / pixel_um))
        for channel in (Channel.MICROTUBULES, Channel.ER):
            cv2.circle(pixels[channel.position], centre, round(radius_um / pixel_um), 180, -1)
        cv2.circle(pixels[Channel.NUCLEUS.position], centre, round(5 / pixel_um), 200, -1)
    return FieldOfView("f", pixels, pixel_um, 255)


@pytest.fixture
def segmenter(make_segmenter_folder):
    return UnetSegmenter(folder=make_segmenter_folder())


def test_drawn_cells_are_found_with_their_nuclei(segmenter):
    masks = segmenter(draw_fov())
    np.testing.assert_array_equal(masks.cell_ids, [1, 2])
    assert masks.segmenter == "unet"
    rows = measure_cells(draw_fov(), masks).table.to_pydict()
    assert rows["status"] == ["ok", "ok"]
    assert rows["area_um2"] == pytest.approx([314, 314], rel=0.04)
    assert rows["nucleus_area_um2"] == pytest.approx([78.5, 78.5], rel=0.08)


@pytest.mark.parametrize("pixel_um", [0.04, 0.16, 0.32, 0.5])
def test_the_pixel_size_does_not_matter(segmenter, pixel_um):
    shape = (round(32 / pixel_um), round(49.6 / pixel_um))
    fov = draw_fov(shape, pixel_um=pixel_um)
    areas = measure_cells(fov, segmenter(fov)).table["area_um2"].to_pylist()
    assert areas == pytest.approx([314, 314], rel=0.1)


def test_tiles_give_the_same_cells(make_segmenter_folder):
    folder = make_segmenter_folder()
    fov = draw_fov(
        (1300, 2400), pixel_um=0.16, at_um=[(20 + 40 * (k % 4), 13 + 25 * k) for k in range(14)]
    )
    whole, tiled = (UnetSegmenter(folder, UnetConfig(tile_px=px))(fov) for px in (4096, 128))
    np.testing.assert_array_equal(whole.cells, tiled.cells)
    assert len(whole.cell_ids) == 14


def test_a_missing_stain_is_left_out_when_said_so(make_segmenter_folder):
    folder, fov = make_segmenter_folder(), draw_fov()
    noisy = fov.pixels.copy()
    noisy[Channel.ER.position] = np.random.default_rng(0).integers(0, 255, noisy.shape[1:])
    without = UnetSegmenter(folder, missing=(Channel.ER,))
    other = FieldOfView("f", noisy, fov.pixel_size_um, 255)
    np.testing.assert_array_equal(without(fov).cells, without(other).cells)
    assert without.settings["missing"] == ["yellow"]
    assert without.settings != UnetSegmenter(folder).settings
    with pytest.raises(ConfigError, match="got green"):
        UnetSegmenter(folder, missing=(Channel.PROTEIN,))


@pytest.mark.parametrize("shape", [(1, 1), (1, 300), (7, 5), (129, 257)])
@pytest.mark.parametrize("value", [0, 90, 255])
def test_fields_without_anything_have_no_cells(segmenter, shape, value):
    pixels = np.full((len(CHANNELS), *shape), value, np.uint8)
    masks = segmenter(FieldOfView("blank", pixels, 0.08, 255))
    assert masks.cells.shape == shape
    assert not masks.cells.any()


def test_one_constant_stain_is_no_error(segmenter):
    fov = draw_fov()
    for channel in (Channel.NUCLEUS, Channel.ER):
        pixels = fov.pixels.copy()
        pixels[channel.position] = 77
        assert segmenter(FieldOfView("f", pixels, 0.08, 255)).cells.shape == (400, 620)


def test_absurd_pixel_sizes_are_worked_through(segmenter):
    pixels = np.random.default_rng(0).integers(0, 255, (4, 30, 50)).astype(np.uint8)
    for pixel_um in (0.005, 5.0):
        assert segmenter(FieldOfView("f", pixels, pixel_um, 255)).cells.shape == (30, 50)


def test_the_bit_depth_does_not_matter(segmenter):
    fov = draw_fov()
    deep = FieldOfView("f", fov.pixels.astype(np.uint16) * 257, 0.08, 65535)
    np.testing.assert_array_equal(segmenter(fov).cells, segmenter(deep).cells)


def test_it_travels_and_says_which_weights_it_has(segmenter):
    assert pickle.loads(pickle.dumps(segmenter)) == segmenter  # noqa: S301  made in this line
    settings = segmenter.settings
    assert len(settings["weights_sha256"]) == 64
    assert settings["weights"] == "tiny-1"
    assert settings["pixel_size_um"] == 0.32
    assert settings["normalisation"] == NORMALISATION
    assert settings["seed_level"] == UnetConfig().seed_level


def test_without_weights_it_says_what_to_do(tmp_path, monkeypatch):
    with pytest.raises(ConfigError, match=r"train_segmenter\.py"):
        UnetSegmenter(folder=tmp_path)
    monkeypatch.setattr(
        registry, "SEGMENTERS", {"unet": lambda: UnetSegmenter(folder=tmp_path / "unet-sim")}
    )
    with pytest.raises(ConfigError, match="or take --segmenter watershed"):
        registry.get_segmenter("unet")


def test_weights_for_stains_normalised_otherwise_are_refused(make_segmenter_folder):
    folder = make_segmenter_folder(normalisation="v / 255")
    with pytest.raises(ModelError, match=r"wants stains normalised as 'v / 255', .* gives 'sqrt"):
        UnetSegmenter(folder=folder)


@pytest.mark.parametrize("pixel_um", [0.08, 0.32])
@pytest.mark.parametrize("sd", [0.5, 1, 2, 5])
@pytest.mark.parametrize(("base", "light"), [(0, 0), (20, 0), (20, 40)])
def test_the_shipped_network_finds_no_cells_in_noise(pixel_um, sd, base, light):
    rng = np.random.default_rng(0)
    shape = (round(80 / pixel_um), round(100 / pixel_um))
    grey = base + light * np.linspace(0, 1, shape[1]) + rng.normal(0, sd, (4, *shape))
    noise = FieldOfView("f", np.rint(grey).clip(0, 255).astype(np.uint8), pixel_um, 255)
    assert not UnetSegmenter()(noise).cells.any()


def test_the_shipped_network_finds_a_lone_cell_in_a_large_field():
    fov = draw_fov((1600, 1700), pixel_um=0.2, radius_um=11, at_um=[(150, 170)])
    noise = np.random.default_rng(0).normal(10, 2, fov.pixels.shape)
    soft = np.stack([cv2.GaussianBlur(plane, (0, 0), 4) for plane in fov.pixels])
    pixels = (soft * 0.4 + noise).clip(0, 255).astype(np.uint8)
    masks = UnetSegmenter()(FieldOfView("f", pixels, 0.2, 255))
    assert len(masks.cell_ids) == 1
    assert masks.cells[750, 850] == 1
    assert 200 < (masks.cells > 0).sum() * 0.04 < 600


def test_a_damaged_folder_is_refused(make_segmenter_folder):
    folder = make_segmenter_folder()
    (folder / "segmenter.onnx").write_bytes(b"")
    with pytest.raises(ModelError, match="expected sha256"):
        UnetSegmenter(folder=folder)

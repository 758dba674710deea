"""The ``hpa-unet`` segmenter, by networks of thresholds and random ones in the published layout."""

import pickle
import sys
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
import torch
import yaml
from torch import nn

from hpacells.core.channels import CHANNELS, Channel
from hpacells.core.errors import ConfigError, MissingExtraError, ModelError
from hpacells.core.fov import FieldOfView
from hpacells.segment.adapters import atlas
from hpacells.segment.adapters.atlas import AtlasSegmenter, describe_model, open_bioimageio
from hpacells.segment.adapters.config import AtlasConfig
from hpacells.segment.adapters.library import Library
from hpacells.segment.measure import measure_cells

MEAN = (0.48627450980392156, 0.4588235294117647, 0.40784313725490196)


class Thresholds(nn.Module):
    """Map 2: where the brightest of the channels, in shares of the scale, exceeds 0.3; map 1: where
    the last one, the nucleus stain, is dark: a border."""

    def __init__(self):
        super().__init__()
        self.register_buffer("mean", torch.tensor(MEAN).reshape(1, 3, 1, 1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        share = x * 0.2348244687 + self.mean
        inside = torch.sigmoid(40 * (share.amax(1, keepdim=True) - 0.3))
        border = torch.sigmoid(10 * (0.3 - share[:, 2:]))
        return torch.cat([1 - inside, border, inside], 1)


class RandomNet(nn.Module):
    """Randomly initialised, three channels to three maps, sides in multiples of 32."""

    def __init__(self, seed: int):
        super().__init__()
        torch.manual_seed(seed)
        self.down = nn.Conv2d(3, 8, 7, stride=4, padding=3)
        self.up = nn.Conv2d(8, 3, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        deep = torch.relu(self.down(x))
        large = nn.functional.interpolate(deep, scale_factor=4.0, mode="nearest")
        return torch.softmax(5 * self.up(large), 1)


class OneMap(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x[:, :1]


def open_scripts(files, device):
    """What stands in for bioimageio.core: TorchScript on arrays."""

    def network(script):
        def run(stack):
            with torch.no_grad():
                return script(torch.from_numpy(stack)[None])[0].numpy()

        return run

    return {name: network(torch.jit.load(str(path))) for name, path in files.items()}


TORCH = Library("torch", "torch", "train", open_scripts)
pytestmark = pytest.mark.filterwarnings("ignore:.*torch.jit.*:DeprecationWarning")


@pytest.fixture
def make_segmenter(publish):
    def make(nucleus=None, cell=None, **keywords):
        weights = publish(nuclei_model=nucleus or Thresholds(), cell_model=cell or Thresholds())
        return AtlasSegmenter(weights=weights, library=TORCH, **keywords)

    return make


def test_drawn_cells_are_found_with_their_nuclei(make_segmenter, draw):
    fov = draw()
    masks = make_segmenter()(fov)
    np.testing.assert_array_equal(masks.cell_ids, [1, 2])
    assert masks.segmenter == "hpa-unet"
    rows = measure_cells(fov, masks).table.to_pydict()
    assert rows["area_um2"] == pytest.approx([314, 314], rel=0.05)
    assert rows["nucleus_area_um2"] == pytest.approx([78.5, 78.5], rel=0.1)


@pytest.mark.parametrize("pixel_um", [0.04, 0.16, 0.4])
def test_the_pixel_size_and_the_bit_depth_do_not_matter(make_segmenter, draw, pixel_um):
    shape = (round(32 / pixel_um), round(49.6 / pixel_um))
    fov = draw(shape, pixel_um=pixel_um)
    segmenter = make_segmenter()
    masks = segmenter(fov)
    areas = measure_cells(fov, masks).table["area_um2"].to_pylist()
    assert areas == pytest.approx([314, 314], rel=0.08)
    deep = FieldOfView("f", fov.pixels.astype(np.uint16) * 257, pixel_um, 65535)
    np.testing.assert_array_equal(masks.cells, segmenter(deep).cells)


def test_touching_cells_part_between_their_nuclei(make_segmenter, draw):
    masks = make_segmenter()(draw(at_um=((16, 14), (16, 31))))
    columns = np.nonzero(masks.cells == 1)[1]
    assert len(masks.cell_ids) == 2
    assert columns.max() * 0.08 == pytest.approx(22.5, abs=1)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("shape", [(1, 1), (7, 300), (129, 257), (500, 380)])
def test_random_networks_give_what_the_contract_wants(make_segmenter, seed, shape):
    # CellMasks checks matched ids, one part per cell, nuclei inside
    pixels = np.random.default_rng(seed).integers(0, 255, (len(CHANNELS), *shape), np.uint8)
    masks = make_segmenter(RandomNet(seed), RandomNet(seed + 9))(
        FieldOfView("f", pixels, 0.08, 255)
    )
    assert masks.cells.shape == shape
    ids = masks.cell_ids
    np.testing.assert_array_equal(ids, np.arange(1, len(ids) + 1))


def test_tiles_give_the_same_cells(publish, draw):
    weights = publish(nuclei_model=Thresholds(), cell_model=Thresholds())
    fov = draw(
        (900, 1900), pixel_um=0.16, at_um=[(20 + 40 * (k % 3), 13 + 25 * k) for k in range(11)]
    )
    whole, tiled = (
        AtlasSegmenter(AtlasConfig(tile_px=px), weights=weights, library=TORCH)(fov)
        for px in (4096, 128)
    )
    np.testing.assert_array_equal(whole.cells, tiled.cells)
    assert len(whole.cell_ids) == 11


def test_blank_fields_have_no_cells(make_segmenter):
    pixels = np.zeros((len(CHANNELS), 60, 90), np.uint8)
    assert not make_segmenter()(FieldOfView("f", pixels, 0.08, 255)).cells.any()


def test_small_nuclei_are_debris_unless_the_frame_cuts_them(make_segmenter, draw):
    fov = draw(at_um=((16, 25),))
    blue = fov.pixels[Channel.NUCLEUS.position]
    blue[40:70, 40:70] = 200  # 2.4 µm wide
    blue[:20, 300:330] = 200
    masks = make_segmenter()(fov)
    assert masks.cells[55, 55] == 0
    assert masks.cells[0, 310] > 0


def test_a_missing_stain_is_zero_when_said_so_and_the_nucleus_cannot_be_missing(publish, draw):
    weights = publish(nuclei_model=Thresholds(), cell_model=Thresholds())
    fov = draw()
    noisy = fov.pixels.copy()
    noisy[Channel.ER.position] = np.random.default_rng(0).integers(0, 255, noisy.shape[1:])
    without = AtlasSegmenter(missing=(Channel.ER,), weights=weights, library=TORCH)
    other = FieldOfView("f", noisy, fov.pixel_size_um, 255)
    np.testing.assert_array_equal(without(fov).cells, without(other).cells)
    assert without.settings["missing"] == ["yellow"]
    with pytest.raises(ConfigError, match="expected the nucleus stain"):
        AtlasSegmenter(missing=(Channel.NUCLEUS,), weights=weights, library=TORCH)
    with pytest.raises(ConfigError, match="got green"):
        AtlasSegmenter(missing=(Channel.PROTEIN,), weights=weights, library=TORCH)


def test_a_network_of_another_layout_is_refused(make_segmenter, draw):
    with pytest.raises(ModelError, match="expected 3 finite maps"):
        make_segmenter(cell=OneMap())(draw())


def test_it_travels_and_says_which_weights_it_has(make_segmenter):
    segmenter = make_segmenter()
    assert pickle.loads(pickle.dumps(segmenter)) == segmenter  # noqa: S301  made in this line
    settings = segmenter.settings
    assert sorted(settings["weights_sha256"]) == ["cell_model.pt", "nuclei_model.pt"]
    assert all(len(sha256) == 64 for sha256 in settings["weights_sha256"].values())
    assert "torch" in settings["versions"]
    assert settings["pixel_um"] == 0.32


def test_without_the_library_nothing_is_fetched(cache):
    absent = Library("not_here.core", "bioimageio.core", "bioimageio", open_bioimageio)
    with pytest.raises(MissingExtraError, match=r"'\.\[bioimageio\]'"):
        AtlasSegmenter(library=absent)
    assert not cache.exists()


class _Pipeline:
    """The part of bioimageio.core that is called, on TorchScript."""

    def __init__(self, model, weight_format, devices):
        assert (weight_format, devices) == ("torchscript", ["cpu"])
        self.script = torch.jit.load(model.weights)

    def predict_sample_without_blocking(self, sample):
        with torch.no_grad():
            found = self.script(torch.from_numpy(sample["input0"]))
        return SimpleNamespace(members={"output0": SimpleNamespace(data=found.numpy())})


def test_bioimageio_is_asked_by_a_description_of_the_local_file(publish, draw, monkeypatch, cache):
    def load_model_description(path, *, perform_io_checks):
        assert perform_io_checks is False
        content = yaml.safe_load(path.read_text())
        source = path.with_name(content["weights"]["torchscript"]["source"])
        return SimpleNamespace(weights=str(source))

    core, digest = ModuleType("bioimageio.core"), ModuleType("bioimageio.core.digest_spec")
    core.load_model_description = load_model_description
    core.create_prediction_pipeline = _Pipeline
    digest.create_sample_for_model = lambda model, *, inputs: inputs
    for module in (ModuleType("bioimageio"), core, digest):
        monkeypatch.setitem(sys.modules, module.__name__, module)
    weights = publish(nuclei_model=Thresholds(), cell_model=Thresholds())
    library = Library("torch", "torch", "train", open_bioimageio)
    fov = draw()
    through = AtlasSegmenter(weights=weights, library=library)(fov)
    found = (cache / "test").iterdir()
    assert sorted(path.name for path in found) == ["cell_model.pt", "nuclei_model.pt"]
    direct = AtlasSegmenter(weights=weights, library=TORCH)(fov)
    np.testing.assert_array_equal(through.cells, direct.cells)


def test_the_description_names_the_published_record():
    nuclei = describe_model(atlas.NUCLEUS_FILE, "0" * 64)
    cell = describe_model(atlas.CELL_FILE, "1" * 64)
    assert "7690494" in nuclei["documentation"]
    assert "7702687" in cell["documentation"]
    assert cell["weights"]["torchscript"]["sha256"] == "1" * 64
    assert "preprocessing" not in cell["inputs"][0]

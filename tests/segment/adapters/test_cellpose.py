"""The ``cellpose`` segmenter, with a network that labels bright places instead of Cellpose."""

import io
import pickle
import sys
from types import ModuleType

import cv2
import numpy as np
import pytest
import torch

from hpacells.core.channels import CHANNELS, Channel
from hpacells.core.errors import ConfigError, MissingExtraError, ModelError
from hpacells.core.fov import FieldOfView
from hpacells.segment.adapters.cellpose import CellposeSegmenter, open_cellpose
from hpacells.segment.adapters.config import CellposeConfig
from hpacells.segment.adapters.library import Library
from hpacells.segment.measure import measure_cells


def label_bright(stack, level=0.3):
    _, ids = cv2.connectedComponents((stack.max(axis=0) > level).astype(np.uint8))
    return ids


def open_label(files, device):
    return {"objects": label_bright}


def open_wrong(files, device):
    return {"objects": lambda stack: stack}


TORCH = Library("torch", "torch", "train", open_label)


def tensors(content=None):
    stream = io.BytesIO()
    torch.save(content or {"w": torch.randn(3)}, stream)
    return stream.getvalue()


@pytest.fixture
def make_segmenter(publish):
    weights = publish(cpsam=tensors())

    def make(**keywords):
        return CellposeSegmenter(**{"weights": weights, "library": TORCH} | keywords)

    return make


@pytest.mark.parametrize("pixel_um", [0.08, 0.2, 0.5])
def test_drawn_cells_are_found_with_their_nuclei(make_segmenter, draw, pixel_um):
    shape = (round(32 / pixel_um), round(49.6 / pixel_um))
    fov = draw(shape, pixel_um=pixel_um)
    masks = make_segmenter()(fov)
    rows = measure_cells(fov, masks).table.to_pydict()
    assert rows["area_um2"] == pytest.approx([314, 314], rel=0.08)
    assert rows["nucleus_area_um2"] == pytest.approx([78.5, 78.5], rel=0.15)
    assert masks.segmenter == "cellpose"


def test_missing_stains_are_not_looked_at(make_segmenter, draw):
    fov = draw()
    masks = make_segmenter(missing=(Channel.NUCLEUS,))(fov)
    assert len(masks.cell_ids) == 2
    assert not masks.nuclei.any()
    only_nuclei = make_segmenter(missing=(Channel.ER, Channel.MICROTUBULES))(fov)
    assert len(only_nuclei.cell_ids) == 2
    assert (only_nuclei.nuclei > 0).sum() > 0.95 * (only_nuclei.cells > 0).sum()
    with pytest.raises(ConfigError, match="at least one"):
        make_segmenter(missing=(Channel.NUCLEUS, Channel.ER, Channel.MICROTUBULES))


@pytest.mark.parametrize("value", [0, 200])
def test_blank_fields_and_single_pixels_have_no_cells_and_ask_nobody(make_segmenter, value):
    silent = Library("torch", "torch", "train", open_wrong)
    for shape in ((1, 1), (50, 90)):
        pixels = np.full((len(CHANNELS), *shape), value, np.uint8)
        masks = make_segmenter(library=silent)(FieldOfView("f", pixels, 0.08, 255))
        assert masks.cells.shape == shape
        assert not masks.cells.any()


def test_what_is_no_label_image_is_refused(make_segmenter, draw):
    with pytest.raises(ModelError, match="segmenter cellpose: expected ids"):
        make_segmenter(library=Library("torch", "torch", "train", open_wrong))(draw())


def test_settings_and_travel(make_segmenter):
    segmenter = make_segmenter(config=CellposeConfig(pixel_um=0.4))
    assert pickle.loads(pickle.dumps(segmenter)) == segmenter  # noqa: S301  made in this line
    assert segmenter.settings["pixel_um"] == 0.4
    assert len(segmenter.settings["weights_sha256"]["cpsam.pt"]) == 64


def test_without_cellpose_the_extra_is_named_and_nothing_is_fetched(cache):
    with pytest.raises(MissingExtraError, match=r"'\.\[cellpose\]'"):
        CellposeSegmenter(library=Library("no_cellpose", "cellpose", "cellpose", open_cellpose))
    assert not cache.exists()


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_is_not_there_is_an_error(make_segmenter, draw):
    with pytest.raises(ConfigError, match="there is none"):
        make_segmenter(config=CellposeConfig(device="cuda"))(draw())


@pytest.fixture
def fake_cellpose(monkeypatch):
    """The part of Cellpose 4 that is called."""

    class CellposeModel:
        def __init__(self, *, pretrained_model, device, use_bfloat16):
            assert device == torch.device("cpu")
            assert use_bfloat16 is False
            self.pretrained_model = pretrained_model

        def eval(self, x, *, channel_axis, diameter):
            assert (channel_axis, diameter) == (0, None)
            return label_bright(x).astype(np.uint16), [], []

    models = ModuleType("cellpose.models")
    models.CellposeModel = CellposeModel
    monkeypatch.setitem(sys.modules, "cellpose", ModuleType("cellpose"))
    monkeypatch.setitem(sys.modules, "cellpose.models", models)
    return models


REAL = Library("torch", "torch", "train", open_cellpose)


def test_cellpose_is_asked_without_rescaling(make_segmenter, draw, fake_cellpose):
    masks = make_segmenter(library=REAL)(draw())
    np.testing.assert_array_equal(masks.cells, make_segmenter()(draw()).cells)


def test_other_weights_than_asked_for_are_refused(make_segmenter, draw, fake_cellpose, monkeypatch):
    class Fallback:
        def __init__(self, **keywords):
            self.pretrained_model = "/elsewhere/cpsam_v2"

    monkeypatch.setattr(fake_cellpose, "CellposeModel", Fallback)
    with pytest.raises(ModelError, match="Cellpose took /elsewhere/cpsam_v2"):
        make_segmenter(library=REAL)(draw())


class Trap:
    def __reduce__(self):
        return eval, ("[][0]",)


@pytest.mark.parametrize("content", [tensors({"w": Trap()}), b"no pickle at all"])
def test_a_pickle_of_more_than_tensors_is_refused(publish, draw, fake_cellpose, content):
    segmenter = CellposeSegmenter(weights=publish(cpsam=content), library=REAL)
    with pytest.raises(ModelError, match="expected a PyTorch file of tensors alone"):
        segmenter(draw())

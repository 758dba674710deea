"""The ``instanseg`` segmenter, with small TorchScript networks and without InstanSeg itself."""

import pickle
import sys
from types import ModuleType

import cv2
import numpy as np
import pytest
import torch
from torch import nn

from hpacells.core.channels import CHANNELS, Channel
from hpacells.core.errors import MissingExtraError, ModelError
from hpacells.core.fov import FieldOfView
from hpacells.segment.adapters import instanseg
from hpacells.segment.adapters.instanseg import InstansegSegmenter, open_instanseg
from hpacells.segment.adapters.library import Library
from hpacells.segment.measure import measure_cells

pytestmark = pytest.mark.filterwarnings("ignore:.*torch.jit.*:DeprecationWarning")


def label(mask):
    return cv2.connectedComponents(mask.astype(np.uint8))[1]


def open_label(files, device):
    return {
        "nuclei and cells": lambda stack: np.stack(
            [label(stack[0] > 0.3), label(stack.max(0) > 0.3)]
        )
    }


def open_one(files, device):
    return {"nuclei and cells": lambda stack: stack[:1]}


def open_random(files, device):
    rng = np.random.default_rng(0)

    def run(stack):
        blocks = rng.integers(0, 9, (2, 1 + stack.shape[1] // 16, 1 + stack.shape[2] // 16))
        return np.kron(blocks, np.ones((1, 16, 16), int))

    return {"nuclei and cells": run}


TORCH = Library("torch", "torch", "train", open_label)


class Scripted(nn.Module):
    """Randomly initialised, with the attribute that InstanSeg's TorchScript has."""

    def __init__(self, pixel_size: float):
        super().__init__()
        self.pixel_size = pixel_size
        self.layer = nn.Conv2d(1, 2, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return (torch.sigmoid(self.layer(x.mean(1, keepdim=True))) > 0.5).float()


@pytest.fixture
def make_segmenter(publish):
    weights = publish(instanseg=Scripted(0.5))

    def make(**keywords):
        return InstansegSegmenter(**{"weights": weights, "library": TORCH} | keywords)

    return make


@pytest.mark.parametrize("pixel_um", [0.08, 0.2, 0.5])
def test_drawn_cells_are_found_with_their_nuclei(make_segmenter, draw, pixel_um):
    shape = (round(32 / pixel_um), round(49.6 / pixel_um))
    fov = draw(shape, pixel_um=pixel_um)
    masks = make_segmenter()(fov)
    rows = measure_cells(fov, masks).table.to_pydict()
    assert rows["area_um2"] == pytest.approx([314, 314], rel=0.08)
    assert rows["nucleus_area_um2"] == pytest.approx([78.5, 78.5], rel=0.15)
    assert masks.segmenter == "instanseg"


@pytest.mark.parametrize("shape", [(1, 1), (3, 400), (300, 501)])
def test_ids_of_any_kind_end_under_the_contract(make_segmenter, shape):
    pixels = np.random.default_rng(1).integers(0, 255, (len(CHANNELS), *shape), np.uint8)
    library = Library("torch", "torch", "train", open_random)
    masks = make_segmenter(library=library)(FieldOfView("f", pixels, 0.08, 255))
    assert masks.cells.shape == shape


def test_a_missing_stain_is_left_out(make_segmenter, draw):
    seen = []

    def watch(files, device):
        def run(stack):
            seen.append(len(stack))
            return np.zeros((2, *stack.shape[1:]), np.int32)

        return {"nuclei and cells": run}

    library = Library("torch", "torch", "train", watch)
    for missing in ((), (Channel.ER,), (Channel.ER, Channel.NUCLEUS)):
        make_segmenter(missing=missing, library=library)(draw())
    assert seen == [3, 2, 1]


def test_blank_fields_ask_nobody(make_segmenter):
    pixels = np.full((len(CHANNELS), 40, 50), 7, np.uint8)
    masks = make_segmenter(library=Library("torch", "torch", "train", open_one))(
        FieldOfView("f", pixels, 0.08, 255)
    )
    assert not masks.cells.any()


def test_a_network_of_nuclei_alone_is_refused(make_segmenter, draw):
    with pytest.raises(ModelError, match="expected ids of nuclei and of cells"):
        make_segmenter(library=Library("torch", "torch", "train", open_one))(draw())


def test_settings_and_travel(make_segmenter):
    segmenter = make_segmenter()
    assert pickle.loads(pickle.dumps(segmenter)) == segmenter  # noqa: S301  made in this line
    assert len(segmenter.settings["weights_sha256"]["instanseg.pt"]) == 64


def test_without_instanseg_the_extra_is_named(cache):
    absent = Library("no_instanseg", "instanseg-torch", "instanseg", open_instanseg)
    with pytest.raises(MissingExtraError, match=r"instanseg-torch.*'\.\[instanseg\]'"):
        InstansegSegmenter(library=absent)
    assert not cache.exists()


@pytest.fixture
def fake_instanseg(monkeypatch):
    """The part of InstanSeg that is called; it notes how."""
    asked = []

    class InstanSeg:
        def __init__(self, model, *, device, verbosity):
            self.model = model

        def _run(self, image):
            with torch.no_grad():
                return self.model(image[None])

        def eval_small_image(self, image, *, pixel_size, return_image_tensor):
            asked.append(("small", pixel_size, return_image_tensor))
            return self._run(image)

        def eval_medium_image(self, image, *, pixel_size, return_image_tensor):
            asked.append(("medium", pixel_size, return_image_tensor))
            return self._run(image)

    module = ModuleType("instanseg")
    module.InstanSeg = InstanSeg
    monkeypatch.setitem(sys.modules, "instanseg", module)
    return asked


def test_instanseg_is_asked_at_its_own_pixel_size(
    make_segmenter, draw, fake_instanseg, monkeypatch
):
    segmenter = make_segmenter(library=Library("torch", "torch", "train", open_instanseg))
    assert segmenter(draw()).cells.shape == (400, 620)
    monkeypatch.setattr(instanseg, "_WHOLE_PX", 100)
    segmenter(draw())
    assert fake_instanseg == [("small", 0.5, False), ("medium", 0.5, False)]


def test_a_network_of_another_resolution_is_refused(publish, draw, fake_instanseg):
    library = Library("torch", "torch", "train", open_instanseg)
    segmenter = InstansegSegmenter(weights=publish(instanseg=Scripted(0.25)), library=library)
    with pytest.raises(ModelError, match=r"trained at 0\.5 µm per pixel, got 0\.25"):
        segmenter(draw())

"""Both networks on PyTorch against ONNX Runtime, on the CPU; on a GPU where there is one."""

import numpy as np
import pytest
import torch
from torch import nn

from hpacells.core.errors import ConfigError, ModelError, WorkerError
from hpacells.core.locations import N_LOCATIONS
from hpacells.model.torch_session import (
    TorchSegmenterSession,
    TorchSession,
    _Lanes,
    open_torch_segmenter,
    open_torch_session,
    prepare_device,
)
from hpacells.runtime.model_folder import load_model
from hpacells.runtime.registry import DEFAULT_MODEL, resolve_model
from hpacells.runtime.segmenter_folder import load_segmenter
from hpacells.runtime.segmenter_session import open_segmenter
from hpacells.runtime.session import open_session
from hpacells.segment.unet import UNET_FOLDER

CPU = {"device": "cpu", "precision": "float32"}
needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here")


@pytest.fixture(scope="module")
def model():
    """The shipped one."""
    return load_model(resolve_model(DEFAULT_MODEL))


@pytest.fixture(scope="module")
def cells(model):
    """Thirteen cells: more than a batch, and no multiple of one."""
    rng = np.random.default_rng(3)
    side = model.spec.crop_px
    crops = rng.integers(0, 256, (13, 4, side, side), dtype=np.uint8)
    return crops, rng.random((13, side, side)) < 0.6


@pytest.fixture(scope="module")
def session(model):
    return open_torch_session(model, **CPU)


@pytest.fixture(scope="module")
def stains():
    return np.random.default_rng(4).random((3, 64, 96), dtype=np.float32)


def same(found, expected):
    return all(np.array_equal(one, other) for one, other in zip(found, expected, strict=True))


def test_the_shipped_classifier_answers_what_its_graph_answers(model, session, cells):
    for found, expected in zip(session.run(*cells), open_session(model).run(*cells), strict=True):
        assert (found.shape, found.dtype) == (expected.shape, np.float32)
        np.testing.assert_allclose(found, expected, atol=1e-4, rtol=0)


def test_order_batches_and_threads_change_nothing(model, session, cells):
    crops, masks = cells
    whole = session.run(crops, masks)
    order = np.random.default_rng(0).permutation(13)
    assert same(session.run(crops[order], masks[order]), [part[order] for part in whole])
    for n in (1, 7, 8, 9):
        assert same(session.run(crops[:n], masks[:n]), [part[:n] for part in whole])
    assert same(open_torch_session(model, **CPU, threads=3).run(crops, masks), whole)


def test_crops_that_cannot_be_written_to_are_taken(session, cells):
    crops, masks = (part[:1].copy() for part in cells)
    expected = session.run(crops, masks)
    crops.flags.writeable = masks.flags.writeable = False
    assert same(session.run(crops, masks), expected)


def test_no_cell_gives_empty_arrays(model, session):
    side = model.spec.crop_px
    empty = np.zeros((0, 4, side, side), np.uint8), np.zeros((0, side, side), bool)
    logits, embedding = session.run(*empty)
    assert logits.shape == (0, N_LOCATIONS)
    assert embedding.shape == (0, model.spec.embedding_size)


def test_crops_of_another_kind_are_refused(session):
    with pytest.raises(ModelError, match="expected uint8 crops"):
        session.run(np.zeros((2, 4, 16, 16), np.uint8), np.zeros((2, 16, 16), bool))


def test_bfloat16_reduces_the_backbone_and_little_else(model, session, cells):
    exact = session.run(*cells)
    reduced = open_torch_session(model, device="cpu", precision="bfloat16").run(*cells)
    for found, expected in zip(reduced, exact, strict=True):
        assert found.dtype == np.float32
        apart = np.abs(found - expected)
        assert 0 < apart.max() < 0.05 * np.abs(expected).max()
        # bfloat16 would leave the lower half of every number 0
        assert (found.view(np.uint32) & 0xFFFF).any()


def test_a_folder_without_weights_is_refused(tiny_model_folder):
    with pytest.raises(ModelError, match=r"holds no model\.safetensors"):
        open_torch_session(load_model(tiny_model_folder), **CPU)


class Full(nn.Module):
    """Stands for a network where memory holds so many cells; keeps how many it was given."""

    def __init__(self, room, embedding_size=0, fill=1.0):
        super().__init__()
        self.room, self.size, self.fill = room, embedding_size, fill
        self.seen = []

    def forward(self, crops, masks):
        self.seen.append(len(crops))
        if len(crops) > self.room:
            raise torch.OutOfMemoryError("CUDA out of memory")
        sums = crops.float().mean(dim=(1, 2, 3))[:, None] * self.fill
        return sums.expand(-1, N_LOCATIONS), sums.expand(-1, self.size)


def session_on(network, model, batch=8):
    network.size = model.spec.embedding_size
    return TorchSession(model, _Lanes(network, **CPU, n_lanes=2), batch=batch)


def test_out_of_memory_halves_the_batch_once_and_goes_on(model, cells, caplog):
    expected = session_on(Full(room=8), model).run(*cells)
    network = Full(room=4)
    session = session_on(network, model)
    assert same(session.run(*cells), expected)
    assert "does not hold 8 cells at a time" in caplog.text
    assert set(network.seen) == {8, 4}
    network.seen.clear()
    assert same(session.run(*cells), expected)
    assert set(network.seen) == {4}


def test_out_of_memory_with_half_a_batch_ends_it_and_says_what_to_do(model, cells):
    network = Full(room=3)
    with pytest.raises(WorkerError, match=r"does not hold 4 cells of model .* --device cpu"):
        session_on(network, model).run(*cells)
    assert set(network.seen) == {8, 4}


def test_a_network_that_gives_nan_is_refused(model, cells):
    with pytest.raises(ModelError, match="NaN or infinity"):
        session_on(Full(room=8, fill=np.nan), model).run(*cells)


@pytest.mark.parametrize("present", [(1, 1, 1), (1, 0, 1)])
def test_the_shipped_segmenter_draws_what_its_graph_draws(stains, present):
    folder, flags = load_segmenter(UNET_FOLDER), np.array(present, bool)
    found = open_torch_segmenter(folder, **CPU).run(stains, flags)
    expected = open_segmenter(folder).run(stains, flags)
    assert (found.shape, found.dtype) == (expected.shape, np.float32)
    np.testing.assert_allclose(found, expected, atol=1e-4, rtol=0)


def test_images_of_another_size_are_refused():
    session = open_torch_segmenter(load_segmenter(UNET_FOLDER), **CPU)
    with pytest.raises(ModelError, match="multiples of 16"):
        session.run(np.zeros((3, 20, 32), np.float32), np.ones(3, bool))


def test_an_image_that_memory_does_not_hold_ends_it(stains):
    lanes = _Lanes(Full(room=0), **CPU, n_lanes=1)
    with pytest.raises(WorkerError, match="an image of 64 x 96 pixels"):
        TorchSegmenterSession(UNET_FOLDER, lanes).run(stains, np.ones(3, bool))


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_is_not_there_is_refused_with_the_reason(model):
    with pytest.raises(ConfigError, match=r"--device cuda: .* but torch .* take --device cpu"):
        prepare_device("cuda")
    with pytest.raises(ConfigError, match="--device cuda"):
        open_torch_session(model, device="cuda", precision="float32")


@needs_gpu
@pytest.mark.parametrize(("precision", "share"), [("float32", 1e-3), ("bfloat16", 0.05)])
def test_a_gpu_answers_what_the_cpu_answers(model, cells, stains, precision, share):
    session = open_torch_session(model, device="cuda", precision=precision)
    found = session.run(*cells)
    for one, other in zip(found, open_session(model).run(*cells), strict=True):
        assert np.abs(one - other).max() < share * np.abs(other).max()
    crops, masks = cells
    assert same(session.run(crops[::-1], masks[::-1]), [part[::-1] for part in found])
    folder, flags = load_segmenter(UNET_FOLDER), np.ones(3, bool)
    maps = open_torch_segmenter(folder, device="cuda", precision=precision).run(stains, flags)
    assert np.abs(maps - open_segmenter(folder).run(stains, flags)).max() < share

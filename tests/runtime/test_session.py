import numpy as np
import onnx
import pytest

from hpacells.core.errors import ModelError
from hpacells.core.locations import N_LOCATIONS
from hpacells.runtime.model_folder import load_model
from hpacells.runtime.session import open_session


@pytest.fixture
def cells():
    rng = np.random.default_rng(3)
    crops = rng.integers(0, 256, (13, 4, 32, 32), dtype=np.uint8)
    return crops, rng.random((13, 32, 32)) < 0.6


def test_results_have_the_contract_s_shapes_and_see_only_the_cell(tiny_model_folder, cells):
    crops, masks = cells
    session = open_session(load_model(tiny_model_folder))
    logits, embedding = session.run(crops, masks)
    assert (logits.shape, logits.dtype) == ((13, N_LOCATIONS), np.float32)
    assert (embedding.shape, embedding.dtype) == ((13, 6), np.float32)
    elsewhere = np.where(masks[:, None], crops, 255 - crops)
    assert np.array_equal(session.run(elsewhere, masks)[0], logits)
    assert not np.array_equal(session.run(255 - crops, masks)[0], logits)


def test_cells_beside_a_cell_change_nothing_bit_for_bit(tiny_model_folder, cells):
    crops, masks = cells
    session = open_session(load_model(tiny_model_folder))
    logits, embedding = session.run(crops, masks)
    order = np.random.default_rng(0).permutation(13)
    shuffled = session.run(crops[order], masks[order])
    assert np.array_equal(shuffled[0], logits[order])
    assert np.array_equal(shuffled[1], embedding[order])
    for n in (1, 2, 8, 12):
        assert np.array_equal(session.run(crops[:n], masks[:n])[0], logits[:n])


def test_threads_change_nothing_bit_for_bit(tiny_model_folder, cells):
    model = load_model(tiny_model_folder)
    one, three = (open_session(model, threads=n).run(*cells) for n in (1, 3))
    assert np.array_equal(one[0], three[0])
    assert np.array_equal(one[1], three[1])


def test_no_cell_gives_empty_arrays(tiny_model_folder):
    session = open_session(load_model(tiny_model_folder))
    logits, embedding = session.run(np.zeros((0, 4, 32, 32), np.uint8), np.zeros((0, 32, 32), bool))
    assert logits.shape == (0, N_LOCATIONS)
    assert embedding.shape == (0, 6)


@pytest.mark.parametrize(
    ("crops", "masks"),
    [
        (np.zeros((2, 4, 16, 16), np.uint8), np.zeros((2, 16, 16), bool)),
        (np.zeros((2, 3, 32, 32), np.uint8), np.zeros((2, 32, 32), bool)),
        (np.zeros((2, 4, 32, 32), np.float32), np.zeros((2, 32, 32), bool)),
        (np.zeros((2, 4, 32, 32), np.uint8), np.zeros((1, 32, 32), bool)),
    ],
)
def test_crops_of_another_kind_are_refused(tiny_model_folder, crops, masks):
    with pytest.raises(ModelError, match="expected uint8 crops"):
        open_session(load_model(tiny_model_folder)).run(crops, masks)


def test_a_graph_of_another_signature_is_refused(make_model_folder):
    with pytest.raises(ModelError, match=r"expected crops of shape \(N, 4, 48, 48\)"):
        open_session(load_model(make_model_folder("side", crop_px=48)))
    with pytest.raises(ModelError, match=r"expected embedding of shape \(N, 7\)"):
        open_session(load_model(make_model_folder("embedding", embedding_size=7)))


def test_a_graph_with_other_outputs_is_refused(make_model_folder):
    whole = make_model_folder("whole")
    graph = onnx.load(load_model(whole).graph_path)
    del graph.graph.output[1]
    fewer = make_model_folder("fewer", graph=graph.SerializeToString())
    with pytest.raises(ModelError, match="expected crops, cell_mask, logits, embedding, got"):
        open_session(load_model(fewer))


def test_a_file_that_is_no_graph_is_refused(make_model_folder):
    with pytest.raises(ModelError, match="cannot load it"):
        open_session(load_model(make_model_folder(graph=b"not a graph")))


def test_a_network_that_gives_nan_is_refused(make_model_folder, cells):
    whole = make_model_folder("whole")
    graph = onnx.load(load_model(whole).graph_path)
    prior = next(w for w in graph.graph.initializer if w.name == "prior")
    prior.CopyFrom(onnx.numpy_helper.from_array(np.full(N_LOCATIONS, np.nan, np.float32), "prior"))
    damaged = make_model_folder("damaged", graph=graph.SerializeToString())
    with pytest.raises(ModelError, match="NaN or infinity"):
        open_session(load_model(damaged)).run(*cells)

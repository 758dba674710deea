"""The form of SubCell's layers in the graph: the published network's numbers, one cell or many."""

import numpy as np
import onnx
import pytest
import torch

from hpacells.model.export import write_graph
from hpacells.model.subcell import SubcellEncoder
from hpacells.model.subcell_graph import fuse_layers
from hpacells.runtime.graph import open_graph

SIDE = 64


@pytest.fixture(scope="module")
def encoder():
    torch.manual_seed(5)
    made = SubcellEncoder(2, crop_px=SIDE, depth=2, drop_path=0.5)
    with torch.no_grad():
        for name, values in made.named_parameters():
            scale = float("norm" in name and name.endswith("weight"))
            values.copy_(0.05 * torch.randn(values.shape) + scale)
    return made


@pytest.fixture(scope="module")
def graph(encoder, tmp_path_factory):
    path = tmp_path_factory.mktemp("graph") / "encoder.onnx"
    example = (torch.zeros(2, 2, SIDE, SIDE),)
    write_graph(fuse_layers(encoder), example, path, inputs=["stains"], outputs=["embedding"])
    return path


def draw(n):
    return np.random.default_rng(n).random((n, 2, SIDE, SIDE), np.float32)


def test_the_graph_computes_what_the_network_computes(encoder, graph):
    stains = draw(3)
    with torch.no_grad():
        expected = encoder.eval()(torch.from_numpy(stains)).numpy()
    (found,) = open_graph(graph, input_sizes="equal").run(None, {"stains": stains})
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_cells_beside_it_do_not_change_a_cell(graph):
    session = open_graph(graph, input_sizes="equal")
    stains = draw(4)
    (together,) = session.run(None, {"stains": stains})
    for i in range(4):
        (alone,) = session.run(None, {"stains": stains[i : i + 1]})
        np.testing.assert_array_equal(alone[0], together[i])


def test_attention_is_one_operator_and_no_row_is_a_multiple_of_a_page(graph):
    content = onnx.load_model(graph)
    kinds = [node.op_type for node in content.graph.node]
    assert kinds.count("MultiHeadAttention") == 2
    widths = {tuple(one.dims) for one in content.graph.initializer}
    assert {(768, 3088), (3088, 768)} <= widths
    assert not {(768, 3072), (3072, 768)} & widths


def test_the_network_itself_stays(encoder):
    before = {name: values.clone() for name, values in encoder.state_dict().items()}
    fuse_layers(encoder.train())
    assert encoder.training
    assert encoder.state_dict().keys() == before.keys()
    assert all(torch.equal(values, before[name]) for name, values in encoder.state_dict().items())

import json

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch import nn

from hpacells.core.errors import ModelError
from hpacells.model import export
from hpacells.model.network import NORMALISATION, CellClassifier
from hpacells.runtime.model_folder import Architecture, ModelSpec, Training

BACKBONE = "hpa_nfnet_pico"


def make_model(seed=0):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = CellClassifier(BACKBONE, crop_px=32, embedding_size=16, drop_path=0.1)
        nn.init.normal_(model.head.weight, std=1.0)
        for name, parameter in model.named_parameters():
            if name.endswith("gain"):
                nn.init.uniform_(parameter, 0.5, 1.5)
    return model


def make_spec():
    return ModelSpec(
        name="tiny",
        version="1",
        architecture=Architecture(backbone=BACKBONE, kwargs={"drop_path": 0.1}),
        crop_px=32,
        pixel_size_um=0.5,
        normalisation=NORMALISATION,
        embedding_size=16,
        training=Training(data_hash="0", n_fields=1, seed=0),
        licence="BSD-3-Clause",
    )


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    folder = tmp_path_factory.mktemp("exported") / "tiny"
    model = make_model()
    export.export_model(model, make_spec(), folder)
    return folder, model


def test_views_are_part_of_the_graph_and_of_the_folder(tmp_path):
    model, spec = make_model(), make_spec()
    model.views = 8
    kwargs = {**spec.architecture.kwargs, "views": 8}
    spec = spec.model_copy(update={"architecture": Architecture(backbone=BACKBONE, kwargs=kwargs)})
    export.export_model(model, spec, tmp_path)
    read, _ = export.load_classifier(tmp_path)
    assert read.views == 8
    crops, masks = make_cells(3)
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx")
    names = ["logits", "embedding"]
    straight = session.run(names, {"crops": crops, "cell_mask": masks})
    mirrored = {"crops": crops[:, :, :, ::-1].copy(), "cell_mask": masks[:, :, ::-1].copy()}
    for one, other in zip(straight, session.run(names, mirrored), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-4)


def make_cells(n, seed=3):
    rng = np.random.default_rng(seed)
    crops = rng.integers(0, 256, (n, 4, 32, 32), dtype=np.uint8)
    return crops, rng.integers(0, 2, (n, 32, 32), dtype=np.uint8)


@pytest.mark.parametrize("n", [1, 2, 7])
def test_graph_computes_what_the_network_computes(exported, n):
    folder, model = exported
    session = onnxruntime.InferenceSession(folder / "model.onnx")
    crops, masks = make_cells(n)
    logits, embedding = session.run(["logits", "embedding"], {"crops": crops, "cell_mask": masks})
    with torch.no_grad():
        expected = model.eval()(torch.from_numpy(crops), torch.from_numpy(masks))
    np.testing.assert_allclose(logits, expected[0], atol=1e-4)
    np.testing.assert_allclose(embedding, expected[1], atol=1e-4)
    assert embedding.shape == (n, 16)


def test_inputs_are_bytes_and_no_weight_standardisation_is_left(exported):
    graph = onnx.load(exported[0] / "model.onnx").graph
    kinds = {value.name: value.type.tensor_type.elem_type for value in graph.input}
    assert kinds == {"crops": onnx.TensorProto.UINT8, "cell_mask": onnx.TensorProto.UINT8}
    operators = {node.op_type for node in graph.node}
    assert "Conv" in operators
    assert "BatchNormalization" not in operators


def test_folding_keeps_the_function_and_leaves_the_original(exported):
    model = make_model(5).eval()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    folded = export.fold_weight_standardisation(model)
    kinds = {type(module).__name__ for module in folded.modules()}
    assert "ScaledStdConv2d" not in kinds
    crops, masks = (torch.from_numpy(array) for array in make_cells(4))
    with torch.no_grad():
        torch.testing.assert_close(folded(crops, masks), model(crops, masks), atol=1e-5, rtol=1e-4)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


def test_a_folder_is_read_back_as_the_same_network(exported):
    folder, model = exported
    back, spec = export.load_classifier(folder)
    assert not back.training
    assert spec.name == "tiny"
    for name, tensor in model.state_dict().items():
        assert torch.equal(back.state_dict()[name], tensor)


def test_a_folder_without_weights_has_no_network(exported, tmp_path):
    folder, _ = exported
    content = json.loads((folder / "model.json").read_text())
    del content["files"]["model.safetensors"]
    (tmp_path / "model.json").write_text(json.dumps(content))
    (tmp_path / "model.onnx").write_bytes((folder / "model.onnx").read_bytes())
    with pytest.raises(ModelError, match="holds no"):
        export.load_classifier(tmp_path)


def test_weights_of_another_architecture_are_refused(exported, tmp_path):
    folder, _ = exported
    content = json.loads((folder / "model.json").read_text())
    content["architecture"]["backbone"] = "test_convnext"
    for name in ("model.onnx", "model.safetensors"):
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    (tmp_path / "model.json").write_text(json.dumps(content))
    with pytest.raises(ModelError, match=r"another architecture.*Missing.*backbone\."):
        export.load_classifier(tmp_path)


def test_a_graph_that_computes_something_else_is_not_kept(exported, tmp_path, monkeypatch):
    graph = (exported[0] / "model.onnx").read_bytes()
    monkeypatch.setattr(export, "_write_graph", lambda model, path: path.write_bytes(graph))
    with pytest.raises(ModelError, match="differ from the network's"):
        export.export_model(make_model(7), make_spec(), tmp_path / "m")
    assert not (tmp_path / "m" / "model.onnx").exists()
    assert not (tmp_path / "m" / "model.json").exists()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("backbone", "kwargs"),
    [
        ("test_vit", {"encoder_input": "photograph"}),
        ("test_convnext", {}),
        ("subcell_dna_protein", {"depth": 1}),
    ],
)
def test_graphs_of_other_encoders_hold_their_scale(backbone, kwargs, tmp_path):
    # export compares graph and network
    model = CellClassifier(backbone, crop_px=32, embedding_size=16, **kwargs)
    spec = export.export_model(model, make_spec(), tmp_path)
    assert spec.normalisation == model.input.words


def test_the_graph_says_nothing_of_the_machine_it_was_made_on(exported):
    # the exporter notes a stack trace, with the paths of source files, on every node
    folder, _ = exported
    content = (folder / "model.onnx").read_bytes()
    assert b".py" not in content

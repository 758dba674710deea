"""A bioimage.io package built here, and what becomes of it."""

import hashlib
import zipfile

import cv2
import numpy as np
import onnx
import pytest
import torch
import yaml
from onnx import TensorProto, helper, numpy_helper

from hpacells.core.errors import ModelError
from hpacells.core.locations import N_LOCATIONS
from hpacells.model.bioimageio_package import CellBox
from hpacells.model.published import install_classifier
from hpacells.runtime.session import open_session

SIDE = 16
ENTRY = {
    "name": "small-inception",
    "task": "classifier",
    "format": "bioimageio",
    "title": "A mean and a linear layer",
    "good_for": "tests",
    "stains": ["red", "green", "blue", "yellow"],
    "pixel_size_um": 0.64,
    "classes": "19",
    "size_mb": 1,
    "licence": "as its description says",
    "citation": "nobody",
    "options": {"crop_px": 48},
}
KERNEL = np.random.default_rng(1).normal(0, 0.05, (4, N_LOCATIONS)).astype(np.float32)


def make_graph(*, kernel=KERNEL, features=True, stains=4):
    """Means of the stains, and scores that are linear in them."""
    nodes = [
        helper.make_node("GlobalAveragePool", ["image"], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["features"]),
        helper.make_node("MatMul", ["features", "kernel"], ["classes"]),
    ]
    given = [helper.make_tensor_value_info("image", 1, ["n", stains, SIDE, SIDE])]
    out = [helper.make_tensor_value_info("classes", 1, ["n", kernel.shape[1]])]
    if features:
        out.append(helper.make_tensor_value_info("features", 1, ["n", stains]))
    weights = [numpy_helper.from_array(kernel, "kernel")]
    graph = helper.make_graph(nodes, "published", given, out, weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 11)], ir_version=6)


def describe(graph, **changes):
    return {
        "format_version": "0.4.9",
        "type": "model",
        "license": "CC-BY-4.0",
        "inputs": [{"name": "image", "axes": "bcyx", "shape": [1, 4, SIDE, SIDE]}],
        "outputs": [{"name": "classes", "axes": "bc", "data_range": [float("-inf"), float("inf")]}],
        "weights": {"onnx": {"source": "w.onnx", "sha256": hashlib.sha256(graph).hexdigest()}},
        **changes,
    }


@pytest.fixture
def publish(serve, own_models):
    """Serves a package as a ZIP file; gives its entry."""
    folder, address = serve

    def make(graph=None, *, drop=(), **changes):
        content = graph if isinstance(graph, bytes) else (graph or make_graph()).SerializeToString()
        parts = {"rdf.yaml": yaml.safe_dump(describe(content, **changes)), "w.onnx": content}
        with zipfile.ZipFile(folder / "package.zip", "w") as archive:
            for name, part in parts.items():
                if name not in drop:
                    archive.writestr(name, part)
        (entry,) = own_models({**ENTRY, "files": [{"url": f"{address}/package.zip"}]})
        return entry

    return make


def install(entry, told=None):
    return install_classifier(entry, tell=(told if told is not None else []).append)


def draw_cell(rows, columns, *, side=48):
    crop = np.random.default_rng(2).integers(0, 256, (1, 4, side, side), dtype=np.uint8)
    mask = np.zeros((1, side, side), np.uint8)
    mask[0, slice(*rows), slice(*columns)] = 1
    mask[0, rows[0], columns[0]] = 0  # not all of its box is cell
    return crop, mask


def boxed(crop, mask, side=SIDE):
    """The published way: the box cut out, black outside the cell, resized."""
    where = np.argwhere(mask[0])
    (r0, c0), (r1, c1) = where.min(axis=0), where.max(axis=0) + 1
    planes = (crop[0] * mask[0])[:, r0:r1, c0:c1].astype(np.float32)
    return np.stack([cv2.resize(p, (side, side), interpolation=cv2.INTER_LINEAR) for p in planes])


@pytest.mark.parametrize(
    ("rows", "columns"), [((5, 40), (10, 31)), ((0, 48), (3, 9)), ((7, 9), (2, 47))]
)
def test_the_box_is_cut_out_and_resized_as_opencv_does_it(rows, columns):
    crop, mask = draw_cell(rows, columns)
    got = CellBox(SIDE, gain=0.5, offset=1.0)(torch.from_numpy(crop), torch.from_numpy(mask))[0]
    np.testing.assert_allclose(got.numpy(), boxed(crop, mask) * 0.5 + 1.0, atol=0.02)


def test_an_empty_mask_gives_black():
    crop, mask = draw_cell((0, 48), (0, 48))
    got = CellBox(SIDE)(torch.from_numpy(crop), torch.from_numpy(0 * mask))
    assert got.abs().max() == 0


def test_a_package_becomes_a_model_folder(publish):
    told = []
    entry = publish(
        inputs=[
            {
                "axes": "bcyx",
                "shape": {"min": [1, 4, SIDE, SIDE], "step": [0, 0, 0, 0]},
                "preprocessing": [{"name": "scale_linear", "kwargs": {"gain": 0.1, "offset": 1}}],
            }
        ]
    )
    folder = install(entry, told)
    assert any("states the licence CC-BY-4.0" in line for line in told)
    assert (folder.spec.licence, folder.spec.embedding_size) == ("CC-BY-4.0", 4)
    assert folder.spec.normalisation.endswith("gain 0.1, offset 1")
    crop, mask = draw_cell((5, 40), (10, 31))
    logits, embedding = open_session(folder).run(crop, mask)
    means = boxed(crop, mask).mean(axis=(1, 2)) * 0.1 + 1
    np.testing.assert_allclose(embedding[0], means, rtol=1e-4)
    np.testing.assert_allclose(logits[0], means @ KERNEL, atol=1e-3)


def test_probabilities_become_logits_and_scores_alone_the_embedding(publish):
    kernel = np.abs(KERNEL) / 100
    axes = [
        {"type": "batch"},
        {"type": "channel", "id": "channel", "channel_names": ["r", "g", "b", "y"]},
        {"type": "space", "id": "y", "size": SIDE},
        {"type": "space", "id": "x", "size": SIDE},
    ]
    entry = publish(
        make_graph(kernel=kernel, features=False),
        format_version="0.5.3",
        inputs=[{"id": "image", "axes": axes}],
        outputs=[{"id": "classes", "data": {"range": [0, 1]}}],
    )
    folder = install(entry)
    assert folder.spec.embedding_size == N_LOCATIONS
    crop, mask = draw_cell((5, 40), (10, 31))
    logits, embedding = open_session(folder).run(crop, mask)
    np.testing.assert_allclose(1 / (1 + np.exp(-logits)), embedding, atol=1e-5)


def pointing_outside():
    graph = make_graph()
    tensor = graph.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    entry = tensor.external_data.add()
    entry.key, entry.value = "location", "../../../etc/passwd"
    return graph


@pytest.mark.parametrize(
    ("graph", "changes", "told"),
    [
        (None, {"format_version": "0.6.0"}, "format 0.3, 0.4, 0.5, got 0.6.0. It needs a newer"),
        (None, {"drop": ["rdf.yaml"]}, "expected rdf.yaml in the package"),
        (None, {"drop": ["w.onnx"]}, "expected ONNX weights in the package"),
        (None, {"weights": {"pytorch_state_dict": {"source": "w.pt"}}}, "need code of the package"),
        (
            None,
            {"weights": {"onnx": {"source": "w.onnx", "sha256": "0" * 64}}},
            "expected sha256 0",
        ),
        (None, {"inputs": [{"axes": "bcyx", "shape": [1, 3, 16, 16]}]}, "no classifier of single"),
        (b"no graph", {}, "w.onnx is no ONNX graph"),
        (make_graph(kernel=KERNEL[:, :7]), {}, "expected 19 scores, got an array"),
        (make_graph(stains=3, kernel=KERNEL[:3]), {}, "cannot be used for four stains"),
        (pointing_outside(), {}, "kernel points to another file"),
        (
            None,
            {
                "inputs": [
                    {
                        "axes": "bcyx",
                        "shape": [1, 4, SIDE, SIDE],
                        "preprocessing": [
                            {"name": "scale_range", "kwargs": {"mode": "per_sample"}}
                        ],
                    }
                ]
            },
            "asks for scale_range",
        ),
    ],
)
def test_packages_that_cannot_be_used_leave_nothing(publish, graph, changes, told):
    entry = publish(graph, **changes)
    with pytest.raises(ModelError) as caught:
        install(entry)
    assert told in str(caught.value)
    assert not entry.folder.exists()


def test_a_description_and_an_archive_that_cannot_be_read(publish, serve):
    entry = publish()
    (serve[0] / "package.zip").write_bytes(b"no archive")
    with pytest.raises(ModelError, match=r"expected a bioimage\.io package \(ZIP\)"):
        install(entry)
    with zipfile.ZipFile(serve[0] / "package.zip", "w") as archive:
        archive.writestr("rdf.yaml", "a: [")
    with pytest.raises(ModelError, match="to fetch them anew: hpacells models remove"):
        install(entry)
    (entry.folder.parent / "package.zip").unlink()
    with pytest.raises(ModelError, match=r"package\.zip: expected sha256"):  # of first sight
        install(entry)
    for leftover in entry.folder.parent.iterdir():
        leftover.unlink()
    with pytest.raises(ModelError, match=r"rdf\.yaml is not YAML"):
        install(entry)


def test_nothing_is_unpacked_to_a_place_that_the_package_names(publish, serve, tmp_path):
    entry = publish()
    with zipfile.ZipFile(serve[0] / "package.zip", "a") as archive:
        archive.writestr("../../evil", "no")
        archive.writestr(f"{tmp_path}/evil", "no")
    install(entry)
    assert not list(tmp_path.rglob("evil"))


def test_a_package_that_unpacks_without_end_is_refused_unread(publish, monkeypatch):
    monkeypatch.setattr("hpacells.model.bioimageio_package._MAX_BYTES", 10)
    with pytest.raises(ModelError, match="unpacks to more than 10 bytes"):
        install(publish())


def test_the_graph_is_one_that_onnx_accepts(publish):
    folder = install(publish())
    onnx.checker.check_model(onnx.load_model(folder.graph_path), full_check=True)

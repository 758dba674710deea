"""Segmenter folders, and the sessions that run them."""

import json

import numpy as np
import pytest

from hpacells.core.errors import ModelError
from hpacells.runtime.registry import list_models
from hpacells.runtime.segmenter_folder import (
    SEGMENTER_GRAPH,
    SEGMENTER_SPEC,
    SegmenterSpec,
    load_segmenter,
    write_segmenter_spec,
)
from hpacells.runtime.segmenter_session import open_segmenter

ALL = np.ones(3, np.bool_)


def edit(folder, **fields):
    path = folder / SEGMENTER_SPEC
    content = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps(content | fields), encoding="utf-8")


def test_a_written_folder_is_read_back(make_segmenter_folder):
    found = load_segmenter(make_segmenter_folder())
    assert found.spec.stains == ("blue", "red", "yellow")
    assert found.spec.maps == ("cell", "border", "nucleus", "seed")
    assert found.graph_path.is_file()
    assert len(found.graph_sha256) == 64


def test_a_segmenter_is_no_classifier(make_segmenter_folder):
    assert list_models(make_segmenter_folder().parent) == []


def test_a_folder_without_its_description_is_refused(tmp_path):
    with pytest.raises(ModelError, match=r"there is no segmenter\.json"):
        load_segmenter(tmp_path)


def test_a_description_needs_a_graph(tmp_path):
    spec = SegmenterSpec(
        name="x", version="1", pixel_size_um=0.32, normalisation="none", licence="none"
    )
    with pytest.raises(ModelError, match=r"expected segmenter\.onnx, there is none"):
        write_segmenter_spec(tmp_path, spec)


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"pixel_size_um": 9}, "pixel_size_um"),
        ({"colour": "red"}, "colour"),
        ({"files": {}}, "expected the files segmenter.onnx"),
        ({"files": {SEGMENTER_GRAPH: "0", "other.bin": "0"}}, "expected the files segmenter.onnx"),
        ({"files": {SEGMENTER_GRAPH: "0"}}, "expected sha256 0, got"),
        ({"maps": ["cell", "nucleus"]}, "got blue, red, yellow and cell, nucleus"),
        ({"stains": ["red", "blue", "yellow"]}, "got red, blue, yellow and cell"),
    ],
)
def test_a_malformed_description_is_refused(make_segmenter_folder, fields, told):
    folder = make_segmenter_folder()
    edit(folder, **fields)
    with pytest.raises(ModelError, match=told):
        load_segmenter(folder)


def test_a_missing_graph_is_refused(make_segmenter_folder):
    folder = make_segmenter_folder()
    (folder / SEGMENTER_GRAPH).unlink()
    with pytest.raises(ModelError, match="no such file"):
        load_segmenter(folder)


def test_a_session_draws_maps_and_leaves_a_missing_stain_out(make_segmenter_folder):
    session = open_segmenter(load_segmenter(make_segmenter_folder()))
    stains = np.zeros((3, 16, 48), np.float32)
    stains[0, 4:9, 5:20] = 1
    maps = session.run(stains, ALL)
    assert maps.shape == (4, 16, 48)
    np.testing.assert_array_equal(maps[2] > 0.5, stains[0] > 0.5)
    assert not (session.run(stains, np.array([False, True, True]))[2] > 0.5).any()


@pytest.mark.parametrize(
    ("shape", "flags"), [((3, 16, 40), 3), ((2, 16, 16), 3), ((16, 16), 3), ((3, 16, 16), 2)]
)
def test_wrong_sizes_are_refused(make_segmenter_folder, shape, flags):
    session = open_segmenter(load_segmenter(make_segmenter_folder()))
    with pytest.raises(ModelError, match=r"expected stains \(3, H, W\)"):
        session.run(np.zeros(shape, np.float32), np.ones(flags, np.bool_))


def test_a_network_that_gives_nan_is_refused(make_segmenter_folder):
    session = open_segmenter(load_segmenter(make_segmenter_folder()))
    with pytest.raises(ModelError, match="the network gives NaN"):
        session.run(np.full((3, 16, 16), np.nan, np.float32), ALL)


def test_a_file_that_is_no_graph_is_refused(make_segmenter_folder):
    with pytest.raises(ModelError, match="cannot load it"):
        open_segmenter(load_segmenter(make_segmenter_folder(graph=b"nonsense")))


def test_a_graph_of_something_else_is_refused(make_segmenter_folder, make_model_folder):
    graph = (make_model_folder() / "model.onnx").read_bytes()
    with pytest.raises(ModelError, match="Export it again"):
        open_segmenter(load_segmenter(make_segmenter_folder(graph=graph)))

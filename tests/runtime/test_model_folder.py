import json

import pytest
from pydantic import ValidationError

from hpacells.core.errors import ModelError
from hpacells.core.locations import LOCATION_KEYS, N_LOCATIONS
from hpacells.runtime.model_folder import (
    GRAPH_FILE,
    SPEC_FILE,
    WEIGHTS_FILE,
    Calibration,
    Postprocessing,
    load_model,
    write_model_spec,
)


def rewrite(folder, **changes):
    path = folder / SPEC_FILE
    content = json.loads(path.read_text())
    content.update(changes)
    path.write_text(json.dumps(content))


def test_a_written_model_reads_back_the_same(make_model_folder):
    folder = make_model_folder(calibration=Calibration(scale=(2.0,) * N_LOCATIONS))
    model = load_model(folder)
    assert model.spec == write_model_spec(folder, model.spec)
    assert model.spec.locations == LOCATION_KEYS
    assert model.spec.calibration.scale[3] == 2.0
    assert model.model_id == f"tiny-1@{model.spec.files[GRAPH_FILE][:12]}"
    assert model.graph_path.stat().st_size == model.size_bytes
    assert model.weights_path is None
    assert model.spec.crop_spec().crop_px == model.spec.crop_px


def test_weights_beside_the_graph_are_hashed_and_verified(tiny_model_folder):
    spec = load_model(tiny_model_folder).spec
    (tiny_model_folder / WEIGHTS_FILE).write_bytes(b"weights")
    write_model_spec(tiny_model_folder, spec)
    assert load_model(tiny_model_folder).weights_path == tiny_model_folder / WEIGHTS_FILE
    (tiny_model_folder / WEIGHTS_FILE).write_bytes(b"weighty")
    with pytest.raises(ModelError, match=r"model\.safetensors: expected sha256 .* damaged"):
        load_model(tiny_model_folder)


def test_a_changed_graph_is_refused(tiny_model_folder):
    graph = tiny_model_folder / GRAPH_FILE
    graph.write_bytes(graph.read_bytes() + b"\0")
    with pytest.raises(ModelError, match="damaged"):
        load_model(tiny_model_folder)


def test_a_missing_graph_is_named(tiny_model_folder):
    (tiny_model_folder / GRAPH_FILE).unlink()
    with pytest.raises(ModelError, match=r"model\.onnx: missing"):
        load_model(tiny_model_folder)
    with pytest.raises(ModelError, match="Export the model first"):
        write_model_spec(tiny_model_folder, None)


def test_a_folder_without_spec_is_no_model(tmp_path):
    with pytest.raises(ModelError, match="not a model folder"):
        load_model(tmp_path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"locations": list(reversed(LOCATION_KEYS))}, "expected the locations"),
        ({"stains": ["green", "red", "blue", "yellow"]}, "expected the stains"),
        ({"colour": "red"}, "colour"),
        ({"crop_px": 4}, "crop_px"),
        ({"files": {}}, "names no model.onnx"),
        ({"files": {GRAPH_FILE: "0", "../secret": "0"}}, r"\.\./secret|damaged"),
        ({"files": {"../secret": "0", GRAPH_FILE: "0"}}, r"got \.\./secret"),
        ({"calibration": {"scale": [1.0], "bias": [0.0]}}, "expected 19 scales"),
    ],
)
def test_a_spec_of_something_else_is_refused(tiny_model_folder, changes, message):
    rewrite(tiny_model_folder, **changes)
    with pytest.raises(ModelError, match=message):
        load_model(tiny_model_folder)


def test_constants_of_a_former_time_are_passed_over(tiny_model_folder):
    spec = json.loads((tiny_model_folder / "model.json").read_text())
    former = {"border_floor": 0.5, "border_full_area": 1.0, "border_without_nucleus": 0.5}
    spec["postprocessing"] = {**former, **spec["postprocessing"]}
    (tiny_model_folder / "model.json").write_text(json.dumps(spec, indent=2))
    assert load_model(tiny_model_folder).spec.postprocessing.border_power == 1
    spec["postprocessing"]["border_flor"] = 1.0
    (tiny_model_folder / "model.json").write_text(json.dumps(spec, indent=2))
    with pytest.raises(ModelError, match="border_flor"):
        load_model(tiny_model_folder)


def test_broken_json_is_refused(tiny_model_folder):
    (tiny_model_folder / SPEC_FILE).write_text("{")
    with pytest.raises(ModelError, match="JSON"):
        load_model(tiny_model_folder)


def test_constants_that_contradict_each_other_are_refused():
    with pytest.raises(ValidationError, match="add up to 1"):
        Postprocessing(cell_weight=0.7, image_weight=0.7)
    with pytest.raises(ValidationError, match="above 0"):
        Calibration(scale=(0.0,) * N_LOCATIONS)

import json

import numpy as np
import pyarrow.parquet as pq
import pytest

from hpacells.core.cell_table import (
    CELL_SCHEMA,
    FIELD_SCHEMA,
    PROBABILITY_COLUMNS,
    CellStatus,
    CellTable,
)
from hpacells.core.crop_spec import CropSpec
from hpacells.core.errors import ModelError, OutputError
from hpacells.crops.build import build_store
from hpacells.images.discover import discover_fields
from hpacells.predict.networks import Networks
from hpacells.predict.store_scores import predict_store
from hpacells.runtime.model_folder import load_model
from hpacells.runtime.registry import DEFAULT_MODEL, resolve_model
from hpacells.segment.measure import measure_cells
from hpacells.segment.registry import get_segmenter


class Outlines:
    """A source of masks: the segmenter, with one cell of each field called rejected."""

    name = "watershed"

    def digest(self, fov_id):
        return ""

    def __call__(self, fov):
        masks = get_segmenter("watershed")(fov)
        rows = measure_cells(fov, masks).table.to_pylist()
        rows[0].update(status=CellStatus.REJECTED.value, reason="debris")
        schema = measure_cells(fov, masks).table.schema
        return masks, CellTable(type(measure_cells(fov, masks).table).from_pylist(rows, schema))


@pytest.fixture
def make_store(images, tmp_path):
    def make(name="store", **spec):
        wanted = CropSpec(**{"crop_px": 32, "pixel_size_um": 0.64, "outside": "zero", **spec})
        records = discover_fields(images, pixel_size_um=0.64)
        return build_store(records, tmp_path / name, wanted, source=Outlines())

    return make


@pytest.fixture
def model(tiny_model_folder):
    return load_model(tiny_model_folder)


def test_scores_of_a_store_equal_those_of_the_run(make_store, model, tmp_path, run):
    content = predict_store(make_store(), tmp_path / "scores", model)
    counts = content["counts"]
    assert counts["fields"] == counts["done"] + counts["failed"] == 3
    assert counts["cells"] == counts["ok"] + counts["border"] + counts["rejected"]
    assert counts["rejected"] == 3
    scored = pq.read_table(tmp_path / "scores" / "cells.parquet")
    assert scored.schema.equals(CELL_SCHEMA)
    fields = pq.read_table(tmp_path / "scores" / "fields.parquet")
    assert fields.schema.equals(FIELD_SCHEMA)
    assert fields["n_rejected"].to_pylist() == [1, 1, 1]
    assert fields["qc_no_cells"].to_pylist() == [False] * 3
    assert fields["qc_swapped_stains"].null_count == 3
    streamed = pq.read_table(run(segmenter="watershed").out / "cells.parquet")
    kept = np.array(scored["status"].to_pylist()) != "rejected"
    for name in PROBABILITY_COLUMNS:
        same = scored[name].to_numpy()[kept], streamed[name].to_numpy()[kept]
        assert np.array_equal(*same)
        assert (scored[name].to_numpy()[~kept] == 0).all()
    embeddings = pq.read_table(tmp_path / "scores" / "embeddings.parquet")
    assert embeddings.num_rows == kept.sum()


def test_asked_again_nothing_is_rewritten(make_store, model, tmp_path):
    store, out = make_store(), tmp_path / "scores"
    first = predict_store(store, out, model)
    before = (out / "cells.parquet").stat().st_mtime_ns
    assert predict_store(store, out, model) == first == json.loads((out / "run.json").read_text())
    assert (out / "cells.parquet").stat().st_mtime_ns == before


def test_a_failed_field_of_the_store_stays_failed(make_store, model, tmp_path, images):
    (images / "field1_red.png").write_bytes(b"no image")
    content = predict_store(make_store(), tmp_path / "scores", model)
    assert content["counts"]["failed"] == 1
    row = pq.read_table(tmp_path / "scores" / "fields.parquet").to_pylist()[1]
    assert (row["status"], row["n_ok"], row["image_cytosol"]) == ("failed", 0, None)


@pytest.mark.parametrize("other", [{"crop_px": 48}, {"pixel_size_um": 0.7}])
def test_a_store_of_other_crops_is_refused(make_store, model, tmp_path, other):
    with pytest.raises(ModelError, match=r"expects crops of 32 px at 0\.64 µm"):
        predict_store(make_store(**other), tmp_path / "scores", model)
    assert not (tmp_path / "scores").exists()


def test_what_was_said_of_the_outside_changes_no_score(make_store, model, tmp_path):
    """A store keeps all pixels; one that said ``keep`` was once refused all the same."""
    for outside in ("zero", "keep"):
        predict_store(make_store("of_" + outside, outside=outside), tmp_path / outside, model)
    tables = [pq.read_table(tmp_path / name / "cells.parquet") for name in ("zero", "keep")]
    assert tables[0].equals(tables[1])


def test_another_model_in_the_same_folder_is_refused(
    make_store, model, tmp_path, make_model_folder
):
    store = make_store()
    predict_store(store, tmp_path / "scores", model)
    other = load_model(make_model_folder("other", seed=2))
    with pytest.raises(OutputError, match="another model_id"):
        predict_store(store, tmp_path / "scores", other)


def test_scores_on_torch_equal_those_on_onnx_and_are_another_run_s(make_store, tmp_path):
    model = load_model(resolve_model(DEFAULT_MODEL))
    store = make_store(crop_px=model.spec.crop_px, pixel_size_um=model.spec.pixel_size_um)
    predict_store(store, tmp_path / "onnx", model)
    content = predict_store(store, tmp_path / "torch", model, networks=Networks("torch"))
    assert content["runtime"] == "torch"
    found, expected = (
        np.column_stack([pq.read_table(out / "cells.parquet")[n] for n in PROBABILITY_COLUMNS])
        for out in (tmp_path / "torch", tmp_path / "onnx")
    )
    np.testing.assert_allclose(found, expected, atol=1e-4, rtol=0)
    with pytest.raises(OutputError, match="runtime"):
        predict_store(store, tmp_path / "torch", model)

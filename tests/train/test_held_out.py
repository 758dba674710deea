import numpy as np
import pytest

from hpacells.core.submission import (
    SubmissionRow,
    encode_cells,
    format_predictions,
    write_submission,
)
from hpacells.images.mask_files import mask_path, write_label_image
from hpacells.runtime.model_folder import Architecture, ModelSpec, Postprocessing, Training
from hpacells.train.data import load_training_data
from hpacells.train.held_out import judge_held_out
from hpacells.train.truth import TruthFiles, read_cell_truth
from hpacells.train.validation import Validation, cells_of

SPEC = ModelSpec(
    name="drawn",
    version="1",
    architecture=Architecture(backbone="none"),
    crop_px=24,
    pixel_size_um=0.8,
    normalisation="",
    embedding_size=2,
    postprocessing=Postprocessing(negative="product", cell_weight=1, image_weight=0),
    training=Training(data_hash="", n_fields=1, seed=0),
    licence="",
)
FIELDS = np.array([0, 2])


@pytest.fixture
def scene(make_store, tmp_path):
    """Three fields; every cell a box in a row, found as it truly is, odd ones of class 7."""
    store = make_store(tmp_path / "s", 3)
    data = load_training_data(store)
    files = TruthFiles(tmp_path / "set", tmp_path / "found")
    lines, rows = ["ID,cell_id,Label"], []
    for i, fov_id in enumerate(data.fov_ids):
        n = int(np.diff(data.offsets)[i])
        image = np.zeros((50, 70), np.int32)
        for cell in range(1, n + 1):
            image[5 * cell - 5 : 5 * cell - 1, 3:40] = cell
        for folder in (files.found_masks, files.dataset / "truth"):
            write_label_image(mask_path(folder, fov_id, "cells"), image)
        classes = {cell: 7 if cell % 2 else 16 for cell in range(1, n + 1)}
        lines += [f"{fov_id},{cell},{k}" for cell, k in classes.items()]
        texts = encode_cells(image)
        triples = [(k, 1.0, texts[cell]) for cell, k in classes.items()]
        rows.append(SubmissionRow(fov_id, 70, 50, format_predictions(triples)))
    files.cells_csv.write_text("\n".join(lines) + "\n")
    write_submission(files.submission, rows)
    return store, data, files, read_cell_truth(files, store, data, FIELDS)


def judge(scene, logits, **more):
    store, data, _, _ = scene
    answers = Validation((None,) * 19, 0.0, 2, logits, logits[:, :2])
    return judge_held_out(answers, data, FIELDS, SPEC, store=store, **more)


def test_a_perfect_model_scores_one_and_only_its_fields_count(scene):
    _, data, files, truth = scene
    logits = truth.targets[cells_of(data, FIELDS)] * 16 - 8
    found = judge(scene, logits, truth=truth, files=files)
    assert found["strict"]["mean_ap"] == found["cell"]["mean_ap"] == 1.0
    assert found["strict"]["ap"]["golgi_apparatus"] == 1.0
    assert found["strict"]["ap"]["aggresome"] is None
    assert found["cell"]["n"] == 14
    assert found["cell"]["n_without_partner"] == 0
    assert found["cell_lines"]["unknown"]["strict_map"] == 1.0
    blind = judge(scene, -logits, truth=truth, files=files)
    assert blind["strict"]["mean_ap"] < 0.7


def test_what_cannot_be_measured_is_null_and_says_why(scene):
    _, data, files, truth = scene
    logits = np.zeros((len(cells_of(data, FIELDS)), 19), np.float32)
    bare = judge(scene, logits)
    assert (bare["cell"], bare["strict"]) == (None, None)
    assert "a crop store holds no outlines" in bare["not_measured"]
    assert bare["image"]["n"] == 2
    mask_path(files.found_masks, "f002", "cells").unlink()
    part = judge(scene, logits, truth=truth, files=files)
    assert part["strict"] is None
    assert "1 held-out fields have no outlines" in part["not_measured"]
    assert part["cell"] is not None


def test_each_cell_line_is_judged_by_its_own_fields(scene, monkeypatch):
    store, data, files, truth = scene
    table = store.fields_table()
    lines = ["HeLa", "A549", "U-2 OS"]
    column = table.schema.get_field_index("cell_line")
    table = table.set_column(column, "cell_line", [lines])
    monkeypatch.setattr(type(store), "fields_table", lambda self: table)
    logits = truth.targets[cells_of(data, FIELDS)] * 16 - 8
    logits[6:] = -logits[6:]  # all wrong in the second of the two fields
    found = judge(scene, logits, truth=truth, files=files)["cell_lines"]
    assert set(found) == {"HeLa", "U-2 OS"}
    assert found["HeLa"]["strict_map"] == found["HeLa"]["cell_mean_ap"] == 1.0
    assert found["U-2 OS"]["strict_map"] < 0.7
    assert found["U-2 OS"]["fields"] == 1

import json

import pytest

from hpacells.core.errors import ModelError
from hpacells.runtime import variation_null
from hpacells.runtime.model_folder import NULL_FILE, load_model
from hpacells.runtime.variation_null import (
    NULL_LEVELS,
    KindNull,
    VariationNull,
    attach_null,
    copy_null,
    find_null,
    read_null,
)

KIND = KindNull(expected=(1.0,), spread=(0.0,), quantiles=NULL_LEVELS, tail=0.5)
NULL = VariationNull(
    features=("constant",),
    lowest=(1.0,),
    highest=(1.0,),
    spatial=KIND,
    intensity=KIND,
    n_fields=200,
    source="drawn",
)


def test_an_attached_null_is_hashed_told_and_read_back(tiny_model_folder):
    assert read_null(tiny_model_folder) is None
    model_id = load_model(tiny_model_folder).model_id
    attach_null(tiny_model_folder, NULL)
    model = load_model(tiny_model_folder)
    assert NULL_FILE in model.spec.files
    assert model.spec.fitted["variation"] == "drawn"
    assert model.model_id == model_id
    assert read_null(tiny_model_folder) == NULL
    attach_null(tiny_model_folder, NULL.model_copy(update={"source": "again"}))
    assert load_model(tiny_model_folder).spec.fitted["variation"] == "again"


def test_a_changed_null_is_refused_with_its_model(tiny_model_folder):
    attach_null(tiny_model_folder, NULL)
    path = tiny_model_folder / NULL_FILE
    path.write_text(path.read_text().replace("200", "300"))
    with pytest.raises(ModelError, match=r"variation_null\.json: expected sha256"):
        load_model(tiny_model_folder)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"format": 2}, "format"),
        ({"lowest": [1.0, 2.0]}, "one number a feature"),
        ({"n_fields": 0}, "n_fields"),
        ({"odd": 1}, "odd"),
    ],
)
def test_a_malformed_null_is_named(tmp_path, changes, message):
    content = NULL.model_dump(mode="json") | changes
    (tmp_path / NULL_FILE).write_text(json.dumps(content))
    with pytest.raises(ModelError, match=f"(?s){message}.*Fit it again"):
        read_null(tmp_path)


def test_a_run_is_judged_by_the_copy_it_took(tiny_model_folder, tmp_path):
    attach_null(tiny_model_folder, NULL)
    copy_null(tiny_model_folder, tmp_path)
    assert find_null(tmp_path).null == NULL
    copy_null(tmp_path / "no model", tmp_path)
    assert read_null(tmp_path) == NULL


def test_an_older_run_finds_the_shipped_model_of_the_same_network(
    tiny_model_folder, tmp_path, monkeypatch
):
    attach_null(tiny_model_folder, NULL)
    monkeypatch.setattr(variation_null, "WEIGHTS_FOLDER", tiny_model_folder.parent)
    monkeypatch.setattr(variation_null, "list_models", lambda: ["tiny"])
    run = tmp_path / "run"
    run.mkdir()
    settings = run / "settings.json"
    settings.write_text(json.dumps({"model_id": load_model(tiny_model_folder).model_id}))
    assert find_null(run).null == NULL
    settings.write_text(json.dumps({"model_id": "other-1@000"}))
    found = find_null(run)
    assert found.null is None
    assert "other-1@000" in found.why
    for content in ("not json", "[]"):
        settings.write_text(content)
        assert "the model of these tables" in find_null(run).why
    settings.unlink()
    assert find_null(run).null is None
    assert load_model(tiny_model_folder).spec.fitted["variation"] == "drawn"

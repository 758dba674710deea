import pytest

from hpacells.core.errors import ModelError
from hpacells.runtime.model_folder import load_model
from hpacells.runtime.registry import WEIGHTS_FOLDER, list_models, resolve_model


def test_shipped_models_are_whole_and_bear_their_folders_name():
    assert WEIGHTS_FOLDER.is_dir()
    for name in list_models():
        assert load_model(resolve_model(name)).spec.name == name


def test_names_come_before_paths(make_model_folder, monkeypatch):
    shipped = make_model_folder("b").parent
    make_model_folder("a")
    (shipped / "not-a-model").mkdir()
    assert list_models(shipped) == ["a", "b"]
    monkeypatch.chdir(shipped)
    assert resolve_model("a", folder=shipped) == shipped / "a"
    assert str(resolve_model("./a", folder=shipped)) == "a"
    assert resolve_model(shipped / "b", folder=shipped / "elsewhere") == shipped / "b"


def test_an_unknown_model_is_refused_and_the_known_ones_are_named(make_model_folder):
    shipped = make_model_folder("b").parent
    with pytest.raises(ModelError, match=r"'c': expected a shipped model \(b\)"):
        resolve_model("c", folder=shipped)

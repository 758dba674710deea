"""The lists of published models: what stands in them, own entries, and variants by stain."""

import pytest
import yaml

from hpacells.core.channels import Channel
from hpacells.core.errors import ConfigError, ModelError
from hpacells.runtime.published_models import (
    PublishedModel,
    choose_variant,
    known_models,
    own_list,
    read_models,
)
from hpacells.runtime.registry import is_installed, resolve_model

OWN = {
    "name": "mine",
    "task": "classifier",
    "format": "bioimageio",
    "title": "t",
    "good_for": "g",
    "stains": ["red", "green", "blue", "yellow"],
    "pixel_size_um": 0.1,
    "classes": "c",
    "size_mb": 1,
    "licence": "l",
    "citation": "c",
    "files": [{"url": "https://example.org/a.zip"}],
}


@pytest.fixture(autouse=True)
def own(tmp_path, monkeypatch):
    monkeypatch.setenv("HPACELLS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HPACELLS_MODELS", str(tmp_path / "models.yaml"))

    def write(*entries):
        (tmp_path / "models.yaml").write_text(yaml.safe_dump({"models": list(entries)}))

    return write


def test_the_published_models_are_listed():
    models = known_models()
    assert {"subcell", "subcell-vit", "hpa-inception", "hpa-unet", "cellpose"} <= models.keys()
    assert len(models["subcell"].weights.files) == 11  # an encoder and ten classifiers
    urls = [file.url for file in models["subcell"].weights.files]
    assert urls[-1].endswith("/all_channels_MAE_MLP_classifier_seed_9.pth")
    assert models["subcell-vit-dna-protein"].stains == (Channel.NUCLEUS, Channel.PROTEIN)
    assert all(model.licence and model.citation and model.good_for for model in models.values())
    assert not any(is_installed(model) for model in models.values())


@pytest.mark.parametrize("family", ["subcell", "subcell-vit"])
@pytest.mark.parametrize(
    ("missing", "ending"),
    [
        ((), ""),
        ((Channel.ER,), "-mt-dna-protein"),
        ((Channel.MICROTUBULES,), "-er-dna-protein"),
        ((Channel.ER, Channel.MICROTUBULES), "-dna-protein"),
    ],
)
def test_the_variant_is_that_of_the_stains_that_are_there(family, missing, ending):
    assert choose_variant(family, known_models(), missing).name == family + ending
    with pytest.raises(ModelError, match=f"hpacells models install {family}{ending}$"):
        resolve_model(family, missing=missing)


def test_a_named_variant_is_taken_and_no_family_does_without_nuclei():
    models = known_models()
    assert choose_variant("subcell-dna-protein", models, ()).name == "subcell-dna-protein"
    for name in ("subcell", "hpa-inception"):
        with pytest.raises(ModelError, match=r"it looks at blue, .* 'hpacells models' lists"):
            choose_variant(name, models, (Channel.NUCLEUS,))


def test_own_entries_stand_beside_the_known_ones(own):
    own(OWN)
    models = read_models()
    assert models["mine"].weights.files[0].name == "a.zip"
    assert list(models)[:-1] == list(known_models())
    with pytest.raises(ModelError, match="hpacells models install mine"):
        resolve_model("mine")


def test_where_the_own_list_is(monkeypatch, tmp_path):
    assert own_list() == tmp_path / "models.yaml"
    monkeypatch.delenv("HPACELLS_MODELS")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "x"))
    assert own_list() == tmp_path / "x" / "hpacells" / "models.yaml"
    monkeypatch.delenv("XDG_CONFIG_HOME")
    assert own_list().parts[-3:] == (".config", "hpacells", "models.yaml")


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"name": "subcell"}, "the name subcell stands twice"),
        ({"colour": 1}, "colour: Extra inputs are not permitted"),
        ({"task": "segmenter"}, "a segmenter cannot be of format bioimageio"),
        ({"files": [{"url": "ftp://example.org/a"}]}, "files.0.url"),
        ({"files": [{"url": "https://example.org/a", "name": "../b"}]}, "one plain name"),
        ({"files": [{"url": "https://a.org/a"}, {"url": "https://b.org/a"}]}, "one plain name"),
        ({"files": []}, "files"),
    ],
)
def test_malformed_entries_are_refused(own, change, told):
    own({**OWN, **change})
    with pytest.raises(ConfigError) as caught:
        read_models()
    assert "models.yaml" in str(caught.value)
    assert told in str(caught.value)


@pytest.mark.parametrize("text", ["a: [", "models: 3", "- 1", "\udcff"])
def test_a_list_that_cannot_be_read_is_refused(tmp_path, text):
    (tmp_path / "models.yaml").write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(ConfigError, match=r"models\.yaml: (cannot be read|expected 'models:')"):
        read_models()


def test_an_entry_is_frozen():
    assert PublishedModel.model_config["frozen"]

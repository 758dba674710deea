"""Segmenters by name."""

import pickle

import pytest
from pydantic import ValidationError

from hpacells.core.channels import Channel
from hpacells.core.errors import ConfigError, MissingExtraError
from hpacells.segment.adapters import library
from hpacells.segment.adapters.catalogue import SEGMENTER_WEIGHTS
from hpacells.segment.config import MeasureConfig, SegmentConfig, UnetConfig
from hpacells.segment.registry import (
    ADAPTERS,
    DEFAULT_SEGMENTER,
    SEGMENTERS,
    get_segmenter,
    segmenter_names,
)
from hpacells.segment.unet import UNET_FOLDER


@pytest.mark.parametrize("name", sorted(SEGMENTERS))
def test_every_segmenter_knows_its_name_and_travels(name):
    segmenter = get_segmenter(name)
    assert segmenter.name == name
    assert pickle.loads(pickle.dumps(segmenter)) == segmenter  # noqa: S301  made in this line
    assert segmenter.settings


def test_published_segmenters_are_known_by_name_and_never_hide_a_built_in_one():
    assert segmenter_names() == [*sorted(SEGMENTERS), "cellpose", "hpa-unet", "instanseg"]
    assert set(ADAPTERS) == set(SEGMENTER_WEIGHTS)


@pytest.mark.parametrize("name", sorted(ADAPTERS))
def test_a_published_segmenter_without_its_library_names_the_extra(name, monkeypatch, tmp_path):
    monkeypatch.setenv("HPACELLS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(library.Library, "installed", lambda self: False)
    with pytest.raises(MissingExtraError, match=r"pip install -c constraints\.txt '\.\["):
        get_segmenter(name)
    assert not (tmp_path / "cache").exists()


def test_missing_stains_are_handed_on():
    segmenter = get_segmenter("unet", missing=[Channel.ER, Channel.MICROTUBULES])
    assert segmenter.missing == (Channel.MICROTUBULES, Channel.ER)
    assert segmenter == get_segmenter("unet", missing=[Channel.MICROTUBULES, Channel.ER])
    with pytest.raises(ConfigError, match="got green"):
        get_segmenter("unet", missing=[Channel.PROTEIN])
    with pytest.raises(ConfigError, match=r"--missing: the watershed .*--segmenter unet"):
        get_segmenter("watershed", missing=[Channel.ER])


@pytest.mark.parametrize("name", sorted(ADAPTERS))
def test_published_segmenters_are_given_the_missing_stains(name, monkeypatch):
    given = {}
    monkeypatch.setattr(
        "hpacells.segment.registry.ADAPTERS", {name: lambda **words: given.update(words)}
    )
    get_segmenter(name, missing=[Channel.ER])
    assert given == {"missing": (Channel.ER,)}


def test_the_default_is_the_network_and_its_weights_are_shipped():
    assert DEFAULT_SEGMENTER == "unet"
    assert sum(file.stat().st_size for file in UNET_FOLDER.iterdir()) <= 4 * 2**20


def test_unknown_name_is_refused_with_the_known_ones():
    known = ", ".join(segmenter_names())
    with pytest.raises(ConfigError, match=f"expected one of {known}, got 'waterfall'"):
        get_segmenter("waterfall")


@pytest.mark.parametrize("config", [SegmentConfig, MeasureConfig, UnetConfig])
def test_each_setting_is_explained_with_its_unit_or_share(config):
    for name, info in config.model_fields.items():
        assert info.description, name
        if name.endswith(("_um", "_um2")):
            assert "µm" in info.description, name


def test_level_range_must_be_ordered():
    with pytest.raises(ValidationError, match="least <= most"):
        SegmentConfig(body_level_range=(0.2, 0.1))


def test_the_faint_level_is_the_lower_one():
    with pytest.raises(ValidationError, match="faint_seed_level: expected at most seed_level"):
        UnetConfig(seed_level=0.3, faint_seed_level=0.4)
    for levels in ((0.9, 0.8), (0.4, 0.9), (0.9, 1.0)):
        with pytest.raises(ValidationError, match="rising levels"):
            UnetConfig(split_levels=levels)


def test_unknown_settings_are_refused():
    with pytest.raises(ValidationError):
        SegmentConfig(radius_px=3)

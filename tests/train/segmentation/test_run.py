"""Training of a few steps on tiny fields: it learns, continues, and exports."""

import json

import numpy as np
import pytest
import torch

from hpacells.core.errors import ConfigError, InputError, OutputError
from hpacells.core.fov import FieldOfView
from hpacells.images.discover import discover_fields
from hpacells.images.read import read_field
from hpacells.runtime.segmenter_folder import load_segmenter
from hpacells.segment.unet import UnetSegmenter
from hpacells.train.segmentation import loop as loop_module
from hpacells.train.segmentation.config import SegmentTrainConfig
from hpacells.train.segmentation.data import FieldCache
from hpacells.train.segmentation.loop import train_unet
from hpacells.train.segmentation.run import prepare_fields, train_segmenter


def make_config(**changes):
    settings = {
        "widths": (4, 6, 8, 8),
        "patch_px": 64,
        "batch": 2,
        "steps": 6,
        "validate_every": 4,
        "checkpoint_every": 2,
        "val_fields": 1,
        "ema_decay": 0.5,
    }
    return SegmentTrainConfig(**settings | changes)


@pytest.fixture(scope="module")
def cache(drawn_dataset, tmp_path_factory):
    return prepare_fields(drawn_dataset, tmp_path_factory.mktemp("prepared"), make_config())


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def test_the_loss_falls(cache, tmp_path):
    losses = []
    config = make_config(
        widths=(8, 12, 16, 16), steps=40, batch=3, learning_rate=0.02, validate_every=40
    )
    _, history = train_unet(
        cache,
        config,
        checkpoint_path=tmp_path / "c.pt",
        progress=lambda done, total, what: losses.append(float(what.removeprefix("loss "))),
    )
    assert len(losses) == 40
    assert np.mean(losses[-8:]) < 0.7 * np.mean(losses[:8])
    assert history[-1]["loss"] == pytest.approx(np.mean(losses), abs=1e-4)


class KilledError(Exception):
    pass


def test_a_killed_training_ends_as_one_that_was_not(cache, tmp_path):
    config = make_config()
    whole, history = train_unet(cache, config, checkpoint_path=tmp_path / "whole.pt")

    def kill(done, total, what):
        if done == 5:
            raise KilledError

    with pytest.raises(KilledError):
        train_unet(cache, config, checkpoint_path=tmp_path / "cut.pt", progress=kill)
    seen = []
    continued, again = train_unet(
        cache, config, checkpoint_path=tmp_path / "cut.pt", on_validation=seen.append
    )
    assert again == history
    assert [row["step"] for row in history] == [4, 6]
    assert len(seen) == 1
    assert history[-1]["val_loss"] > 0
    for (name, one), other in zip(
        whole.state_dict().items(), continued.state_dict().values(), strict=True
    ):
        assert torch.equal(one, other), name


def test_a_loss_that_is_not_finite_stops(cache, tmp_path, monkeypatch):
    monkeypatch.setattr(loop_module, "map_loss", lambda *a, **k: torch.tensor(float("nan")))
    with pytest.raises(ConfigError, match="expected a finite loss, got nan at step 0"):
        train_unet(cache, make_config(), checkpoint_path=tmp_path / "c.pt")


@pytest.fixture(scope="module")
def trained(cache, tmp_path_factory):
    out = tmp_path_factory.mktemp("trained")
    return out, train_segmenter(cache, out, make_config(steps=2), threads=1)


def test_a_training_leaves_a_segmenter_that_runs(trained, drawn_dataset):
    out, spec = trained
    assert load_segmenter(out).spec == spec
    assert spec.training["n_fields"] == 5
    assert spec.training["simulation"] is None  # drawn by these tests
    assert spec.training["last"]["step"] == 2
    assert not (out / "checkpoint.pt").exists()
    assert json.loads((out / "history.json").read_text(encoding="utf-8"))
    fov = read_field(discover_fields(drawn_dataset)[0])
    masks = UnetSegmenter(folder=out)(fov)
    assert masks.cells.shape == (180, 220)
    assert isinstance(fov, FieldOfView)


def test_a_finished_training_is_found_and_another_refused(trained, cache):
    out, spec = trained
    assert train_segmenter(cache, out, make_config(steps=2)) == spec
    with pytest.raises(OutputError, match=r"holds a training with other settings \(steps\)"):
        train_segmenter(cache, out, make_config(steps=3))
    other = FieldCache(cache.folder, cache.fov_ids, "0")
    with pytest.raises(OutputError, match="holds a training with other data"):
        train_segmenter(other, out, make_config(steps=2))


def test_bad_requests_are_refused(cache, tmp_path):
    with pytest.raises(ConfigError, match="--threads"):
        train_segmenter(cache, tmp_path, make_config(), threads=0)
    single = FieldCache(cache.folder, cache.fov_ids[:1], "0")
    with pytest.raises(InputError, match="expected two fields or more, got 1"):
        train_segmenter(single, tmp_path, make_config())

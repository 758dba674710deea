from dataclasses import replace

import numpy as np
import pytest
import torch

from hpacells.core.errors import ConfigError, OutputError
from hpacells.train.checkpoint import Checkpoint, read_checkpoint, write_checkpoint
from hpacells.train.loop import _Loop, train_classifier
from hpacells.train.split import split_fields


class KilledError(Exception):
    pass


def run(data, config, path, *, kill_at=None):
    def progress(done, total, what):
        if done == kill_at:
            raise KilledError

    held_out = split_fields(data, config.val_fraction, seed=config.seed)
    return train_classifier(data, held_out, config, checkpoint_path=path, progress=progress)


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    return {}


@pytest.mark.parametrize("kill_at", [1, 3, 5])
def test_killed_and_continued_equals_uninterrupted(
    data, tiny_config, tmp_path, uninterrupted, kill_at
):
    """KilledError before the first checkpoint, within an epoch, in the second epoch."""
    if not uninterrupted:
        uninterrupted["result"] = run(data, tiny_config, tmp_path / "whole.pt")
    whole = uninterrupted["result"]
    with pytest.raises(KilledError):
        run(data, tiny_config, tmp_path / "c.pt", kill_at=kill_at)
    assert (tmp_path / "c.pt").is_file() == (kill_at > 2)
    continued = run(data, tiny_config, tmp_path / "c.pt")
    for name, tensor in whole.model.state_dict().items():
        assert torch.equal(continued.model.state_dict()[name], tensor), name
    timing = {"cells_per_s"}
    assert [{k: v for k, v in row.items() if k not in timing} for row in continued.history] == [
        {k: v for k, v in row.items() if k not in timing} for row in whole.history
    ]


def test_everything_that_a_training_keeps_is_continued(data, tiny_config, tmp_path):
    config = type(tiny_config).model_validate(
        {
            **tiny_config.model_dump(),
            "pooling": "attention",
            "image_loss_weight": 1.0,
            "soften": {"share": 0.2, "start_share": 0.0},
            "teacher": {"weight": 0.9, "start_share": 0.0, "prior": True},
            "consistency": {"weight": 0.1},
            "optimizer": "sgd",
            "learning_rate": 0.01,
        }
    )
    whole = run(data, config, tmp_path / "whole.pt")
    with pytest.raises(KilledError):
        run(data, config, tmp_path / "c.pt", kill_at=5)
    kept = read_checkpoint(tmp_path / "c.pt")
    assert set(kept.extra) == {"attention", "prior"}
    assert kept.extra["prior"]["shift"].abs().sum() > 0
    continued = run(data, config, tmp_path / "c.pt").model.state_dict()
    for name, tensor in whole.model.state_dict().items():
        assert torch.equal(continued[name], tensor), name


@pytest.mark.parametrize(
    "change", [{"embedding_size": 16}, {"pooling": "attention"}, {"backbone": "hpa_nfnet_nano"}]
)
def test_a_checkpoint_of_another_architecture_is_named(data, tiny_config, tmp_path, change):
    # torch's own traceback once named every tensor and no remedy
    with pytest.raises(KilledError):
        run(data, tiny_config, tmp_path / "c.pt", kill_at=3)
    with pytest.raises(OutputError, match=r"checkpoint of step 2: expected .* another one's"):
        run(data, tiny_config.model_copy(update=change), tmp_path / "c.pt")


def test_held_out_fields_influence_no_weight(data, tiny_config, tmp_path):
    held_out = split_fields(data, 0.2, seed=0)
    assert held_out.any()
    cells = np.repeat(held_out, np.diff(data.offsets))
    other = replace(
        data,
        crops=np.where(cells[:, None, None, None], 255 - data.crops, data.crops),
        targets=np.where(held_out[:, None], 1 - data.targets, data.targets),
    )
    results = [
        train_classifier(one, held_out, tiny_config, checkpoint_path=tmp_path / f"{i}.pt")
        for i, one in enumerate((data, other))
    ]
    first, second = (result.model.state_dict() for result in results)
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert results[0].validation.loss != results[1].validation.loss


def test_the_average_follows_the_weights_as_its_decay_says(data, tiny_config):
    """With decay 0 it is the network; else it lags, by what the warm-up of the decay says."""
    held_out = split_fields(data, 0.2, seed=0)
    for decay in (0.0, 0.9):
        loop = _Loop(data, held_out, tiny_config.model_copy(update={"ema_decay": decay}))
        expected = None
        for step, cells in zip(range(1, 4), loop.rest_of_epoch(), strict=False):
            loop.take_step(cells)
            now = loop.network.head.weight.detach().clone()
            warm = 1 - step ** (-2 / 3) if step > 1 else 0.0
            share = min(decay, warm)
            expected = now if expected is None else share * expected + (1 - share) * now
        got = loop.average.module.head.weight
        torch.testing.assert_close(got, expected)
        assert torch.equal(got, now) == (decay == 0)


def test_training_leaves_the_global_random_state_alone(data, tiny_config, tmp_path):
    torch.manual_seed(11)
    before = torch.get_rng_state()
    run(data, tiny_config.model_copy(update={"epochs": 1}), tmp_path / "c.pt")
    assert torch.equal(torch.get_rng_state(), before)


def test_another_seed_gives_other_weights(data, tiny_config, tmp_path):
    short = tiny_config.model_copy(update={"epochs": 1})
    one = run(data, short, tmp_path / "1.pt").model.head.weight
    two = run(data, short.model_copy(update={"seed": 1}), tmp_path / "2.pt").model.head.weight
    assert not torch.equal(one, two)


def test_a_loss_that_is_not_finite_stops(data, tiny_config, tmp_path):
    broken = replace(data, targets=np.full_like(data.targets, np.nan))
    with pytest.raises(ConfigError, match="expected a finite loss, got nan at step 0"):
        train_classifier(
            broken,
            np.zeros(data.n_fields, np.bool_),
            tiny_config,
            checkpoint_path=tmp_path / "c.pt",
        )


def test_checkpoints_hold_only_tensors_and_numbers(tmp_path):
    state = Checkpoint(3, {"w": torch.ones(2)}, {}, {}, [{"step": 1, "val": None}], {"loss": 0.5})
    write_checkpoint(tmp_path / "c.pt", state)
    back = read_checkpoint(tmp_path / "c.pt")
    assert (back.step, back.history, back.sums) == (3, state.history, state.sums)
    assert read_checkpoint(tmp_path / "none.pt") is None


@pytest.mark.parametrize("content", [b"", b"junk", b"PK\x03\x04 broken"])
def test_a_damaged_checkpoint_is_named(tmp_path, content):
    (tmp_path / "c.pt").write_bytes(content)
    if not content:
        torch.save({"epoch": 3}, tmp_path / "c.pt")  # whole, and something else
    with pytest.raises(OutputError, match=r"c\.pt: damaged"):
        read_checkpoint(tmp_path / "c.pt")

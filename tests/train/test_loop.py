from dataclasses import replace

import numpy as np
import pytest
import torch

from hpacells.core.errors import ConfigError, OutputError
from hpacells.train.checkpoint import Checkpoint, read_checkpoint, write_checkpoint
from hpacells.train.loop import _Loop, learning_rate_at, train_classifier
from hpacells.train.split import split_fields
from hpacells.train.validation import validate


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


def test_the_last_layer_is_not_clipped_and_vectors_are_not_decayed(data, tiny_config):
    loop = _Loop(data, split_fields(data, 0.2, seed=0), tiny_config)
    head = {id(p) for p in loop.network.head.parameters()}
    clipped = {id(p) for p in loop.clipped}
    assert not head & clipped
    assert head | clipped == {id(p) for p in loop.network.parameters()}
    decayed, others = loop.optimizer.param_groups
    assert (decayed["weight_decay"], others["weight_decay"]) == (tiny_config.weight_decay, 0.0)
    names = {id(p): name for name, p in loop.network.named_parameters()}
    kinds = ("bias", "gain", "attn.conv.weight", "attn_last.conv.weight")
    assert all(names[id(p)].endswith(kinds) for p in others["params"])
    assert not any(names[id(p)].endswith(("bias", "gain")) for p in decayed["params"])
    assert len(decayed["params"]) + len(others["params"]) == len(names)


def test_the_average_follows_the_weights_as_its_decay_says(data, tiny_config):
    """With decay 0 it is the network; else it lags, by what the warm-up of the decay says."""
    held_out = split_fields(data, 0.2, seed=0)
    for decay in (0.0, 0.9):
        loop = _Loop(data, held_out, tiny_config.model_copy(update={"ema_decay": decay}))
        expected = None
        for step, batch in enumerate(loop.rest_of_epoch()[:3], start=1):
            loop.take_step(batch)
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
        run(broken, tiny_config.model_copy(update={"val_fraction": 0.0}), tmp_path / "c.pt")


def test_learning_rate_rises_then_falls(tiny_config):
    config = tiny_config.model_copy(update={"warmup_share": 0.1, "learning_rate": 1.0})
    rates = [learning_rate_at(step, 100, config) for step in range(100)]
    np.testing.assert_allclose(rates[:10], np.arange(1, 11) / 10)
    assert rates[10] == pytest.approx(1.0)
    assert (np.diff(rates[10:]) < 0).all()
    assert 0.01 <= rates[-1] < 0.011


def test_validation_agrees_with_a_perfect_and_a_blind_model(data):
    class Oracle(torch.nn.Module):
        def __init__(self, targets):
            super().__init__()
            self.targets, self.at = torch.from_numpy(targets), 0

        def forward(self, crops, masks):
            logits = self.targets[self.at].expand(len(crops), -1) * 20 - 10
            self.at += 1
            return logits, logits

    fields = np.arange(10, 20)
    cpu = torch.device("cpu")
    perfect = validate(Oracle(data.targets[fields]), data, fields, pooling="max", device=cpu)
    assert perfect.mean == 1.0
    assert perfect.average_precision[1] is None
    blind = validate(
        Oracle(np.zeros_like(data.targets[fields])), data, fields, pooling="max", device=cpu
    )
    assert blind.average_precision[7] == pytest.approx(data.targets[fields, 7].mean())


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

"""Two processes against one; run as a program, this file is what each of the two does."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from hpacells.core.errors import ConfigError
from hpacells.core.locations import N_LOCATIONS
from hpacells.train import devices
from hpacells.train.config import TrainConfig
from hpacells.train.data import TrainingData
from hpacells.train.devices import compile_network, open_fabric, part_processes
from hpacells.train.loop import _Loop, train_classifier

SIDE = 16
HELD_OUT = np.array([True] + [False] * 6)


def draw_data():
    rng = np.random.default_rng(0)
    offsets = np.cumsum([0, 2, 3, 1, 4, 2, 5, 3])
    n, n_fields = int(offsets[-1]), len(offsets) - 1
    return TrainingData(
        crops=rng.integers(0, 256, (n, 4, SIDE, SIDE), dtype=np.uint8),
        cell_masks=(rng.random((n, SIDE, SIDE)) < 0.8).astype(np.uint8),
        offsets=offsets.astype(np.int64),
        targets=(rng.random((n_fields, N_LOCATIONS)) < 0.3).astype(np.float32),
        fov_ids=tuple(f"f{i}" for i in range(n_fields)),
        groups=tuple(f"g{i}" for i in range(n_fields)),
        group_kind="gene",
        data_hash="drawn",
    )


def recipe(**settings):
    """A recipe in which each cell is answered by itself; SGD, because Adam divides by rounding."""
    return TrainConfig.model_validate(
        {
            "backbone": "hpa_nfnet_pico",
            "embedding_size": 16,
            "crop_px": SIDE,
            "drop_path": 0.0,
            "dropout": 0.0,
            "bag_size": 3,
            "bags_per_batch": 4,
            "epochs": 3,
            "optimizer": "sgd",
            "learning_rate": 0.05,
            "pooling": "attention",
            "image_loss_weight": 1.0,
            "cell_loss_weight": 0.1,
            "label_count_power": 0.0,
            "negative_target": "image",
            "loss": {"kind": "soft_ap"},
            "soften": {"share": 0.3},
            "teacher": {"weight": 0.5, "start_share": 0.3, "prior": True},
            "consistency": {"weight": 0.3},
            **settings,
        }
    )


def part_of_two(out: Path) -> None:
    """Train as one of two processes, then with an answer that is not a number in the second."""
    torch.set_num_threads(1)
    data, config = draw_data(), recipe(devices=2)
    told = []
    result = train_classifier(
        data, HELD_OUT, config, checkpoint_path=out / "two.pt", on_epoch=told.append
    )
    loop = _Loop(data, HELD_OUT, config)
    rank = loop.fabric.global_rank
    torch.save(result.model.state_dict(), out / f"model{rank}.pt")
    (out / f"told{rank}").write_text(str(len(told)))
    if rank == 1:
        torch.nn.init.constant_(loop.network.head.bias, float("nan"))
    try:
        loop.take_step(next(loop.rest_of_epoch()))
    except ConfigError as error:
        (out / f"stopped{rank}").write_text(str(error))
    part_processes()


def test_two_processes_take_the_steps_of_one(tmp_path):
    one = train_classifier(draw_data(), HELD_OUT, recipe(), checkpoint_path=tmp_path / "one.pt")
    command = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    done = subprocess.run(
        [sys.executable, *command, __file__, str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    start = _Loop(draw_data(), HELD_OUT, recipe()).network.state_dict()
    for rank in (0, 1):
        two = torch.load(tmp_path / f"model{rank}.pt", weights_only=True)
        for name, tensor in one.model.state_dict().items():
            torch.testing.assert_close(two[name], tensor, atol=1e-5, rtol=1e-4, msg=name)
    moved = max(float((start[name] - tensor).abs().max()) for name, tensor in two.items())
    assert moved > 0.01  # far more than the tolerance
    # the first alone tells and writes; a number that is not finite in one stops both
    assert [(tmp_path / f"told{rank}").read_text() for rank in (0, 1)] == ["4", "0"]
    for rank in (0, 1):
        assert "finite loss, got nan" in (tmp_path / f"stopped{rank}").read_text()


@pytest.mark.parametrize("parts", [2, 5])
def test_parts_of_a_step_are_the_step(tmp_path, parts):
    whole, divided = (
        train_classifier(
            draw_data(), HELD_OUT, recipe(accumulate=n), checkpoint_path=tmp_path / f"{n}.pt"
        )
        for n in (1, parts)
    )
    for name, tensor in whole.model.state_dict().items():
        torch.testing.assert_close(
            divided.model.state_dict()[name], tensor, atol=1e-5, rtol=1e-4, msg=name
        )


def test_another_number_of_processes_than_asked_is_refused(monkeypatch):
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "x")
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(ConfigError, match=r"expected 1 processes .* torchrun started 2"):
        open_fabric(TrainConfig())


def test_a_device_that_is_not_there_is_named(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ConfigError, match="accelerator cuda, devices 1: cannot be used here"):
        open_fabric(TrainConfig(accelerator="cuda"))


def test_without_a_compiler_compiling_is_refused(monkeypatch):
    monkeypatch.setattr(devices.shutil, "which", lambda name: None)
    with pytest.raises(ConfigError, match="compile: expected a C"):
        compile_network(torch.nn.Linear(1, 1))


if __name__ == "__main__":
    part_of_two(Path(sys.argv[1]))

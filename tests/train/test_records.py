import csv

import numpy as np
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from hpacells.core.locations import LOCATION_KEYS, N_LOCATIONS
from hpacells.train.records import MetricsLog
from hpacells.train.validation import Validation


def make_row(epoch, **more):
    return {"epoch": epoch, "step": 10 * epoch, "loss": 1 / epoch, "val_loss": None, **more}


def read_scalars(folder):
    events = EventAccumulator(str(folder))
    events.Reload()
    return {
        name: [(event.step, pytest.approx(event.value)) for event in events.Scalars(name)]
        for name in events.Tags()["scalars"]
    }


def test_every_epoch_is_in_the_table_and_logged_once(tmp_path):
    log = MetricsLog(tmp_path)
    log.update([make_row(1)])
    log.update([make_row(1), make_row(2)])
    log.update([make_row(1), make_row(2, val_loss=0.25)])  # the last row is completed later
    log.finish(None, 20)
    with (tmp_path / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [(row["epoch"], row["val_loss"]) for row in rows] == [("1", ""), ("2", "0.25")]
    scalars = read_scalars(tmp_path / "logs")
    assert scalars["train/loss"] == [(10, 1.0), (20, 0.5)]
    assert scalars["train/val_loss"] == [(20, 0.25)]


def test_a_continued_training_replaces_what_was_logged(tmp_path):
    first = MetricsLog(tmp_path)
    first.update([make_row(1), make_row(2, loss=9.0)])
    first.finish(None, 20)
    second = MetricsLog(tmp_path)
    second.update([make_row(1), make_row(2), make_row(3)])
    second.finish(None, 30)
    scalars = read_scalars(tmp_path / "logs")
    assert scalars["train/loss"] == [(10, 1.0), (20, 0.5), (30, pytest.approx(1 / 3))]


def test_the_end_logs_the_locations_that_were_seen(tmp_path):
    log = MetricsLog(tmp_path)
    log.update([make_row(1)])
    images, cells = [None] * N_LOCATIONS, [None] * N_LOCATIONS
    images[16], cells[3] = 0.75, 0.5
    nothing = np.zeros((0, 2), np.float32)
    log.finish(Validation(tuple(images), 0.1, 4, nothing, nothing, tuple(cells)), 10)
    scalars = read_scalars(tmp_path / "logs")
    named = {name for name in scalars if name.startswith("validation")}
    assert named == {
        f"validation_image_ap/{LOCATION_KEYS[16]}",
        f"validation_cell_ap/{LOCATION_KEYS[3]}",
    }


def test_nothing_to_log_is_no_error(tmp_path):
    MetricsLog(tmp_path).finish(None, 0)
    assert not (tmp_path / "metrics.csv").exists()

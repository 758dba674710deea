from datetime import UTC, datetime

import pyarrow.parquet as pq
from typer.testing import CliRunner

from hpacells.cli import train as command
from hpacells.core.corrections import Action, Correction, add_corrections
from hpacells.core.errors import ConfigError
from hpacells.images.discover import discover_fields
from hpacells.predict.config import RunSettings
from hpacells.predict.engine import run_fields
from hpacells.predict.plan import ExecutionPlan
from hpacells.simulate.config import SimulateConfig
from hpacells.simulate.dataset import write_dataset

RECIPE = """
backbone: hpa_nfnet_pico
crop_px: 32
pixel_size_um: 0.8
embedding_size: 16
epochs: 1
bag_size: 2
val_fraction: 0
"""


def invoke(*arguments):
    return CliRunner().invoke(command.app, [str(argument) for argument in arguments])


def test_cells_corrected_in_a_run_teach_a_training_on_the_same_dataset(tmp_path, tiny_model_folder):
    """The same segmenter outlines both, so a cell's id means the same cell."""
    dataset, run, recipe = tmp_path / "set", tmp_path / "run", tmp_path / "recipe.yaml"
    write_dataset(dataset, SimulateConfig(size_px=768), fields=2, seed=5)
    recipe.write_text(RECIPE)
    settings = RunSettings(images=str(dataset), model=str(tiny_model_folder))
    run_fields(discover_fields(dataset), run, settings, plan=ExecutionPlan(1, 1))
    kept = pq.read_table(run / "cells.parquet", filters=[("status", "!=", "rejected")])
    fov_id, cell_id = kept["fov_id"][0].as_py(), kept["cell_id"][0].as_py()
    said = {"source": "test", "when": datetime(2026, 1, 1, tzinfo=UTC)}
    named = {"fov_id": fov_id, **said}
    add_corrections(
        run,
        [
            Correction(cell_id=cell_id, action=Action.CORRECT, locations=(0, 7), **named),
            Correction(cell_id=9999, action=Action.REJECT, **named),
        ],
    )
    arguments = (dataset, tmp_path / "m", "--config", recipe, "--threads", 1, "--corrections", run)
    result = invoke(*arguments)
    assert result.exit_code == 0, result.output
    told = " ".join(result.output.split())
    assert "1 cells have locations of their own, 0 are left out" in told
    assert "0 keep their image's label, 1 are not in the data" in told
    again = " ".join(invoke(*arguments).output.split())
    assert "Finished before" in again
    assert "1 cells have locations of their own" in again


def test_smoke_takes_no_corrections(tmp_path):
    result = invoke("--smoke", "--corrections", tmp_path)
    assert isinstance(result.exception, ConfigError)
    assert "--corrections" in str(result.exception)

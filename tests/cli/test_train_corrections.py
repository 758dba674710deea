import json
import shutil
from datetime import UTC, datetime

import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from hpacells.cli import train as command
from hpacells.cli.app import main
from hpacells.core.corrections import (
    CORRECTED_MASKS,
    Action,
    Correction,
    add_corrections,
    read_corrections,
)
from hpacells.core.errors import ConfigError
from hpacells.crops.store import CropStore
from hpacells.images.discover import discover_fields
from hpacells.predict.config import RunSettings
from hpacells.predict.engine import run_fields
from hpacells.predict.plan import ExecutionPlan
from hpacells.simulate.config import SimulateConfig
from hpacells.simulate.dataset import write_dataset


def invoke(*arguments):
    return CliRunner().invoke(command.app, [str(argument) for argument in arguments])


def test_cells_corrected_in_a_run_teach_a_training_on_the_same_dataset(
    tmp_path, tiny_model_folder, recipe_text
):
    """The same segmenter outlines both, so a cell's id means the same cell."""
    dataset, run, recipe = tmp_path / "set", tmp_path / "run", tmp_path / "recipe.yaml"
    write_dataset(dataset, SimulateConfig(size_px=768), fields=2, seed=5)
    recipe.write_text(recipe_text)
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


def hpacells(*arguments):
    with pytest.raises(SystemExit) as ended:
        main([str(argument) for argument in arguments])
    assert ended.value.code == 0


def test_outlines_and_labels_edited_in_qupath_are_cut_and_taught(run_folder, tmp_path, recipe_text):
    """The way of docs/cookbook/README.md: export, edit, import, lay over, crop, train."""
    hpacells("export", run_folder, "--to", "geojson", "--out", tmp_path / "edited")
    path = tmp_path / "edited" / "one.geojson"
    document = json.loads(path.read_text())
    cells = {int(f["properties"]["name"]): f["properties"] for f in document["features"]}
    known = min(i for i, cell in cells.items() if cell["classification"]["name"] != "Rejected")
    cells[known]["classification"] = {"name": "Nucleoli: Cytosol"}
    corner = [[150, 100], [190, 100], [190, 140], [150, 140], [150, 100]]
    drawn = {"type": "Polygon", "coordinates": [corner]}
    added = {"objectType": "annotation", "classification": {"name": "Mitochondria"}}
    document["features"].append({"type": "Feature", "geometry": drawn, "properties": added})
    path.write_text(json.dumps(document))
    hpacells("import", run_folder, path, "--who", "anna")
    said = {c.cell_id: c.locations for c in read_corrections(run_folder) if c.locations}
    assert said == {known: (2, 16), max(cells) + 1: (14,)}

    images, masks, store = tmp_path / "train", tmp_path / "masks", tmp_path / "store"
    (tmp_path / "images").rename(images)
    (tmp_path / "train.csv").write_text("ID,Label\none,2|16\n")
    shutil.copytree(run_folder / "masks", masks)
    shutil.copytree(run_folder / CORRECTED_MASKS, masks, dirs_exist_ok=True)
    size = ("--crop-px", 32, "--crop-pixel-size-um", 0.8, "--pixel-size-um", 0.64)
    hpacells("crop", images, masks, store, *size)
    assert set(said) <= set(CropStore.open(store).cells_table()["cell_id"].to_pylist())
    (tmp_path / "recipe.yaml").write_text(recipe_text)
    options = ("--config", tmp_path / "recipe.yaml", "--threads", 1, "--corrections", run_folder)
    result = invoke(store, tmp_path / "m", *options)
    assert result.exit_code == 0, result.output
    assert "2 cells have locations of their own" in " ".join(result.output.split())


def test_smoke_takes_no_corrections(tmp_path):
    result = invoke("--smoke", "--corrections", tmp_path)
    assert isinstance(result.exception, ConfigError)
    assert "--corrections" in str(result.exception)

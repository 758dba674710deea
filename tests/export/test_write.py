import json

import pyarrow.parquet as pq
import pytest

from hpacells.core.errors import ConfigError, InputError, OutputError
from hpacells.export.config import ExportSettings
from hpacells.export.write import export_run

GEOJSON = ExportSettings(to="geojson")


def test_asked_again_nothing_is_written(run_folder):
    first = export_run(run_folder, GEOJSON)
    assert first.changed
    times = {path: path.stat().st_mtime_ns for path in first.out.iterdir()}
    again = export_run(run_folder, GEOJSON)
    assert not again.changed
    assert (again.n_fields, again.n_cells, again.n_failed) == (3, 10, 1)
    assert times == {path: path.stat().st_mtime_ns for path in first.out.iterdir()}


def test_an_interrupted_export_goes_on_with_what_is_missing(run_folder):
    def interrupt(done, total, what):
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        export_run(run_folder, GEOJSON, workers=1, progress=interrupt)
    out = run_folder / "exports" / "geojson"
    assert not json.loads((out / "export.json").read_text())["done"]
    kept = out / 'a,b "c" <d>.geojson'
    kept.write_text("kept")
    (out / ".plain.1.tmp.geojson").write_text("left over")
    export_run(run_folder, GEOJSON)
    assert kept.read_text() == "kept"
    assert sorted(path.name for path in out.glob("*.geojson")) == [
        'a,b "c" <d>.geojson',
        "empty.geojson",
        "plain.geojson",
    ]
    assert not list(out.glob(".plain*"))


def test_when_the_run_has_changed_everything_is_written_anew(run_folder):
    out = export_run(run_folder, GEOJSON).out
    (out / "plain.geojson").write_text("old")
    (run_folder / "run.json").write_text('{"counts": {}}')
    assert export_run(run_folder, GEOJSON).changed
    assert (out / "plain.geojson").read_text() != "old"


def test_a_folder_of_other_options_or_of_something_else_is_refused(run_folder, tmp_path):
    out = tmp_path / "out"
    export_run(run_folder, GEOJSON, out=out)
    with pytest.raises(OutputError, match="another gz"):
        export_run(run_folder, ExportSettings(to="geojson", gz=True), out=out)
    with pytest.raises(OutputError, match="not empty and not an export"):
        export_run(run_folder, GEOJSON, out=run_folder)
    (out / "export.json").write_text("{")
    with pytest.raises(OutputError, match="not JSON"):
        export_run(run_folder, GEOJSON, out=out)
    (out / "export.json").write_text("[]")
    with pytest.raises(OutputError, match="record of an export"):
        export_run(run_folder, GEOJSON, out=out)


def test_options_of_another_format_are_refused(run_folder):
    with pytest.raises(ConfigError, match="--gz belongs to '--to geojson'"):
        ExportSettings(to="csv", gz=True)
    with pytest.raises(ConfigError, match="contradict"):
        ExportSettings(to="ome-zarr", labels_only=True, images=run_folder)
    with pytest.raises(ConfigError, match="--workers"):
        export_run(run_folder, GEOJSON, workers=0)


def test_an_unfinished_or_damaged_run_is_refused(run_folder, tmp_path):
    with pytest.raises(InputError, match="Expected a run folder"):
        export_run(tmp_path, GEOJSON)
    table = pq.read_table(run_folder / "embeddings.parquet")
    pq.write_table(table.slice(1), run_folder / "embeddings.parquet")
    with pytest.raises(InputError, match=r"expected the cells of cells\.parquet"):
        export_run(run_folder, ExportSettings(to="anndata"))
    fields = pq.read_table(run_folder / "fields.parquet")
    pq.write_table(fields.slice(1), run_folder / "fields.parquet")
    with pytest.raises(InputError, match=r"is not in fields\.parquet"):
        export_run(run_folder, GEOJSON)
    (run_folder / "run.json").unlink()
    with pytest.raises(InputError, match="not finished"):
        export_run(run_folder, GEOJSON)

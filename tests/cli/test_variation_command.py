import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from hpacells.cli.app import main
from hpacells.cli.variation import app
from hpacells.core.cell_table import CELL_QUALITY_COLUMNS, CELL_SCHEMA, FIELD_SCHEMA
from hpacells.core.storage import write_json
from hpacells.runtime.model_folder import NULL_FILE
from hpacells.runtime.variation_null import NULL_LEVELS, KindNull, VariationNull
from hpacells.variation.null import FEATURES


@pytest.fixture
def run_folder(tmp_path):
    rng = np.random.default_rng(0)
    cells, fields = [], []
    for fov_id, spread in (("calm", 0.01), ("wild", 0.9)):
        for cell_id in range(1, 9):
            row = dict.fromkeys(CELL_SCHEMA.names, 0)
            row |= {"fov_id": fov_id, "cell_id": cell_id, "status": "ok", "reason": None}
            row |= {"touches_border": False, "p_cytosol": 0.5}
            row |= dict.fromkeys(CELL_QUALITY_COLUMNS, False)
            row |= {"p_vesicles": spread * rng.random(), "protein_mean": 9 + 9 * spread * cell_id}
            cells.append(row)
        row = dict.fromkeys(FIELD_SCHEMA.names) | {"fov_id": fov_id, "status": "done"}
        fields.append(row | dict.fromkeys(("width", "height", "n_ok", "n_border", "n_rejected"), 8))
    pq.write_table(pa.Table.from_pylist(cells, CELL_SCHEMA), tmp_path / "cells.parquet")
    pq.write_table(pa.Table.from_pylist(fields, FIELD_SCHEMA), tmp_path / "fields.parquet")
    return tmp_path


def test_the_most_variable_field_is_printed_first_and_the_table_written(run_folder):
    result = CliRunner().invoke(app, [str(run_folder), "--top", "1"])
    assert result.exit_code == 0
    assert [line.split()[0] for line in result.output.splitlines() if " to 0." in line] == [
        "wild"
    ] * 2
    assert "calm" not in result.stdout
    assert "2 fields, 2 of them with fewer than 12 cells" in result.output
    assert "warning: No p and q: the model of these tables" in result.stderr
    for name in ("variation_outliers.parquet", "variation_associations.parquet", "variation.png"):
        assert (run_folder / name).stat().st_size
    assert pq.read_table(run_folder / "variation.parquet")["id"].to_pylist() == ["calm", "wild"]


def test_with_the_models_null_p_and_q_are_printed(run_folder):
    n, levels = len(FEATURES), len(NULL_LEVELS)
    kind = KindNull(
        expected=(-1.0, *[0.0] * (n - 1)),
        spread=(0.0,) * n,
        quantiles=tuple(np.linspace(-2, 1, levels)),
        tail=0.3,
    )
    null = VariationNull(
        features=FEATURES,
        lowest=(-99.0,) * n,
        highest=(99.0,) * n,
        spatial=kind,
        intensity=kind,
        n_fields=300,
        source="drawn",
    )
    write_json(run_folder / NULL_FILE, null.model_dump(mode="json"))
    result = CliRunner().invoke(app, [str(run_folder)])
    assert result.exit_code == 0
    assert "Fields that vary at q < 0.05: " in result.output
    assert "warning" not in result.stderr
    rows = pq.read_table(run_folder / "variation.parquet").to_pylist()
    assert all(0 < row["intensity_p"] <= row["intensity_q"] <= 1 for row in rows)


def test_the_atlas_beside_the_runs_genes(run_folder, tmp_path):
    fields = pq.read_table(run_folder / "fields.parquet")
    column = fields.schema.get_field_index("gene")
    fields = fields.set_column(column, "gene", pa.array(["ENSG1", "ENSG2"]))
    pq.write_table(fields, run_folder / "fields.parquet")
    atlas = tmp_path / "subcellular_location.tsv"
    names = (
        "Gene",
        "Gene name",
        "Single-cell variation intensity",
        "Single-cell variation spatial",
    )
    atlas.write_text("\t".join(names) + "\nENSG1\tAAA\t\t\nENSG2\tBBB\tCytosol\t\n")
    result = CliRunner().invoke(app, [str(run_folder), "--atlas", str(atlas)])
    assert result.exit_code == 0
    assert "atlas, intensity: 2 genes, 1 flagged, area under the ROC curve 1.000" in result.output
    assert "atlas, spatial: 2 genes, 0 flagged, area under the ROC curve -" in result.output


def test_half_a_run_exits_2_and_no_cells_at_all_do_not(run_folder, capsys):
    cells = pq.read_table(run_folder / "cells.parquet")
    pq.write_table(cells.slice(0, 0), run_folder / "cells.parquet")
    result = CliRunner().invoke(app, [str(run_folder)])
    assert result.exit_code == 0
    assert "0 outlier cells" in result.output
    (run_folder / "settings.json").write_text("{}")
    with pytest.raises(SystemExit) as stopped:
        main(["variation", str(run_folder)])
    assert stopped.value.code == 2
    assert "expected a finished run, there is no run.json" in capsys.readouterr().err


def test_asked_again_it_writes_the_same(run_folder):
    written = []
    for _ in range(2):
        assert CliRunner().invoke(app, [str(run_folder)]).exit_code == 0
        written.append((run_folder / "variation.parquet").read_bytes())
    assert written[0] == written[1]


def test_help_ends_with_an_example():
    result = CliRunner().invoke(app, ["--help"])
    assert result.exit_code == 0
    assert "hpacells variation RUN --top 10" in result.output


def test_what_is_no_run_folder_exits_2(tmp_path, capsys):
    for folder, message in ((tmp_path / "none", "found none"), (tmp_path, "cells.parquet")):
        with pytest.raises(SystemExit) as stopped:
            main(["variation", str(folder)])
        assert stopped.value.code == 2
        assert message in capsys.readouterr().err
    assert not (tmp_path / "none").exists()

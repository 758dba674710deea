import cv2
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from hpacells.cli.app import main
from hpacells.core.cell_table import FIELD_SCHEMA


def call(capsys, *arguments):
    with pytest.raises(SystemExit) as ended:
        main(["show", *map(str, arguments)])
    return ended.value.code, capsys.readouterr()


def test_a_field_and_a_cell_of_a_real_run(run_folder, tmp_path, capsys):
    code, told = call(capsys, run_folder, "one", "--dpi", 100)
    assert code == 0, told.err
    path = run_folder / "figures" / "one.png"
    assert "figures/one.png" in told.out.replace("\n", "")
    assert cv2.imread(str(path)).shape[1] == pytest.approx(180 / 25.4 * 100, abs=1)
    code, told = call(capsys, run_folder, "one", 1, "--dpi", 100, "--stain", "green")
    assert code == 0, told.err
    assert (run_folder / "figures" / "one_cell_1.png").is_file()
    out = tmp_path / "elsewhere" / "one.pdf"
    code, told = call(capsys, run_folder, "one", "--out", out, "--no-outlines", "--names", "none")
    assert code == 0, told.err
    assert out.read_bytes().startswith(b"%PDF")


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["ome"], "There is one"),
        (["one", 99], "its ids are 1 to"),
        (["one", "--out", "figure.doc"], "ends with .png"),
        (["one", "--dpi", 5, "--width-mm", 3], "--width-mm: Input should be greater"),
        (["one", "--images", "nowhere"], "Say where they are with --images"),
    ],
)
def test_what_cannot_be_shown_is_told(run_folder, capsys, arguments, told):
    code, said = call(capsys, run_folder, *arguments)
    assert code == 2
    assert told in said.err
    assert not (run_folder / "figures").exists()


def test_a_failed_field_and_changed_images_are_told(run_folder, tmp_path, write_quadruplet, capsys):
    write_quadruplet(tmp_path / "images", "one", seed=2, shape=(150, 200), pixel_size_um=0.64)
    code, said = call(capsys, run_folder, "one")
    assert code == 2
    assert "has changed since the run" in said.err
    row = pq.read_table(run_folder / "fields.parquet").to_pylist()[0]
    row |= {"status": "failed", "reason": "no such file"}
    pq.write_table(pa.Table.from_pylist([row], FIELD_SCHEMA), run_folder / "fields.parquet")
    code, said = call(capsys, run_folder, "one")
    assert code == 2
    assert "failed in this run (no such file)" in said.err

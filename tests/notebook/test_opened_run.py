import subprocess
import sys

import cv2
import numpy as np
import pytest

import hpacells
from hpacells.core.errors import ConfigError, InputError

HOSTILE = "a&b <script>"


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Where the images and the run of two drawn fields and a broken one are."""
    return tmp_path_factory.mktemp("notebook")


@pytest.fixture
def run(made, write_quadruplet, tiny_model_folder):
    images, out = made / "images", made / "run"
    if not out.exists():
        write_quadruplet(images, "one", seed=1, shape=(150, 200), pixel_size_um=0.64)
        write_quadruplet(images, HOSTILE, seed=2, shape=(150, 200), pixel_size_um=0.64)
        write_quadruplet(images, "broken", seed=3, shape=(150, 200), pixel_size_um=0.64)
        (images / "broken_blue.png").unlink()
        hpacells.run(
            images,
            out,
            model=str(tiny_model_folder),
            segmenter="watershed",
            pixel_size_um=0.64,
            workers=1,
        )
    return hpacells.open_run(out)


def test_tables_fields_and_cells(run):
    assert len(run) == run.fields.num_rows == 3
    assert list(run) == [HOSTILE, "broken", "one"]
    assert "one" in run
    field = run["one"]
    assert field.cells.num_rows == len(field) == len(list(field)) > 3
    assert run.cells.num_rows == len(field) + len(run[HOSTILE])
    assert run.variation.num_rows > 0
    assert (run.folder / "report.html").is_file()
    assert field.image.pixels.shape == (4, *field.masks.cells.shape)
    cell = field[2]
    assert 2 in field
    assert cell.cell_id == 2
    scores = list(cell.probabilities.values())
    assert scores == sorted(scores, reverse=True)
    assert scores[0] == pytest.approx(cell.row[f"p_{next(iter(cell.probabilities))}"])


def test_a_run_is_shown_as_a_table_with_its_names_escaped(run):
    html = run._repr_html_()
    assert "<script>" not in html
    assert "a&amp;b &lt;script&gt;" in html
    assert "3 fields (1 failed)" in html
    assert "failed: " in html
    assert repr(run).startswith("<run ")
    assert run._ipython_key_completions_() == list(run)


def decode(png):
    return cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_COLOR)


def test_a_field_and_a_cell_are_shown_as_pictures_and_saved(run, tmp_path):
    field = run["one"]
    shown = decode(field._repr_png_())
    assert shown.shape[1] == pytest.approx(180 / 25.4 * 110, abs=1)
    assert decode(field[1]._repr_png_()).std() > 20
    assert field.save(tmp_path / "field.svg", width_mm=90).stat().st_size > 1000
    assert field[1].save(tmp_path / "cell.png", dpi=72, names="id").is_file()
    assert "field one: " in repr(field)
    assert repr(field[1]).startswith("<one cell 1: ")
    with pytest.raises(ConfigError, match="It takes width_mm, dpi, outlines, names"):
        field.figure(width=3)


def test_without_its_images_a_cell_is_shown_from_previews(run, tmp_path):
    moved = hpacells.open_run(run.folder, images=tmp_path / "nowhere")
    assert decode(moved["one"]._repr_png_()).std() > 20
    assert decode(moved["one"][1]._repr_png_()).std() > 20
    with pytest.raises(InputError, match="--images"):
        moved["one"].figure()


def test_what_is_not_there_is_told(run, tmp_path):
    with pytest.raises(InputError, match="expected a field of the run, got 'two'"):
        run["two"]
    with pytest.raises(InputError, match="its ids are 1 to"):
        run["one"][999]
    broken = run["broken"]
    assert broken._repr_png_() is None
    assert "failed: " in repr(broken)
    with pytest.raises(InputError, match="has no figure"):
        broken.figure()
    with pytest.raises(InputError, match="Expected a run folder"):
        hpacells.open_run(tmp_path)
    with pytest.raises(ConfigError, match=r"hpacells\.run: .*borders"):
        hpacells.run(tmp_path, tmp_path / "out", borders="keep")


def test_importing_hpacells_loads_nothing_heavy():
    code = """
import sys
import hpacells
heavy = {"numpy", "pyarrow", "matplotlib", "cv2", "torch", "hpacells.core"} & set(sys.modules)
assert not heavy, heavy
assert {"run", "open_run"} <= set(dir(hpacells))
hpacells.open_run
assert "matplotlib.pyplot" not in sys.modules
assert "torch" not in sys.modules
try:
    hpacells.nothing
except AttributeError as error:
    assert "nothing" in str(error)
else:
    sys.exit("no AttributeError")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr

import importlib.util
import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from hpacells.core.errors import InputError

SCRIPT = Path(__file__).parents[2] / "scripts" / "readme_figure.py"


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("readme_figure", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_figure_has_two_panels_and_stays_small(run_folder, script):
    png = script.make_figure(run_folder, "plain")
    pixels = np.asarray(Image.open(io.BytesIO(png)).convert("RGB"))
    assert len(png) <= script.MAX_BYTES
    assert pixels.shape == (356, 1200, 3)
    left, right = pixels[:300, :594].astype(int), pixels[:300, 606:].astype(int)
    assert np.abs(left - right).max() > 100  # outlines on the right only


def test_too_large_a_figure_is_made_smaller(run_folder, script, monkeypatch):
    whole = len(script.make_figure(run_folder, "plain"))
    monkeypatch.setattr(script, "MAX_BYTES", whole // 2)
    assert len(script.make_figure(run_folder, "plain")) <= whole // 2


@pytest.mark.parametrize("fov_id", ["nowhere", "empty"])
def test_a_field_without_cells_is_refused(run_folder, script, fov_id):
    with pytest.raises(InputError, match="no field"):
        script.make_figure(run_folder, fov_id)


def test_a_missing_preview_is_refused(run_folder, script):
    (run_folder / "previews" / "composite" / "plain.jpg").unlink()
    with pytest.raises(InputError, match="preview"):
        script.make_figure(run_folder, "plain")

import pytest

from hpacells.images.discover import discover_fields
from hpacells.predict.config import RunSettings
from hpacells.predict.engine import run_fields
from hpacells.predict.plan import ExecutionPlan


@pytest.fixture(scope="session")
def recipe_text():
    """A training of seconds, as YAML."""
    return """
backbone: hpa_nfnet_pico
crop_px: 32
pixel_size_um: 0.8
embedding_size: 16
epochs: 1
bag_size: 2
val_fraction: 0
"""


@pytest.fixture
def run_folder(tmp_path, write_quadruplet, tiny_model_folder):
    """A real run of one drawn field, wider than high."""
    images, out = tmp_path / "images", tmp_path / "run"
    write_quadruplet(images, "one", seed=1, shape=(150, 200), pixel_size_um=0.64)
    given = {"images": str(images), "model": str(tiny_model_folder), "pixel_size_um": 0.64}
    settings = RunSettings(**given, segmenter="watershed")
    records = discover_fields(images, pixel_size_um=0.64)
    run_fields(records, out, settings, plan=ExecutionPlan(1, 1))
    return out

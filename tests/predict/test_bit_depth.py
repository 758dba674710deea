"""One simulated field stored with 8, 12 and 16 bits gives the same cells and locations."""

import cv2
import numpy as np
import pyarrow.parquet as pq
import pytest

from hpacells.core.cell_table import PROBABILITY_COLUMNS
from hpacells.core.channels import CHANNELS
from hpacells.core.fov import full_scale, to_8bit
from hpacells.evaluate.masks import score_masks
from hpacells.images.discover import discover_fields
from hpacells.predict.config import RunSettings
from hpacells.predict.engine import run_fields
from hpacells.predict.plan import plan_execution
from hpacells.runtime.registry import DEFAULT_MODEL, resolve_model
from hpacells.simulate.config import SimulateConfig
from hpacells.simulate.field import simulate_field

SEEDS = (7, 8)


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("depths")
    config = SimulateConfig(size_px=768, pixel_size_um=0.16, bit_depth=16)
    images = {bits: folder / f"{bits}bits" for bits in (8, 12, 16)}
    for bits, place in images.items():
        place.mkdir()
        for seed in SEEDS:
            pixels = simulate_field(seed, 0, config).fov.pixels
            stored = to_8bit(pixels, 65535) if bits == 8 else pixels >> (16 - bits)
            for channel in CHANNELS:
                path = place / f"{seed}_{channel.value}.png"
                cv2.imwrite(str(path), stored[channel.position])
    model = str(resolve_model(DEFAULT_MODEL))
    plan = plan_execution(len(SEEDS), workers=1, threads=1)
    for bits, place in images.items():
        settings = RunSettings(images=str(place), model=model, pixel_size_um=0.16)
        records = discover_fields(place, pixel_size_um=0.16)
        run_fields(records, folder / f"run{bits}", settings, plan=plan)
    return folder


@pytest.mark.parametrize("bits", [12, 16])
def test_the_same_cells_and_locations(runs, bits):
    assert {r.max_value for r in discover_fields(runs / f"{bits}bits")} == {full_scale(bits)}
    found, true = runs / f"run{bits}", runs / "run8"
    scores = score_masks(found / "masks", true / "masks")
    assert scores.total.f1["0.60"] >= 0.98
    tables = [pq.read_table(folder / "fields.parquet").to_pylist() for folder in (found, true)]
    for one, other in zip(*tables, strict=True):
        images = [
            np.array([row[f"image_{n[2:]}"] for n in PROBABILITY_COLUMNS]) for row in (one, other)
        ]
        assert one["n_ok"] == other["n_ok"] > 0
        np.testing.assert_allclose(*images, atol=0.05)
        assert images[0].argmax() == images[1].argmax()

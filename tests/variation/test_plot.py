import pyarrow as pa
from PIL import Image

from hpacells.core.cell_table import VARIATION_SCHEMA
from hpacells.variation.plot import PLOT_FILE, write_plot


def field(name, **numbers):
    row = dict.fromkeys(VARIATION_SCHEMA.names) | {"level": "field", "id": name, "n_cells": 12}
    return row | numbers


def judged(name, effect, q):
    numbers = {"score": 0.2, "effect": effect, "p": q, "q": q}
    return field(
        name, **{f"{k}_{n}": v for k in ("spatial", "intensity") for n, v in numbers.items()}
    )


def test_pictures_of_a_run_with_and_without_a_null_and_of_none(tmp_path):
    runs = {
        "null": [judged("a_$x$_<b>", 1.5, 0.01), judged("b", 0.1, 0.6), field("few")],
        "no_null": [field("a", spatial_score=0.2, intensity_score=0.1)],
        "empty": [],
    }
    for name, rows in runs.items():
        path = write_plot(tmp_path / name, pa.Table.from_pylist(rows, VARIATION_SCHEMA))
        assert path == tmp_path / name / PLOT_FILE
        with Image.open(path) as picture:
            assert picture.size == (1350, 570)
            assert len(picture.convert("RGB").getcolors(10**6)) > 10

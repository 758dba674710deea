"""Quality flags on the real fields: few cells have any, and nuclei in the wrong stain are seen."""

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from hpacells.core.cell_table import CELL_QUALITY_COLUMNS
from hpacells.core.channels import CHANNELS, Channel
from hpacells.images.discover import discover_fields
from hpacells.images.read import read_field
from hpacells.segment.field_quality import judge_field
from hpacells.segment.measure import measure_cells
from hpacells.segment.registry import get_segmenter
from hpacells.segment.stain_swap import find_misplaced_nuclei

DATA = os.environ.get("HPACELLS_REAL_DATA")
pytestmark = [
    pytest.mark.realdata,
    pytest.mark.skipif(not DATA, reason="HPACELLS_REAL_DATA is not set"),
]


def read_fields():
    return [read_field(record) for record in discover_fields(Path(DATA or "") / "kaggle" / "train")]


def test_ordinary_cells_are_not_flagged_in_masses():
    n_cells, n_flagged = 0, 0
    for fov in read_fields():
        cells = measure_cells(fov, get_segmenter("watershed")(fov))
        assert judge_field(fov, cells).reason is None
        flags = [cells.table[name].to_numpy() for name in CELL_QUALITY_COLUMNS[1:]]
        n_cells += len(cells)
        n_flagged += int(np.any(flags, axis=0).sum())
    assert n_cells > 60
    assert n_flagged <= 0.1 * n_cells


def test_every_stain_exchanged_with_the_nucleus_stain_is_seen():
    for fov in read_fields():
        for stain in CHANNELS:
            order = [stain.position, Channel.NUCLEUS.position]
            pixels = fov.pixels.copy()
            pixels[order] = pixels[order[::-1]]
            found = find_misplaced_nuclei(replace(fov, pixels=pixels))
            assert found is (None if stain is Channel.NUCLEUS else stain)

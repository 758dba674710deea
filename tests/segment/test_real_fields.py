"""Agreement with the atlas's segmenter on the real fields."""

import os
from pathlib import Path

import pytest

from hpacells.core.cell_table import CellStatus
from hpacells.evaluate.masks import match_masks
from hpacells.images.discover import discover_fields
from hpacells.images.mask_files import read_label_image
from hpacells.images.read import read_field
from hpacells.segment.measure import measure_cells
from hpacells.segment.registry import get_segmenter

DATA = os.environ.get("HPACELLS_REAL_DATA")


@pytest.mark.realdata
@pytest.mark.skipif(not DATA, reason="HPACELLS_REAL_DATA is not set")
@pytest.mark.parametrize("name", ["unet", "watershed"])
def test_most_cells_agree(name):
    kaggle = Path(DATA or "") / "kaggle"
    matched = found = true = 0
    for record in discover_fields(kaggle / "train"):
        fov = read_field(record)
        masks = get_segmenter(name)(fov)
        reference = read_label_image(kaggle / "cells" / f"{record.fov_id}_cells.png")
        match = match_masks(masks.cells, reference, 0.6)
        matched += len(match.pairs)
        found += len(masks.cell_ids)
        true += len(match.pairs) + len(match.unmatched_true)
        cells = measure_cells(fov, masks)
        assert cells.count(CellStatus.REJECTED) <= 0.25 * len(cells)  # with slivers at the frame
    assert 2 * matched / (found + true) >= 0.8

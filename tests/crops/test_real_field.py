"""Crops of a real field: the pixels and areas of the field at another scale."""

import os
from pathlib import Path

import numpy as np
import pytest

from hpacells.core.channels import Channel
from hpacells.core.crop_spec import CropSpec
from hpacells.core.masks import CellMasks
from hpacells.crops.extract import extract_crops
from hpacells.images.discover import discover_fields
from hpacells.images.mask_files import read_label_image
from hpacells.images.read import read_field
from hpacells.segment.resolution import keep_inside

DATA = os.environ.get("HPACELLS_REAL_DATA")


@pytest.mark.realdata
@pytest.mark.skipif(not DATA, reason="HPACELLS_REAL_DATA is not set")
@pytest.mark.parametrize("scale", [1.0, 3.125])
def test_a_crop_holds_its_cell_at_its_scale(scale):
    kaggle = Path(DATA or "") / "kaggle"
    fov = read_field(discover_fields(kaggle / "train")[-1])
    ids = read_label_image(kaggle / "cells" / f"{fov.fov_id}_cells.png")
    nothing = np.zeros_like(ids)
    masks = CellMasks(*keep_inside(ids, nothing), "atlas", fov.pixel_size_um)
    spec = CropSpec(round(800 / scale), fov.pixel_size_um * scale)  # 64 µm
    wanted = masks.cell_ids[:12]
    crops, cell_masks = extract_crops(fov, masks, wanted, spec)
    green = Channel.PROTEIN.position
    shifts = []
    for cell_id, crop, mask in zip(wanted, crops, cell_masks, strict=True):
        inside = masks.cells == cell_id
        if mask[[0, -1]].any() or mask[:, [0, -1]].any():
            continue  # larger than the window
        assert mask.sum() * scale**2 == pytest.approx(inside.sum(), rel=0.02)
        for channel, position in ((Channel.PROTEIN, green), (Channel.ER, Channel.ER.position)):
            expected = fov.channel(channel)[inside].mean()
            assert crop[position][mask].mean() == pytest.approx(expected, rel=0.03, abs=0.5)
        shifts.append(np.argwhere(mask).mean(axis=0) + 0.5 - spec.crop_px / 2)
    # rounded to the crop's grid, and no systematic half pixel
    assert len(shifts) >= 8
    assert np.abs(shifts).max() <= 0.6
    assert np.abs(np.mean(shifts, axis=0)).max() <= 0.3

import sys

import numpy as np
import pytest
import roifile
from scipy.ndimage import binary_fill_holes, label

from hpacells.core.errors import MissingExtraError
from hpacells.export.config import ExportSettings
from hpacells.export.pixel_outlines import fill_rings
from hpacells.export.write import export_run
from hpacells.images.mask_files import read_masks

IMAGEJ = ExportSettings(to="imagej")


def without_holes(mask):
    parts, n = label(mask)
    return np.any([binary_fill_holes(parts == i + 1) for i in range(n)], axis=0)


def test_roifile_reads_the_outlines_of_the_run(run_folder):
    rois = roifile.roiread(export_run(run_folder, IMAGEJ).out / "plain.zip")
    masks = read_masks(run_folder / "masks", "plain", pixel_size_um=0.32)
    found = {}
    for roi in rois:
        kind, cell_id, *_ = roi.name.split("_")
        plane = found.setdefault((kind, int(cell_id)), np.zeros(masks.cells.shape, bool))
        mask, row, column = fill_rings([roi.coordinates().astype(float)], plane.shape)
        plane[row : row + mask.shape[0], column : column + mask.shape[1]] |= mask
    for kind, ids in (("cell", masks.cells), ("nucleus", masks.nuclei)):
        assert {i for k, i in found if k == kind} == set(np.unique(ids)[1:].tolist())
        for cell_id in np.unique(ids)[1:].tolist():
            assert np.array_equal(found[kind, cell_id], without_holes(ids == cell_id))
    assert len({roi.name for roi in rois}) == len(rois)


def test_an_empty_field_has_an_empty_set(run_folder):
    out = export_run(run_folder, IMAGEJ).out
    assert sorted(path.name for path in out.glob("*.zip")) == [
        'a,b "c" <d>.zip',
        "empty.zip",
        "plain.zip",
    ]


def test_without_roifile_it_says_what_to_install(run_folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "roifile", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'hpacells\[export\]'"):
        export_run(run_folder, IMAGEJ)

import numpy as np
import pyarrow.parquet as pq
import pytest
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO

from hpacells.core.cell_table import PROBABILITY_COLUMNS
from hpacells.core.locations import LOCATIONS
from hpacells.export.config import ExportSettings
from hpacells.export.write import export_run
from hpacells.images.mask_files import read_masks


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # pycocotools
def test_pycocotools_reads_the_masks_and_scores_of_the_run(run_folder):
    made = COCO(export_run(run_folder, ExportSettings(to="coco")).out / "instances.json")
    assert [c["name"] for c in made.loadCats(made.getCatIds())] == [x.title for x in LOCATIONS]
    names = {image["fov_id"]: i for i, image in made.imgs.items()}
    assert sorted(names) == ['a,b "c" <d>', "empty", "plain"]
    assert made.getAnnIds(imgIds=[names["empty"]]) == []
    rows = pq.read_table(run_folder / "cells.parquet").to_pylist()
    kept = {(r["fov_id"], r["cell_id"]): r for r in rows if r["status"] != "rejected"}
    for fov_id in ("plain", 'a,b "c" <d>'):
        masks = read_masks(run_folder / "masks", fov_id, pixel_size_um=0.32)
        for annotation in made.loadAnns(made.getAnnIds(imgIds=[names[fov_id]])):
            row = kept.pop((fov_id, annotation["cell_id"]))
            cell = masks.cells == row["cell_id"]
            assert np.array_equal(made.annToMask(annotation), cell)
            assert annotation["area"] == cell.sum()
            bounds = coco_mask.toBbox(made.annToRLE(annotation)).tolist()
            assert annotation["bbox"] == bounds
            nucleus = masks.nuclei == row["cell_id"]
            given = annotation["nucleus"]
            found = coco_mask.decode(given) if given else np.zeros_like(cell)
            assert np.array_equal(found, nucleus)
            scores = [row[name] for name in PROBABILITY_COLUMNS]
            assert annotation["scores"] == scores
            assert annotation["category_id"] == int(np.argmax(scores))
            assert annotation["score"] == max(scores)
    assert not kept

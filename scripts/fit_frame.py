"""Fit the weights of ``segment/frame.py``: what tells that half of a cell is inside the frame.

    hpacells simulate DATA --fields 1500 --seed 4000 --size 768 --pixel-size-um 0.16
    hpacells segment DATA MASKS
    python scripts/fit_frame.py DATA MASKS

prints them, to be copied; so were those that stand there. A found cell is the true one that it
shares most pixels with.
"""

import argparse
import csv
from collections import defaultdict
from pathlib import Path

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from hpacells.evaluate.label_overlap import overlap_labels
from hpacells.images.mask_files import mask_path, read_label_image, read_masks
from hpacells.segment.frame import signs_at_frame

HALF = 0.5


def main() -> None:
    """Measure the signs of all cells at the frame, fit, print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("data", type=Path, help="simulated, with its truth")
    parser.add_argument("masks", type=Path, help="as 'hpacells segment' wrote them")
    parser.add_argument("--fields", type=int, help="only the first so many")
    options = parser.parse_args()

    share_inside: dict[str, dict[int, float]] = defaultdict(dict)
    with (options.data / "truth" / "cells.csv").open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            share_inside[row["ID"]][int(row["cell_id"])] = float(row["share_inside"])
    signs, inside = [], []
    for fov_id in sorted(share_inside)[: options.fields]:
        masks = read_masks(
            options.masks / "masks", fov_id, pixel_size_um=1.0, segmenter="unet"
        )  # the signs have no unit
        true = read_label_image(mask_path(options.data / "truth", fov_id, "cells"))
        found = signs_at_frame(masks)
        for cell_id, true_id in _pair(masks.cells, true, fov_id).items():
            if found[cell_id].any():  # the frame cuts it
                signs.append(found[cell_id])
                inside.append(share_inside[fov_id][true_id] >= HALF)
    told, of_bare = np.array(signs), np.array(signs)[:, 3:]
    for name, x in (("with nuclei", told[:, [0, 1, 2, 4]]), ("without any", of_bare)):
        model = LogisticRegression(C=1e4, max_iter=5000).fit(x, inside)
        auc = roc_auc_score(inside, model.predict_proba(x)[:, 1])
        weights = ", ".join(f"{w:.2f}" for w in (*model.intercept_, *model.coef_[0]))
        print(f"fields {name}: weights {weights}; {len(x)} cells, area under the curve {auc:.3f}")


def _pair(found: np.ndarray, true: np.ndarray, fov_id: str) -> dict[int, int]:
    """Give each found cell the true one that it shares most pixels with."""
    overlap = overlap_labels(found, true, fov_id)
    order = np.argsort(overlap.shared)  # the largest comes last and stays
    return {
        int(overlap.found_ids[overlap.found_at[i]]): int(overlap.true_ids[overlap.true_at[i]])
        for i in order
    }


if __name__ == "__main__":
    main()

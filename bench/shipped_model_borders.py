"""What it is worth to the submission to know how much of a cell lies outside the frame.

On the fields and the run of ``bench/shipped_model.py``, which comes first. A cell at the frame
counts when it fits a true cell (IoU 0.6) of which at least half is inside the frame. How well
``chance_inside`` ranks those above the others is an area under the curve; the submission is scored
as it is, with border cells weighed like whole ones, and with exactly those border cells that count:
what knowing it would give.

Prediction written down before the first measurement: weighing is worth 0.03 mAP, knowing 0.06 more.
"""

import argparse
import csv
import tempfile
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from run_speed import row
from simulated_data import RESULTS, ROOT
from sklearn.metrics import roc_auc_score

from hpacells.core.storage import write_json
from hpacells.core.submission import (
    SubmissionRow,
    format_predictions,
    iterate_submission,
    parse_predictions,
    write_submission,
)
from hpacells.evaluate.label_overlap import overlap_labels
from hpacells.evaluate.matching import match_submission
from hpacells.evaluate.strict import score_matches
from hpacells.images.mask_files import mask_path, read_label_image
from hpacells.runtime.model_folder import load_model
from hpacells.runtime.registry import resolve_model

IOU = 0.6

Weigh = Callable[[str, int], float]
"""Field and cell id to a factor on the confidence; 0 leaves the cell out."""


def main() -> None:
    """Match the cells at the frame, score three submissions, write the result."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--work", type=Path, default=ROOT / "scratch" / "bench_shipped")
    work = parser.parse_args().work
    data, run = work / "data", work / "found"

    cells = pq.read_table(run / "cells.parquet").to_pylist()
    counting = _counting_cells(data, run)
    cut = [cell for cell in cells if cell["touches_border"]]
    power = load_model(resolve_model("nfnet-sim")).spec.postprocessing.border_power
    weight = {_key(c): c["chance_inside"] ** power for c in cut if c["status"] == "border"}
    truth = np.array([_key(cell) in counting for cell in cut])
    auc = roc_auc_score(truth, [cell["chance_inside"] for cell in cut])
    lost = sum(cell["status"] == "rejected" and _key(cell) in counting for cell in cut)
    ids = defaultdict(list)
    for cell in cells:
        if cell["status"] != "rejected":
            ids[cell["fov_id"]].append(cell["cell_id"])
    ways: dict[str, Weigh] = {
        "weighed by chance_inside": lambda *_: 1.0,
        "weighed like whole cells": lambda f, i: 1 / weight.get((f, i), 1.0),
        "only those that count": lambda f, i: (
            1.0 if (f, i) not in weight else float((f, i) in counting) / weight[f, i]
        ),
    }
    scores = {name: _score(data, run, ids, weigh) for name, weigh in ways.items()}
    rows = [
        row(f"strict mAP, border cells {name}", "reported", f"{score:.3f}")
        for name, score in scores.items()
    ]
    about = f"{len(cut)} cells at the frame, {int(truth.sum())} count, {lost} of them rejected"
    rows.append(row(f"chance_inside, AUC ({about})", "reported", f"{auc:.3f}"))
    write_json(RESULTS / "shipped_model_borders.json", {"rows": rows, "scores": scores, "auc": auc})
    for line in rows:
        print(f"{line['what']}: {line['measured']}")


def _key(cell: dict[str, Any]) -> tuple[str, int]:
    return cell["fov_id"], cell["cell_id"]


def _counting_cells(data: Path, run: Path) -> set[tuple[str, int]]:
    """Find the found cells that fit a true cell which is in the truth."""
    in_truth = defaultdict(set)
    with (data / "truth" / "cells.csv").open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            if row["in_truth"] == "1":
                in_truth[row["ID"]].add(int(row["cell_id"]))
    counting = set()
    for fov_id, true in in_truth.items():
        overlap = overlap_labels(
            read_label_image(mask_path(run / "masks", fov_id, "cells")),
            read_label_image(mask_path(data / "truth", fov_id, "cells")),
            fov_id,
        )
        pairs = overlap.match(IOU)
        found_ids, true_ids = (
            overlap.found_ids[overlap.found_at[pairs]],
            overlap.true_ids[overlap.true_at[pairs]],
        )
        fitting = zip(found_ids.tolist(), true_ids.tolist(), strict=True)
        counting |= {(fov_id, found) for found, i in fitting if i in true}
    return counting


def _score(data: Path, run: Path, ids: dict[str, list[int]], weigh: Weigh) -> float | None:
    """Score the run's submission with other confidences."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "submission.csv"
        write_submission(
            path,
            (
                _reweigh(row, ids[row.fov_id], weigh)
                for row in iterate_submission(run / "submission.csv")
            ),
        )
        return score_matches(match_submission(data / "truth.csv", path)).find("map").value


def _reweigh(row: SubmissionRow, ids: list[int], weigh: Weigh) -> SubmissionRow:
    triples = parse_predictions(row.predictions, where=row.fov_id)
    n_classes = len(triples) // max(len(ids), 1)  # cell after cell, its locations together
    factors = [weigh(row.fov_id, ids[k // n_classes]) for k in range(len(triples))]
    changed = [
        (class_id, confidence * factor, mask)
        for (class_id, confidence, mask), factor in zip(triples, factors, strict=True)
        if factor > 0
    ]
    return SubmissionRow(row.fov_id, row.width, row.height, format_predictions(changed))


if __name__ == "__main__":
    main()

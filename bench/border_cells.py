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
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow.parquet as pq
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
from hpacells.evaluate.matching import match_submission
from hpacells.evaluate.strict import score_matches
from hpacells.images.mask_files import mask_path, read_label_image

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
    cut = [row for row in cells if row["touches_border"]]
    chance = {_key(row): row["chance_inside"] for row in cut if row["status"] == "border"}
    truth = np.array([_key(row) in counting for row in cut])
    auc = roc_auc_score(truth, [row["chance_inside"] for row in cut])
    lost = sum(row["status"] == "rejected" and _key(row) in counting for row in cut)
    ids = defaultdict(list)
    for row in cells:
        if row["status"] != "rejected":
            ids[row["fov_id"]].append(row["cell_id"])
    ways: dict[str, Weigh] = {
        "weighed by chance_inside": lambda *_: 1.0,
        "weighed like whole cells": lambda f, i: 1 / chance.get((f, i), 1.0),
        "only those that count": lambda f, i: (
            1.0 if (f, i) not in chance else float((f, i) in counting) / chance[f, i]
        ),
    }
    scores = {name: _score(data, run, ids, weigh) for name, weigh in ways.items()}
    rows = [
        {"what": f"strict mAP, border cells {name}", "measured": f"{score:.3f}", "met": None}
        for name, score in scores.items()
    ]
    about = f"{len(cut)} cells at the frame, {int(truth.sum())} count, {lost} of them rejected"
    rows.append({"what": f"chance_inside, AUC ({about})", "measured": f"{auc:.3f}", "met": None})
    write_json(RESULTS / "border_cells.json", {"rows": rows, "scores": scores, "auc": auc})
    for row in rows:
        print(f"{row['what']}: {row['measured']}")


def _key(row: dict[str, object]) -> tuple[str, int]:
    return str(row["fov_id"]), int(row["cell_id"])


def _counting_cells(data: Path, run: Path) -> set[tuple[str, int]]:
    """Find the found cells that fit a true cell which is in the truth."""
    in_truth = defaultdict(set)
    with (data / "truth" / "cells.csv").open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            if row["in_truth"] == "1":
                in_truth[row["ID"]].add(int(row["cell_id"]))
    return {
        (fov_id, found)
        for fov_id, true in in_truth.items()
        for found in _fitting(
            read_label_image(mask_path(run / "masks", fov_id, "cells")),
            read_label_image(mask_path(data / "truth", fov_id, "cells")),
            true,
        )
    }


def _fitting(
    found: npt.NDArray[np.integer], true: npt.NDArray[np.integer], wanted: set[int]
) -> Iterator[int]:
    """Give the found ids that overlap a wanted true one by the IoU asked."""
    n = int(true.max()) + 1
    shared = np.bincount(found.ravel().astype(np.int64) * n + true.ravel()).reshape(-1)
    shared = np.pad(shared, (0, -len(shared) % n)).reshape(-1, n)
    union = shared.sum(1)[:, None] + np.bincount(true.ravel(), minlength=n) - shared
    for i, j in zip(*np.nonzero(shared >= IOU * union), strict=True):
        if i and int(j) in wanted:
            yield int(i)


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

"""Whether p of variation is honest, and designed variation found, from the shipped model's scores.

Simulated fields that neither the model nor its null has seen, each a sample of its own, outlined
and scored by a run: without designed variation, with spatial, and with intensity variation of the
simulator's default effects. Over all of them together, spatial and intensity apart:

- *share below .05*: of p of the fields without design;
- *found*: share of the designed fields of 12 cells and more with q < .05, corrected over all;
- *ROC AUC*: designed against not designed fields of 12 cells and more, ranked by p. Beside it that
  of the score itself, and that of p against uniform fields alone (a label of one place): the others
  differ by ordinary scatter, too;
- *places told apart*: within fields without design, how well the scores of a place rank the cells
  that carry it above those that do not (ROC AUC, mean over a field's places, weighted by cells).
  It bounds what any spatial statistic of the scores can find: docs/variation.md has the curve.

``--scored DATASET RUN`` judges fields that were simulated and run before. Intervals: 95 %, fields
drawn with replacement (AUC) or Clopper and Pearson (shares).
"""

import argparse
import csv
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from scipy.stats import binomtest, false_discovery_control, mannwhitneyu
from simulated_data import RESULTS, ROOT, hpacells

from hpacells.core.locations import NEGATIVE
from hpacells.core.storage import write_json
from hpacells.evaluate.label_overlap import overlap_labels
from hpacells.images.mask_files import mask_path, read_label_image
from hpacells.runtime.registry import resolve_model
from hpacells.runtime.variation_null import VariationNull, read_null
from hpacells.variation.null import KINDS
from hpacells.variation.run_cells import open_run
from hpacells.variation.scores import score_variation

LEAST_IOU, LEAST_BESIDE = 0.6, 2
LEAST_CELLS, ALPHA, LIMITS = 12, 0.05, (0.03, 0.06)
FOUND = {"spatial": 0.70, "intensity": 0.85}
AUC = {"spatial": 0.90, "intensity": 0.95}
SEED_STEP = 1000

Row = dict[str, Any]


def main() -> None:
    """Simulate, run, score, write the result."""
    options = _options()
    null = read_null(resolve_model(options.model))
    if null is None:
        sys.exit(f"{options.model}: has no null of variation; see scripts/fit_variation_null.py")
    scored = [tuple(pair) for pair in options.scored] or _simulate(options)
    fields = [row for data, run in scored for row in _read(data, run, null)]
    rows = [row for kind in KINDS for row in _judge(fields, kind)] + [_places_row(scored)]
    content = {
        "rows": rows,
        "model": options.model,
        "null": null.source,
        "fields": {k: sum(f["kind"] == k for f in fields) for k in ("none", *KINDS, "cell_cycle")},
    }
    write_json(options.results / "variation.json", content)
    for row in rows:
        print(f"{row['what']}: {row['measured']} (asked {row['asked']})")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--model", default="nfnet-sim")
    parser.add_argument("--fields", type=int, default=200, help="of each kind; twice without")
    parser.add_argument("--seed", type=int, default=860_000)
    parser.add_argument("--judging", action="store_true", help="allow seeds from 900000")
    parser.add_argument("--size", type=int, default=1280, help="pixels of 0.16 µm")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--scored", nargs=2, type=Path, action="append", default=[])
    parser.add_argument("--work", type=Path, default=ROOT / "scratch" / "bench_variation")
    parser.add_argument("--results", type=Path, default=RESULTS)
    return parser.parse_args()


def _simulate(options: argparse.Namespace) -> list[tuple[Path, Path]]:
    if options.seed >= 900_000 and not options.judging:
        sys.exit("--seed: seeds from 900000 are for judging; say --judging if that is meant")
    made = []
    for step, kind in enumerate(("none", *KINDS)):
        data, run = (options.work / f"{what}_{kind}_{options.seed}" for what in ("data", "run"))
        hpacells(
            "simulate", data, "--fields", options.fields * (2 if kind == "none" else 1),
            "--seed", options.seed + step * SEED_STEP, "--size", options.size,
            "--pixel-size-um", 0.16, "--variation", kind, "--samples", "single",
            "--workers", options.workers,
        )  # fmt: skip
        hpacells("run", data, run, "--model", options.model, "--workers", options.workers)
        made.append((data, run))
    return made


def _read(data: Path, run: Path, null: VariationNull) -> list[Row]:
    """Score a run's fields, each with what was designed; samples of Negative are left out."""
    with (data / "truth" / "fields.csv").open(newline="", encoding="utf-8") as file:
        truth = {row["ID"]: row for row in csv.DictReader(file)}
    cells, fields, embeddings = (
        pq.read_table(run / f"{name}.parquet") for name in ("cells", "fields", "embeddings")
    )
    cells = cells.append_column("embedding", embeddings["embedding"])
    table = score_variation(cells, fields, null=null)
    return [
        {**row, "kind": truth[row["id"]]["kind"], "label": truth[row["id"]]["Label"]}
        for row in table.to_pylist()
        if row["level"] == "field" and truth[row["id"]]["Label"] != str(NEGATIVE)
    ]


def _judge(fields: list[Row], kind: str) -> list[Row]:
    judged = [row for row in fields if row[f"{kind}_p"] is not None]
    q = false_discovery_control([row[f"{kind}_p"] for row in judged])
    judged = [{**row, "q": value} for row, value in zip(judged, q, strict=True)]
    even = [row for row in judged if row["kind"] == "none"]
    below = sum(row[f"{kind}_p"] < ALPHA for row in even)
    designed = [row for row in judged if row["kind"] == kind and row["n_cells"] >= LEAST_CELLS]
    against = [row for row in even if row["n_cells"] >= LEAST_CELLS]
    uniform = [row for row in against if "|" not in row["label"]]
    found = sum(bool(row["q"] < ALPHA) for row in designed)
    false = sum(bool(row["q"] < ALPHA) for row in even)
    low, high = LIMITS
    area, area_text = _auc(designed, against, f"{kind}_p", sign=-1)
    of = f"{len(designed)} designed against {len(against)} not, {LEAST_CELLS} cells and more"
    return [
        {
            "what": f"{kind}: share of p below .05, {len(even)} fields without design",
            "asked": f"{low} - {high}",
            "measured": _share(below, len(even)),
            "met": low <= below / max(len(even), 1) <= high,
        },
        {
            "what": f"{kind}: designed fields found at q < .05, of {len(designed)}",
            "asked": f">= {FOUND[kind]:.2f}",
            "measured": f"{_share(found, len(designed))}; {false} found of those without design",
            "met": found >= FOUND[kind] * len(designed) > 0,
        },
        {
            "what": f"{kind}: designed fields with p < .05, uncorrected",
            "asked": "reported",
            "measured": _share(sum(row[f"{kind}_p"] < ALPHA for row in designed), len(designed)),
            "met": None,
        },
        {
            "what": f"{kind}: ROC AUC of p, {of}",
            "asked": f">= {AUC[kind]:.2f}",
            "measured": area_text,
            "met": area is not None and area >= AUC[kind],
        },
        {
            "what": f"{kind}: ROC AUC of the score alone, the same fields",
            "asked": "reported",
            "measured": _auc(designed, against, f"{kind}_score", sign=1)[1],
            "met": None,
        },
        {
            "what": f"{kind}: ROC AUC of the score against the {len(uniform)} of one location",
            "asked": "reported",
            "measured": _auc(designed, uniform, f"{kind}_score", sign=1)[1],
            "met": None,
        },
    ]


def _places_row(scored: list[tuple[Path, Path]]) -> Row:
    told = np.array([pair for data, run in scored for pair in _place_aucs(data, run)])
    return {
        "what": f"places told apart within even fields, ROC AUC, {len(told)} places of a field",
        "asked": "reported",
        "measured": f"{np.average(told[:, 0], weights=told[:, 1]):.3f}" if len(told) else "none",
        "met": None,
    }


def _place_aucs(data: Path, run: Path) -> list[tuple[float, int]]:
    """Give AUC and number of cells of each place of each even field that some cells lack."""
    carried: dict[str, dict[int, set[int]]] = {}
    with (data / "truth" / "cells.csv").open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            if row["variation"] == "none":
                places = set(map(int, row["Label"].split("|")))
                carried.setdefault(row["ID"], {})[int(row["cell_id"])] = places
    told = []
    for fov_id, cells in open_run(run).done_fields():
        if fov_id not in carried:
            continue
        folders = run / "masks", data / "truth"
        found, true = (read_label_image(mask_path(folder, fov_id, "cells")) for folder in folders)
        partners = overlap_labels(found, true, fov_id).partners(LEAST_IOU)
        known = np.array([int(cell_id) in partners for cell_id in cells.cell_ids], np.bool_)
        of_cells = [carried[fov_id][partners[int(i)]] for i in cells.cell_ids[known]]
        for place in set().union(*of_cells) - {NEGATIVE}:
            has = np.array([place in places for places in of_cells])
            if min(has.sum(), (~has).sum()) >= LEAST_BESIDE:
                p = cells.probabilities[known, place]
                area = mannwhitneyu(p[has], p[~has]).statistic / (has.sum() * (~has).sum())
                told.append((float(area), len(has)))
    return told


def _share(count: int, of: int) -> str:
    if not of:
        return "no field"
    interval = binomtest(count, of).proportion_ci()
    return f"{count / of:.3f} ({interval.low:.3f} to {interval.high:.3f})"


def _auc(
    positive: list[Row], negative: list[Row], column: str, *, sign: int
) -> tuple[float | None, str]:
    if not positive or not negative:
        return None, "no field"
    high = np.array([sign * row[column] for row in positive])
    low = np.array([sign * row[column] for row in negative])
    rng = np.random.default_rng(0)

    def area(a: np.ndarray, b: np.ndarray) -> float:
        return float(mannwhitneyu(a, b).statistic / (len(a) * len(b)))

    drawn = [area(rng.choice(high, len(high)), rng.choice(low, len(low))) for _ in range(500)]
    bounds = np.quantile(drawn, [0.025, 0.975])
    return area(high, low), f"{area(high, low):.3f} ({bounds[0]:.3f} to {bounds[1]:.3f})"


if __name__ == "__main__":
    main()

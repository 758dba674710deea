"""Fit the null of variation of the shipped model on simulated fields, and put it into its folder.

    python scripts/fit_variation_null.py --work scratch/null

simulates fields without designed variation, each a sample of its own, runs the model on them with
the found outlines, learns from their true amounts how much protein a cell has
(``hpacells.variation.amounts``), and fits what the model says of their cells
(``hpacells.variation.null``), by weights that were taught by other genes. Fields that were
simulated and run before can be named instead, or besides; those with designed variation only teach
the amounts:

    python scripts/fit_variation_null.py --fields 0 --scored DATASET RUN --scored DATASET RUN

Nothing may be judged on the seeds that a null was fitted on.
"""

import argparse
import csv
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from hpacells.core.locations import NEGATIVE
from hpacells.evaluate.label_overlap import overlap_labels
from hpacells.images.mask_files import mask_path, read_label_image
from hpacells.runtime.registry import DEFAULT_MODEL, WEIGHTS_FOLDER
from hpacells.runtime.variation_null import attach_null
from hpacells.variation.amounts import fit_amount_weights
from hpacells.variation.config import VariationConfig
from hpacells.variation.field_cells import FieldCells
from hpacells.variation.null import KINDS, describe_field, fit_null, judge_field
from hpacells.variation.run_cells import open_run

ROOT = Path(__file__).parents[1]
LEAST_CELLS = VariationConfig().min_cells
LEAST_IOU, LEAST_CARRIERS, FOLDS, ALPHA = 0.6, 3, 5, 0.05

Described = tuple[dict[str, float], npt.NDArray[np.float64]]
"""As ``describe_field`` gives it."""


@dataclass(frozen=True)
class Field:
    """A field that was simulated and run; ``amounts`` as ``true_amounts`` says."""

    gene: str
    even: bool
    cells: FieldCells
    amounts: npt.NDArray[np.float64]


def main() -> None:
    """Simulate and run what is missing, fit, write."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--work", type=Path, default=ROOT / "scratch" / "null")
    parser.add_argument("--fields", type=int, default=600, help="to simulate; 0 for none")
    parser.add_argument("--seed", type=int, default=850000, help="below 900,000")
    parser.add_argument("--size", type=int, default=1280, help="pixels of 0.16 µm")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--model", type=Path, default=WEIGHTS_FOLDER / DEFAULT_MODEL)
    parser.add_argument("--scored", nargs=2, type=Path, action="append", default=[])
    options = parser.parse_args()

    scored = [tuple(pair) for pair in options.scored]
    if options.fields:
        data, run = options.work / "data", options.work / "run"
        _hpacells(
            "simulate", data, "--fields", options.fields, "--seed", options.seed,
            "--size", options.size, "--pixel-size-um", 0.16, "--variation", "none",
            "--samples", "single", "--workers", options.workers,
        )  # fmt: skip
        _hpacells("run", data, run, "--model", options.model, "--workers", options.workers)
        scored.append((data, run))
    fields = [field for data, run in scored for field in read_fields(data, run)]
    genes = {gene: i % FOLDS for i, gene in enumerate(sorted({f.gene for f in fields}))}
    parts = []
    for fold in range(FOLDS):
        taught = [(f.cells, f.amounts) for f in fields if genes[f.gene] != fold]
        weights = fit_amount_weights(taught)
        own = [f.cells for f in fields if f.even and genes[f.gene] == fold]
        parts.append([describe_field(cells, weights) for cells in own])
    described = [field for part in parts for field in part]
    source = (
        f"{len(described)} simulated fields without designed variation that have "
        f"{LEAST_CELLS} whole cells: {', '.join(sorted({_seed_of(data) for data, _ in scored}))}; "
        f"amounts taught by {len(fields)} fields"
    )
    weights = fit_amount_weights([(f.cells, f.amounts) for f in fields])
    null = fit_null(described, source=source, trimmed=False, amount_weights=weights)
    attach_null(options.model, null)
    print(f"{options.model}: {source}")
    for kind, level in left_out_levels(parts).items():
        print(f"{kind}: share of p below {ALPHA:g}, genes left out: {level:.3f}")


def left_out_levels(parts: list[list[Described]]) -> dict[str, float]:
    """Give the share of p below .05 by kind, each part judged by a null of the others."""
    p: dict[str, list[float]] = {kind: [] for kind in KINDS}
    for place, part in enumerate(parts):
        others = [field for i, each in enumerate(parts) if i != place for field in each]
        null = fit_null(others, source="", trimmed=False)
        for statistics, features in part:
            for kind, value in statistics.items():
                p[kind].append(judge_field(null, kind, value, features).p)
    return {kind: float((np.array(values) < ALPHA).mean()) for kind, values in p.items()}


def read_fields(data: Path, run: Path) -> list[Field]:
    """Read the fields of a run that have enough cells; those labelled Negative are left out."""
    with (data / "truth" / "fields.csv").open(newline="", encoding="utf-8") as file:
        rows = {r["ID"]: r for r in csv.DictReader(file) if r["Label"] != str(NEGATIVE)}
    amounts: dict[str, dict[int, dict[int, float]]] = {}
    with (data / "truth" / "cells.csv").open(newline="", encoding="utf-8") as file:
        for cell in csv.DictReader(file):
            pairs = (pair.split(":") for pair in cell["amounts"].split())
            of_field = amounts.setdefault(cell["ID"], {})
            of_field[int(cell["cell_id"])] = {int(k): float(amount) for k, amount in pairs}
    return [
        Field(
            rows[fov_id]["gene"],
            rows[fov_id]["kind"] == "none",
            cells,
            true_amounts(cells, partners(data, run, fov_id), amounts[fov_id]),
        )
        for fov_id, cells in open_run(run).done_fields(embedded=True)
        if fov_id in rows and min(len(cells), cells.has_place.sum()) >= LEAST_CELLS
    ]


def partners(data: Path, run: Path, fov_id: str) -> dict[int, int]:
    """Give the true cell of each found one that overlaps it enough."""
    folders = run / "masks", data / "truth"
    found, true = (read_label_image(mask_path(folder, fov_id, "cells")) for folder in folders)
    return overlap_labels(found, true, fov_id).partners(LEAST_IOU)


def true_amounts(
    cells: FieldCells, partners: dict[int, int], amounts: dict[int, dict[int, float]]
) -> npt.NDArray[np.float64]:
    """Give the log amount of each cell beside the others, ``(N,)``: place for place, then the mean.

    NaN for a cell without a partner, and for one that has no place that at least 3 cells carry.
    """
    logs = np.full((len(cells), NEGATIVE), np.nan)
    for row, cell_id in enumerate(cells.cell_ids):
        for place, amount in amounts.get(partners.get(int(cell_id), 0), {}).items():
            logs[row, place] = np.log(amount)
    logs = logs[:, np.isfinite(logs).sum(axis=0) >= LEAST_CARRIERS]
    known = np.isfinite(logs)
    logs = np.where(known, logs, 0.0)
    logs -= logs.sum(axis=0) / np.maximum(known.sum(axis=0), 1)
    carried = known.sum(axis=1)
    means = (logs * known).sum(axis=1) / np.maximum(carried, 1)
    return np.where(carried > 0, means, np.nan)


def _seed_of(data: Path) -> str:
    with (data / "train.csv").open(newline="", encoding="utf-8") as file:
        first = next(csv.DictReader(file))["ID"]
    return f"seed {first.split('_')[0].removeprefix('sim')}"


def _hpacells(*arguments: object) -> None:
    subprocess.run([sys.executable, "-m", "hpacells", *map(str, arguments)], check=True)


if __name__ == "__main__":
    main()

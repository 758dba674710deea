"""Fit the null of variation of the shipped model on simulated fields, and put it into its folder.

    python scripts/fit_variation_null.py --work scratch/null

simulates fields without designed variation, each a sample of its own, runs the model on them with
the found outlines, and fits what it says of their cells (``hpacells.variation.null``). Fields that
were simulated and run before can be named instead, or besides; of those the ones without designed
variation are used:

    python scripts/fit_variation_null.py --fields 0 --scored DATASET RUN --scored DATASET RUN

Nothing may be judged on the seeds that a null was fitted on.
"""

import argparse
import csv
import subprocess
import sys
from pathlib import Path

from hpacells.core.locations import NEGATIVE
from hpacells.runtime.registry import DEFAULT_MODEL, WEIGHTS_FOLDER
from hpacells.runtime.variation_null import attach_null
from hpacells.variation.config import VariationConfig
from hpacells.variation.null import describe_field, fit_null
from hpacells.variation.run_cells import open_run

ROOT = Path(__file__).parents[1]


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
    least = VariationConfig().min_cells
    described, used = [], 0
    for data, run in scored:
        even = fields_without_design(data)
        used += len(even)
        described += [
            describe_field(cells)
            for fov_id, cells in open_run(run).done_fields()
            if fov_id in even and len(cells) >= least and cells.has_place.sum() >= least
        ]
    source = (
        f"{len(described)} simulated fields without designed variation that have {least} whole "
        f"cells, of {used}: {', '.join(sorted({_seed_of(data) for data, _ in scored}))}"
    )
    null = fit_null(described, source=source, trimmed=False)
    attach_null(options.model, null)
    print(f"{options.model}: {source}")


def fields_without_design(data: Path) -> set[str]:
    """Give the fields of a simulated dataset without designed variation, Negative ones left out."""
    with (data / "truth" / "fields.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    return {r["ID"] for r in rows if r["kind"] == "none" and r["Label"] != str(NEGATIVE)}


def _seed_of(data: Path) -> str:
    with (data / "train.csv").open(newline="", encoding="utf-8") as file:
        first = next(csv.DictReader(file))["ID"]
    return f"seed {first.split('_')[0].removeprefix('sim')}"


def _hpacells(*arguments: object) -> None:
    subprocess.run([sys.executable, "-m", "hpacells", *map(str, arguments)], check=True)


if __name__ == "__main__":
    main()

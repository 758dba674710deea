"""How long ``hpacells evaluate`` takes: 100 images 1024², 20 cells x 19 classes each.

Times the whole process, the median of three, for two submissions: one in which each cell's mask
stands 19 times (as real ones are) and one in which all 38,000 masks differ.

    python bench/metric_speed.py
"""

import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from hpacells.core.locations import N_LOCATIONS
from hpacells.core.storage import write_json
from hpacells.core.submission import (
    SubmissionRow,
    encode_cells,
    format_predictions,
    write_submission,
)

ASKED_S = 3.0
N_IMAGES, SIDE, N_CELLS = 100, 1024, 20
CALL = "from hpacells.cli.app import main; main()"
RESULTS = Path(__file__).parent / "results" / "metric_speed.json"


def draw_cells(rng: np.random.Generator, jitter: float = 0.0) -> np.ndarray:
    """Draw 20 wavy cells on a loose grid as a label image."""
    yy, xx = np.mgrid[:SIDE, :SIDE]
    cells = np.zeros((SIDE, SIDE), np.int32)
    for k in range(N_CELLS):
        row = (k // 5 + 0.5) * SIDE / 4 + rng.uniform(-25, 25) + jitter * rng.normal()
        column = (k % 5 + 0.5) * SIDE / 5 + rng.uniform(-25, 25) + jitter * rng.normal()
        box = np.s_[
            max(0, int(row) - 130) : int(row) + 130, max(0, int(column) - 130) : int(column) + 130
        ]
        dy, dx = yy[box] - row, xx[box] - column
        angle, phase = np.arctan2(dy, dx), rng.uniform(0, 6.3)
        radius = rng.uniform(70, 100) * (1 + 0.15 * np.sin(3 * angle + phase))
        cells[box][np.hypot(dy, dx) < radius] = k + 1
    return cells


def vary_cells(cells: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Cut thin lines out of every cell, at random offsets, so that no two masks are equal."""
    varied = cells.copy()
    varied[int(rng.integers(100)) :: 100] = 0
    varied[:, int(rng.integers(100)) :: 100] = 0
    return varied


def make_files(folder: Path, *, distinct: bool) -> tuple[Path, Path]:
    """Write a truth and a submission; the found cells lie a little beside the true ones."""
    truth_rows, found_rows = [], []
    for i in range(N_IMAGES):
        rng = np.random.default_rng([i, 7])
        cells = draw_cells(rng)
        true = encode_cells(cells)
        triples = [
            (int(c), 1.0, t)
            for t in true.values()
            for c in rng.choice(N_LOCATIONS, 2, replace=False)
        ]
        truth_rows.append(SubmissionRow(f"image{i:03d}", SIDE, SIDE, format_predictions(triples)))
        shifted = np.roll(cells, (int(rng.integers(-12, 13)), int(rng.integers(-12, 13))), (0, 1))
        triples = []
        found = encode_cells(shifted)
        for class_id in range(N_LOCATIONS):
            if distinct:
                found = encode_cells(vary_cells(shifted, rng))
            triples += [(class_id, float(rng.random()), text) for text in found.values()]
        found_rows.append(SubmissionRow(f"image{i:03d}", SIDE, SIDE, format_predictions(triples)))
    truth, submission = folder / "truth.csv", folder / "submission.csv"
    write_submission(truth, truth_rows)
    write_submission(submission, found_rows)
    return truth, submission


def time_command(truth: Path, submission: Path) -> float:
    """Run the command three times; give the median in seconds."""
    times = []
    for _ in range(3):
        started = time.perf_counter()
        subprocess.run(
            [sys.executable, "-c", CALL, "evaluate", str(truth), str(submission)],
            check=True,
            stdout=subprocess.DEVNULL,
        )
        times.append(time.perf_counter() - started)
    return statistics.median(times)


def main() -> int:
    rows = []
    for name, distinct in (("19 triples share a cell's mask", False), ("all masks differ", True)):
        with tempfile.TemporaryDirectory() as folder:
            truth, submission = make_files(Path(folder), distinct=distinct)
            seconds = time_command(truth, submission)
            size_mb = submission.stat().st_size / 1e6
        rows.append(
            {
                "what": f"hpacells evaluate, {N_IMAGES} images {SIDE}², {N_CELLS} cells x "
                f"{N_LOCATIONS} classes, {name} ({size_mb:.0f} MB), whole process, "
                f"{os.cpu_count()} cores",
                "asked": "" if distinct else f"<= {ASKED_S:.0f} s",
                "measured": f"{seconds:.2f} s",
                "met": None if distinct else seconds <= ASKED_S,
            }
        )
        print(f"{name:<36}{rows[-1]['asked']:>8}{rows[-1]['measured']:>10}")
    write_json(RESULTS, {"rows": rows})
    return 0 if rows[0]["met"] else 1


if __name__ == "__main__":
    sys.exit(main())

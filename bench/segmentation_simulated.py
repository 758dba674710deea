"""How well a segmenter outlines simulated cells of every line, how steadily and how fast.

Draws ten fields of each of the 17 cell lines, of seeds that nothing was trained on, and writes
``bench/results/segmentation_simulated.json``: F1 at IoU 0.6 per line; agreement with itself at
other pixel sizes and seconds on one field a line; a crowded field's time and memory. A rejected
found cell, or a true one more than half outside the frame, counts only where it matches. A figure
that asks for all lines is met by all lines only.

Seconds are those of the clock and of this process's processors: on a busy machine the first tell
of the others' work too.

Example: python bench/segmentation_simulated.py --segmenter unet
"""

import argparse
import csv
import json
import os
import resource
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any, TypeVar

import cv2
import numpy as np
import numpy.typing as npt
import pyarrow.compute as pc

from hpacells.core.cell_table import CellStatus
from hpacells.core.fov import FieldOfView, FovRecord
from hpacells.core.masks import CellMasks, sample_ids
from hpacells.core.provenance import installed_versions
from hpacells.core.storage import write_json
from hpacells.evaluate.field_masks import THRESHOLDS, count_field
from hpacells.evaluate.mask_pairs import MaskPair
from hpacells.evaluate.masks import match_masks
from hpacells.images.discover import discover_fields
from hpacells.images.mask_files import read_masks
from hpacells.images.read import read_field
from hpacells.segment.measure import measure_cells
from hpacells.segment.registry import DEFAULT_SEGMENTER, SEGMENTERS, Segmenter, get_segmenter
from hpacells.segment.unet import UnetSegmenter
from hpacells.simulate.cell_lines import CELL_LINES

ROOT = Path(__file__).parents[1]
THRESHOLD = 0.6
FACTORS = {0.5: True, 2.0: True, 4.0: False}
"""How many times as long the pixels are made, and whether anything is asked of that."""
ASKED = {"mean": 0.93, "worst": 0.85, "scales": 0.95, "total_s": 0.8, "post_s": 0.15}
ASKED_DENSE = {"s": 2.5, "gib": 1.5}
DENSE_PX, DENSE_CELLS, DENSE_ROUNDS = 3072, 150, 3
FIRST_SEED, SEEDS_PER_LINE = 890_000, 100

_Result = TypeVar("_Result")
_Seconds = dict[str, float]


@dataclass(frozen=True)
class Quarter:
    """A corner of a field, ``DENSE_PX`` / 2 on a side, and how many true cells lie in it."""

    record: FovRecord
    rows: slice
    columns: slice
    n_cells: int


@dataclass
class Judged:
    """What was measured of the fields so far; seconds and agreement of one field a line."""

    counts: dict[str, dict[str, int]] = field(default_factory=dict)
    scales: dict[float, list[float]] = field(default_factory=lambda: defaultdict(list))
    times: list[dict[str, _Seconds]] = field(default_factory=list)
    quarters: list[Quarter] = field(default_factory=list)


def simulate(data: Path, line: str, fields: int, seed: int) -> None:
    """Draw the fields of a line: what is missing of them, or none, or refuse other settings."""
    command = ["simulate", data, "--cell-line", line, "--fields", fields]
    command += ["--seed", seed, "--workers", 2]
    code = "from hpacells.cli.app import main; main()"
    subprocess.run([sys.executable, "-c", code, *map(str, command)], check=True)


def count(found: CellMasks, true: CellMasks, fov: FieldOfView, outside: set[int]) -> dict[str, int]:
    """Count the cells of one field that match."""
    table = measure_cells(fov, found).table
    is_rejected = pc.equal(table["status"], CellStatus.REJECTED.value)
    rejected = set(table.filter(is_rejected)["cell_id"].to_pylist())
    counts = count_field(
        MaskPair(
            fov.fov_id, found.cells, true.cells, rejected_found=rejected, rejected_true=outside
        )
    )
    at = THRESHOLDS.index(THRESHOLD)
    return {
        "fields": 1,
        "cells": true.cell_ids.size - len(outside),
        "matched": int(counts.matched[at]),
        "extra": int(counts.extra[at]),
        "missed": int(counts.missed[at]),
        "merges": len(counts.merged),
        "splits": len(counts.split),
    }


def f1(counts: dict[str, int]) -> float:
    both = 2 * counts["matched"]
    return both / max(both + counts["extra"] + counts["missed"], 1)


def rescaled(fov: FieldOfView, factor: float) -> FieldOfView:
    """Give the same field with pixels ``factor`` times as long."""
    way = cv2.INTER_AREA if factor > 1 else cv2.INTER_LINEAR
    size = (round(fov.width / factor), round(fov.height / factor))
    planes = [cv2.resize(plane, size, interpolation=way) for plane in fov.pixels]
    return FieldOfView(fov.fov_id, np.stack(planes), fov.pixel_size_um * factor, fov.max_value)


def agreement(segmenter: Segmenter, fov: FieldOfView, masks: CellMasks) -> dict[float, float]:
    """Give F1 between a field's cells and those of the same field at other pixel sizes."""
    found = {}
    for factor in FACTORS:
        other = segmenter(rescaled(fov, factor))
        match = match_masks(sample_ids(other.cells, masks.cells.shape), masks.cells, THRESHOLD)
        n = 2 * len(match.pairs) + len(match.unmatched_found) + len(match.unmatched_true)
        found[factor] = 2 * len(match.pairs) / n if n else 1.0
    return found


def timed(work: Callable[[], _Result]) -> tuple[_Result, _Seconds]:
    """Do some work; say how long it took on the clock and on this process's processors."""
    wall, cpu = time.perf_counter(), time.process_time()
    result = work()
    return result, {"wall_s": time.perf_counter() - wall, "cpu_s": time.process_time() - cpu}


def time_field(segmenter: Segmenter, fov: FieldOfView) -> dict[str, _Seconds]:
    """Time one field; what comes after the network is timed by itself where there is one."""
    if not isinstance(segmenter, UnetSegmenter):
        return {"total": timed(lambda: segmenter(fov))[1]}
    (maps, grid), network = timed(lambda: segmenter.maps(fov))
    _, post = timed(lambda: segmenter.outline(maps, grid, fov))
    return {"total": {key: network[key] + post[key] for key in post}, "post": post}


def best_quarter(record: FovRecord, cells: npt.NDArray[np.int32]) -> Quarter | None:
    """Find the corner with the most cells, counting those that lie in it by half or more."""
    half = DENSE_PX // 2
    if min(cells.shape) < half:
        return None
    areas = np.bincount(cells.ravel())
    found = []
    for rows in (slice(0, half), slice(-half, None)):
        for columns in (slice(0, half), slice(-half, None)):
            inside = np.bincount(cells[rows, columns].ravel(), minlength=areas.size)
            n = int(((inside > 0) & (inside * 2 >= areas))[1:].sum())
            found.append(Quarter(record, rows, columns, n))
    return max(found, key=lambda quarter: quarter.n_cells)


def compose_dense(quarters: list[Quarter]) -> tuple[FieldOfView, int]:
    """Set the most crowded corners of four fields side by side; also say how many cells that is."""
    chosen = sorted(quarters, key=lambda quarter: -quarter.n_cells)[:4]
    fields = [read_field(quarter.record) for quarter in chosen]
    corners = [
        fov.pixels[:, quarter.rows, quarter.columns]
        for fov, quarter in zip(fields, chosen, strict=True)
    ]
    while len(corners) < 4:  # so few fields only where few were asked for
        corners.append(corners[0])
    rows = [np.concatenate(corners[k : k + 2], axis=2) for k in (0, 2)]
    pixels = np.concatenate(rows, axis=1)
    fov = FieldOfView("dense", pixels, fields[0].pixel_size_um, fields[0].max_value)
    return fov, sum(quarter.n_cells for quarter in chosen)


def measure_dense(options: argparse.Namespace, quarters: list[Quarter]) -> dict[str, Any]:
    """Time the crowded field in a process of its own; the peak is that process's."""
    fov, n_cells = compose_dense(quarters)
    path = options.work / "dense.npy"
    np.save(path, fov.pixels)
    command = [sys.executable, __file__, "--segmenter", options.segmenter]
    command += ["--weights", str(options.weights)] if options.weights else []
    command += ["--dense-child", str(path), str(fov.pixel_size_um), str(fov.max_value)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return {"true_cells": n_cells, **json.loads(done.stdout)}


def dense_child(segmenter: Segmenter, pixels: str, pixel_size_um: str, max_value: str) -> None:
    fov = FieldOfView("dense", np.load(pixels), float(pixel_size_um), int(max_value))
    small = FieldOfView("small", fov.pixels[:, :256, :256], fov.pixel_size_um, fov.max_value)
    segmenter(small)  # the first call loads libraries
    rounds = [timed(lambda: segmenter(fov)) for _ in range(DENSE_ROUNDS)]
    answer = {
        "found_cells": int(rounds[0][0].cell_ids.size),
        "height_px": fov.height,
        "width_px": fov.width,
        **{key: median(seconds[key] for _, seconds in rounds) for key in ("wall_s", "cpu_s")},
        "gib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20,
    }
    print(json.dumps(answer))


def make_segmenter(options: argparse.Namespace) -> Segmenter:
    if options.weights and options.segmenter == "unet":
        return UnetSegmenter(folder=options.weights)
    return get_segmenter(options.segmenter)


def read_outside(data: Path) -> dict[str, set[int]]:
    """Read which true cells are more than half outside the frame."""
    outside: dict[str, set[int]] = defaultdict(set)
    with (data / "truth" / "cells.csv").open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            if row["in_truth"] == "0":
                outside[row["ID"]].add(int(row["cell_id"]))
    return outside


def judge_line(segmenter: Segmenter, line: str, data: Path, judged: Judged) -> None:
    """Outline every field of a line and add what was found."""
    outside = read_outside(data)
    counts: dict[str, int] = defaultdict(int)
    for i, record in enumerate(discover_fields(data)):
        fov = read_field(record)
        found = segmenter(fov)
        true = read_masks(data / "truth", fov.fov_id, pixel_size_um=fov.pixel_size_um)
        for what, n in count(found, true, fov, outside[fov.fov_id]).items():
            counts[what] += n
        if quarter := best_quarter(record, true.cells):
            judged.quarters.append(quarter)
        if i == 0:
            for factor, value in agreement(segmenter, fov, found).items():
                judged.scales[factor].append(value)
            judged.times.append(time_field(segmenter, fov))
    judged.counts[line] = dict(counts)
    print(f"{line}: F1 {f1(counts):.3f}, {counts['fields']} fields", flush=True)


def summarise(judged: Judged) -> dict[str, Any]:
    """Add up what was measured."""
    lines = {line: {**n, "f1": f1(n)} for line, n in judged.counts.items()}
    stages = judged.times[0]
    return {
        "lines": lines,
        "mean_f1": float(np.mean([n["f1"] for n in lines.values()])),
        "worst_f1": min(n["f1"] for n in lines.values()),
        "all_lines": set(lines) == {line.name for line in CELL_LINES},
        "scales": {
            str(factor): {"mean": float(np.mean(each)), "worst": min(each), "fields": each}
            for factor, each in judged.scales.items()
        },
        "seconds": {
            stage: {key: median(t[stage][key] for t in judged.times) for key in stages[stage]}
            for stage in stages
        },
        "seconds_of_fields": judged.times,
    }


def rows_of(name: str, result: dict[str, Any], dense: dict[str, Any]) -> list[dict[str, object]]:
    """Set the asked values beside the measured ones."""
    lines, seconds, whole = len(result["lines"]), result["seconds"], result["all_lines"]
    where = f"{dense['true_cells']} cells in {dense['height_px']} x {dense['width_px']} px"
    fair = (
        dense["true_cells"] >= DENSE_CELLS and dense["height_px"] == dense["width_px"] == DENSE_PX
    )
    rows: list[tuple[str, str, float | None, float, bool]] = [
        (f"F1 at IoU {THRESHOLD}, mean of {lines} of {len(CELL_LINES)} cell lines", ">=",
         ASKED["mean"], result["mean_f1"], whole),
        ("the same, worst line", ">=", ASKED["worst"], result["worst_f1"], whole),
    ]  # fmt: skip
    for factor, is_asked in FACTORS.items():
        what = f"F1 of the same cells at {factor:g} times the pixel size"
        at = result["scales"][str(factor)]
        asked = ASKED["scales"] if is_asked else None
        rows.append((f"{what}, mean of {len(at['fields'])} fields", ">=", asked, at["mean"], whole))
        rows.append((f"{what}, worst field", ">=", None, at["worst"], True))
    for stage, what in (("total", "seconds a field, median"), ("post", "of it after the network")):
        if stage in seconds:
            times = seconds[stage]
            rows.append((what, "<=", ASKED[f"{stage}_s"], times["wall_s"], True))
            rows.append((f"{what}, processor time", "<=", None, times["cpu_s"], True))
    rows += [
        (f"{where} (asked: {DENSE_CELLS} in {DENSE_PX}²), seconds", "<=", ASKED_DENSE["s"],
         dense["wall_s"], fair),
        ("the same, processor time", "<=", None, dense["cpu_s"], fair),
        ("the same, GiB at the peak, libraries included", "<=", ASKED_DENSE["gib"], dense["gib"],
         fair),
    ]  # fmt: skip
    return [
        {
            "what": f"{name}, simulated fields: {text}",
            "asked": "" if asked is None else f"{sign} {asked}",
            "measured": f"{value:.3f}",
            "met": None
            if asked is None
            else counts and (value >= asked if sign == ">=" else value <= asked),
        }
        for text, sign, asked, value, counts in rows
    ]


def read_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--segmenter", choices=sorted(SEGMENTERS), default=DEFAULT_SEGMENTER)
    parser.add_argument("--weights", type=Path, help="a segmenter folder not installed (unet)")
    parser.add_argument("--work", type=Path, default=ROOT / "scratch" / "bench_segmentation")
    parser.add_argument("--fields", type=int, default=10, help="of each cell line")
    parser.add_argument("--seed", type=int, default=FIRST_SEED, help="of the first line")
    parser.add_argument("--line", action="append", help="only this line; may be repeated")
    parser.add_argument("--out", type=Path, default=ROOT / "bench" / "results")
    parser.add_argument("--dense-child", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    known = [line.name for line in CELL_LINES]
    if unknown := sorted(set(options.line or ()) - set(known)):
        parser.error(f"--line: expected some of {', '.join(known)}; got {', '.join(unknown)}")
    return options


def main() -> int:
    options = read_options()
    segmenter = make_segmenter(options)
    if options.dense_child:
        dense_child(segmenter, *options.dense_child)
        return 0
    judged, seeds = Judged(), {}
    for i, line in enumerate(known.name for known in CELL_LINES):
        if line in (options.line or [line]):
            data = options.work / "lines" / line.replace(" ", "_").replace("/", "_")
            seeds[line] = options.seed + SEEDS_PER_LINE * i
            simulate(data, line, options.fields, seeds[line])
            judge_line(segmenter, line, data, judged)
    result = summarise(judged)
    dense = measure_dense(options, judged.quarters)
    rows = rows_of(options.segmenter, result, dense)
    content = {
        "rows": rows,
        "segmenter": options.segmenter,
        "settings": segmenter.settings,
        "seeds": seeds,
        "dense": dense,
        **result,
        "machine": {"processors": os.cpu_count(), "opencv_threads": cv2.getNumThreads()},
        "versions": installed_versions(),
    }
    options.out.mkdir(parents=True, exist_ok=True)
    suffix = "" if options.segmenter == DEFAULT_SEGMENTER else f"_{options.segmenter}"
    write_json(options.out / f"segmentation_simulated{suffix}.json", content)
    for row in rows:
        print(f"{row['what']}: {row['measured']} (asked {row['asked'] or 'nothing'})")
    return 0


if __name__ == "__main__":
    sys.exit(main())

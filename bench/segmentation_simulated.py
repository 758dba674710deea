"""How well a segmenter outlines simulated cells of every line, and how fast.

Simulates fields of unseen seeds and writes ``bench/results/segmentation_simulated.json``: F1 at IoU
0.6 per cell line, agreement with itself at half and twice the pixel size, time and memory. A
rejected found cell, or a true one more than half outside the frame, counts only where it matches.

Example: python bench/segmentation_simulated.py --segmenter unet
"""

import argparse
import csv
import json
import resource
import subprocess
import sys
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from hpacells.core.fov import FieldOfView, FovRecord
from hpacells.core.masks import CellMasks
from hpacells.core.provenance import installed_versions
from hpacells.core.storage import write_json
from hpacells.evaluate.masks import match_masks
from hpacells.images.discover import discover_fields
from hpacells.images.mask_files import read_masks
from hpacells.images.read import read_field
from hpacells.segment.measure import measure_cells
from hpacells.segment.registry import DEFAULT_SEGMENTER, SEGMENTERS, Segmenter, get_segmenter
from hpacells.segment.resolution import sample_ids
from hpacells.segment.unet import UnetSegmenter

ROOT = Path(__file__).parents[1]
THRESHOLD = 0.6
ASKED = {"mean": 0.93, "worst": 0.85, "scales": 0.95, "total_s": 0.8, "post_s": 0.15}
ASKED_DENSE = {"seconds": 2.5, "gib": 1.5}
DENSE_PX, DENSE_CELLS = 3072, 150


def simulate(data: Path, fields: int, seed: int) -> None:
    """Draw the fields that are to be judged, once."""
    if (data / "train.csv").exists():
        return
    command = ["simulate", data, "--fields", fields, "--seed", seed, "--workers", 2]
    code = "from hpacells.cli.app import main; main()"
    subprocess.run([sys.executable, "-c", code, *map(str, command)], check=True)


def count(found: CellMasks, true: CellMasks, fov: FieldOfView, outside: set[int]) -> dict[str, int]:
    """Count the cells of one field that match."""
    match = match_masks(found.cells, true.cells, THRESHOLD)
    table = measure_cells(fov, found).table.to_pydict()
    rejected = {i for i, s in zip(table["cell_id"], table["status"], strict=True) if s[0] == "r"}
    return {
        "matched": len(match.pairs),
        "extra": sum(int(i) not in rejected for i in match.unmatched_found),
        "missed": sum(int(i) not in outside for i in match.unmatched_true),
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
    """Give F1 between a field's cells and those of the same field at another pixel size."""
    found = {}
    for factor in (0.5, 2.0):
        other = segmenter(rescaled(fov, factor))
        match = match_masks(sample_ids(other.cells, masks.cells.shape), masks.cells, THRESHOLD)
        n = 2 * len(match.pairs) + len(match.unmatched_found) + len(match.unmatched_true)
        found[factor] = 2 * len(match.pairs) / n if n else 1.0
    return found


def time_field(segmenter: Segmenter, fov: FieldOfView) -> dict[str, float | None]:
    """Time one field; what comes after the network is timed by itself where there is one."""
    started = time.perf_counter()
    segmenter(fov)
    total_s = time.perf_counter() - started
    if not isinstance(segmenter, UnetSegmenter):
        return {"total_s": total_s, "post_s": None}
    maps, grid = segmenter.maps(fov)
    started = time.perf_counter()
    segmenter.outline(maps, grid, fov)
    return {"total_s": total_s, "post_s": time.perf_counter() - started}


def compose_dense(records: list[FovRecord], truth: Path) -> FieldOfView:
    """Set the four most crowded fields side by side, cut to ``DENSE_PX``."""

    def crowd(record: FovRecord) -> int:
        masks = read_masks(truth, record.fov_id, pixel_size_um=record.pixel_size_um or 0.08)
        return len(np.unique(masks.cells[: DENSE_PX // 2, : DENSE_PX // 2]))

    fields = [read_field(record) for record in sorted(records, key=crowd)[-4:]]
    half = DENSE_PX // 2
    quarters = [fov.pixels[:, :half, :half] for fov in fields]
    rows = [np.concatenate(quarters[k : k + 2], axis=2) for k in (0, 2)]
    return FieldOfView("dense", np.concatenate(rows, axis=1), fields[0].pixel_size_um, 255)


def measure_dense(
    options: argparse.Namespace, pixels: Path, pixel_size_um: float
) -> dict[str, Any]:
    """Time the crowded field in a process of its own; the peak is that process's."""
    command = [sys.executable, __file__, "--segmenter", options.segmenter]
    command += ["--weights", str(options.weights)] if options.weights else []
    command += ["--dense-child", str(pixels), str(pixel_size_um)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return json.loads(done.stdout)


def make_segmenter(options: argparse.Namespace) -> Segmenter:
    if options.weights and options.segmenter == "unet":
        return UnetSegmenter(folder=options.weights)
    return get_segmenter(options.segmenter)


def dense_child(segmenter: Segmenter, pixels: str, pixel_size_um: str) -> None:
    fov = FieldOfView("dense", np.load(pixels), float(pixel_size_um), 255)
    small = FieldOfView("small", fov.pixels[:, :256, :256], fov.pixel_size_um, 255)
    segmenter(small)  # the first call loads libraries
    started = time.perf_counter()
    cells = segmenter(fov).cell_ids.size
    seconds = time.perf_counter() - started
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    sides = f"{fov.height} x {fov.width} px"
    print(json.dumps({"cells": int(cells), "sides": sides, "seconds": seconds, "gib": peak}))


def read_outside(data: Path) -> dict[str, set[int]]:
    """Read which true cells are more than half outside the frame."""
    outside: dict[str, set[int]] = defaultdict(set)
    with (data / "truth" / "cells.csv").open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            if row["in_truth"] == "0":
                outside[row["ID"]].add(int(row["cell_id"]))
    return outside


def judge(segmenter: Segmenter, data: Path, n_scaled: int) -> dict[str, object]:
    """Outline every field; gather counts per line, agreements and times."""
    outside, records = read_outside(data), discover_fields(data)
    lines: dict[str, dict[str, int]] = defaultdict(lambda: defaultdict(int))
    scales: dict[float, list[float]] = defaultdict(list)
    times = []
    for i, record in enumerate(records):
        fov = read_field(record)
        found = segmenter(fov)
        true = read_masks(data / "truth", fov.fov_id, pixel_size_um=fov.pixel_size_um)
        for what, n in count(found, true, fov, outside[fov.fov_id]).items():
            lines[record.cell_line or "unknown"][what] += n
        if i < n_scaled:
            for factor, value in agreement(segmenter, fov, found).items():
                scales[factor].append(value)
            times.append(time_field(segmenter, fov))
        print(f"{i + 1}/{len(records)} {fov.fov_id}", flush=True)
    each = {line: {**n, "f1": f1(n)} for line, n in sorted(lines.items())}
    return {
        "lines": each,
        "mean_f1": float(np.mean([n["f1"] for n in each.values()])),
        "worst_f1": min(n["f1"] for n in each.values()),
        "scales": {str(factor): float(np.mean(values)) for factor, values in scales.items()},
        "times": times,
    }


def rows_of(name: str, result: dict, dense: dict[str, Any]) -> list[dict[str, object]]:
    """Set the asked values beside the measured ones."""
    totals = [t["total_s"] for t in result["times"]]
    posts = [t["post_s"] for t in result["times"] if t["post_s"] is not None]
    lowest = min(result["scales"].values())
    what = f"{name}, simulated fields: "
    rows = [
        (f"F1 at IoU {THRESHOLD}, mean of {len(result['lines'])} cell lines", ">=", ASKED["mean"],
         result["mean_f1"]),
        ("the same, worst line", ">=", ASKED["worst"], result["worst_f1"]),
        ("F1 between half or twice the pixel size and the field's own", ">=", ASKED["scales"],
         lowest),
        ("median seconds a field", "<=", ASKED["total_s"], float(np.median(totals))),
        (f"{dense['cells']} cells in {dense['sides']} (asked: {DENSE_CELLS}), seconds", "<=",
         ASKED_DENSE["seconds"], dense["seconds"]),
        ("the same, GiB at the peak, libraries included", "<=", ASKED_DENSE["gib"], dense["gib"]),
    ]  # fmt: skip
    if posts:
        rows.append(("of that after the network", "<=", ASKED["post_s"], float(np.median(posts))))
    return [
        {
            "what": what + text,
            "asked": f"{sign} {asked}",
            "measured": f"{value:.3f}",
            "met": value >= asked if sign == ">=" else value <= asked,
        }
        for text, sign, asked, value in rows
    ]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--segmenter", choices=sorted(SEGMENTERS), default=DEFAULT_SEGMENTER)
    parser.add_argument("--weights", type=Path, help="a segmenter folder not installed (unet)")
    parser.add_argument("--work", type=Path, default=ROOT / "scratch" / "bench_segmentation")
    parser.add_argument("--data", type=Path, help="a dataset folder with truth, instead of drawing")
    parser.add_argument("--fields", type=int, default=170)
    parser.add_argument("--seed", type=int, default=890_000)
    parser.add_argument("--scaled", type=int, default=10, help="fields for pixel size and time")
    parser.add_argument("--out", type=Path, default=ROOT / "bench" / "results")
    parser.add_argument("--dense-child", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.dense_child:
        dense_child(make_segmenter(options), *options.dense_child)
        return 0
    data = options.data or options.work / "data"
    if options.data is None:
        simulate(data, options.fields, options.seed)
    result = judge(make_segmenter(options), data, options.scaled)
    crowded = compose_dense(discover_fields(data), data / "truth")
    options.work.mkdir(parents=True, exist_ok=True)
    np.save(options.work / "dense.npy", crowded.pixels)
    dense = measure_dense(options, options.work / "dense.npy", crowded.pixel_size_um)
    rows = rows_of(options.segmenter, result, dense)
    content = {"rows": rows, "segmenter": options.segmenter, "dense": dense, **result}
    content["versions"] = installed_versions()
    suffix = "" if options.segmenter == DEFAULT_SEGMENTER else f"_{options.segmenter}"
    write_json(options.out / f"segmentation_simulated{suffix}.json", content)
    for row in rows:
        print(f"{row['what']}: {row['measured']} (asked {row['asked']})")
    return 0


if __name__ == "__main__":
    sys.exit(main())

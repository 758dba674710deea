"""Where the time of the ``unet`` segmenter goes, how much memory it takes, and how steady it is.

Post-processing is timed on maps drawn from the truth of simulated fields, blurred and with noise,
so it needs no weights; the network, and agreement of ``unet`` with itself, are measured where a
segmenter folder is there. Every stage is the median over fields and rounds, in seconds of this
process on the clock and on the processor: on a busy machine only the second tells anything, and
the ratio of post-processing to network even more.

Three parts: stages of 2048² fields; a crowded 3072² field in a process of its own, whose peak is
taken; F1 at IoU 0.6 between a field's cells and those of the same field told to be at half and at
twice the pixel size, for ``watershed`` and ``unet``.

Example: python bench/segmentation_speed.py --fields 4 --rounds 5
"""

import argparse
import json
import resource
import statistics
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import cv2
import numpy as np
import numpy.typing as npt
from segmentation_simulated import agreement

from hpacells.core.fov import FieldOfView
from hpacells.core.masks import CellMasks
from hpacells.core.provenance import installed_versions
from hpacells.core.storage import write_json
from hpacells.evaluate.masks import match_masks
from hpacells.runtime.segmenter_folder import MAPS, SEGMENTER_SPEC, load_segmenter
from hpacells.runtime.segmenter_session import open_segmenter
from hpacells.segment.config import UnetConfig
from hpacells.segment.instances import cells_from_maps
from hpacells.segment.redraw import redraw
from hpacells.segment.resolution import WorkingScale, keep_inside, renumber, sample_ids
from hpacells.segment.stain_input import network_grid, present_flags, stain_stack
from hpacells.segment.tiles import map_in_tiles
from hpacells.segment.unet import UNET_FOLDER, UnetSegmenter
from hpacells.segment.watershed import WatershedSegmenter
from hpacells.simulate.config import SimulateConfig
from hpacells.simulate.field import simulate_field
from hpacells.train.segmentation.targets import build_targets

ROOT = Path(__file__).parents[1]
SEED = 700_010
PIXEL_UM, WORKING_UM = 0.08, 0.32
FIELD_PX, CROWDED_PX, CROWDED_LINE = 2048, 3072, "HAP1"
THRESHOLD = 0.6
POST = ("instances", "whole", "redraw", "check")
ASKED = {"post_s": 0.15, "total_s": 0.8, "crowded_s": 2.5, "crowded_gib": 1.5, "scales": 0.95}

_Maps = npt.NDArray[np.float32]
_Result = TypeVar("_Result")


class Clock:
    """Seconds by stage, on the clock and on the processor."""

    def __init__(self) -> None:
        self.wall: dict[str, list[float]] = defaultdict(list)
        self.cpu: dict[str, list[float]] = defaultdict(list)

    def time(self, stage: str, work: Callable[[], _Result]) -> _Result:
        """Do some work and add its times."""
        wall, cpu = time.perf_counter(), time.process_time()
        result = work()
        self.wall[stage].append(time.perf_counter() - wall)
        self.cpu[stage].append(time.process_time() - cpu)
        return result

    def medians(self) -> dict[str, dict[str, float]]:
        """Give the median of every stage, and of what follows the network together."""
        both = {"wall_s": self.wall, "cpu_s": self.cpu}
        result: dict[str, dict[str, float]] = {}
        for name, times in both.items():
            result[name] = {stage: statistics.median(each) for stage, each in times.items()}
            rounds = zip(*(times[stage] for stage in POST), strict=True)
            result[name]["post"] = statistics.median(map(sum, rounds))
        return result


def draw_field(folder: Path, index: int, **settings: Any) -> tuple[FieldOfView, CellMasks]:
    """Simulate a field, or take it from an earlier run."""
    config = SimulateConfig(**settings)
    lines = "_".join(config.cell_lines) or "all"
    path = folder / f"{SEED}_{index}_{config.size_px}_{config.pixel_size_um:g}_{lines}.npz"
    if not path.is_file():
        field = simulate_field(SEED, index, config)
        folder.mkdir(parents=True, exist_ok=True)
        np.savez(path, pixels=field.fov.pixels, cells=field.masks.cells, nuclei=field.masks.nuclei)
    with np.load(path) as kept:
        fov = FieldOfView(path.stem, kept["pixels"], config.pixel_size_um, 255)
        return fov, CellMasks(kept["cells"], kept["nuclei"], "truth", config.pixel_size_um)


def draw_maps(true: CellMasks) -> tuple[_Maps, WorkingScale]:
    """Draw what a good network would give of a field."""
    grid = network_grid(true.cells.shape, true.pixel_size_um, WORKING_UM)
    ids = [sample_ids(plane, grid.shape) for plane in (true.cells, true.nuclei)]
    sharp = build_targets(ids[0], ids[1], grid.pixel_um).astype(np.float32) * 0.9 + 0.05
    maps = np.stack([cv2.GaussianBlur(plane, (0, 0), 0.8) for plane in sharp])
    noise = np.random.default_rng(0).normal(0, 0.05, maps.shape)
    return np.clip(maps + noise, 0, 1).astype(np.float32), grid


def outline(
    maps: _Maps, grid: WorkingScale, shape: tuple[int, int], pixel_um: float, clock: Clock
) -> CellMasks:
    """Do what ``UnetSegmenter.outline`` does, stage by stage."""
    ids = clock.time("instances", lambda: cells_from_maps(maps, grid, UnetConfig()))
    whole = clock.time("whole", lambda: renumber(*keep_inside(*ids)))
    drawn = clock.time("redraw", lambda: redraw(*whole, shape))
    return clock.time("check", lambda: CellMasks(*drawn, "unet", pixel_um))


def time_stages(options: argparse.Namespace) -> dict[str, Any]:
    """Time every stage of 2048² fields."""
    clock, agreements = Clock(), []
    segmenter = UnetSegmenter(folder=options.weights) if options.weights else None
    for index in range(options.fields):
        fov, true = draw_field(options.work, index, size_px=FIELD_PX, pixel_size_um=PIXEL_UM)
        drawn, grid = draw_maps(true)
        for k in range(options.rounds + 1):
            now = Clock() if k == 0 else clock  # the first round loads libraries
            if segmenter is not None:
                time_network(segmenter, fov, now)
            found = outline(drawn, grid, true.cells.shape, fov.pixel_size_um, now)
            now.time("watershed", lambda fov=fov: WatershedSegmenter()(fov))
        match = match_masks(found.cells, true.cells, THRESHOLD)
        wrong = len(match.unmatched_found) + len(match.unmatched_true)
        agreements.append(2 * len(match.pairs) / max(2 * len(match.pairs) + wrong, 1))
    return {**clock.medians(), "drawn_maps_f1": statistics.mean(agreements)}


def time_network(segmenter: UnetSegmenter, fov: FieldOfView, clock: Clock) -> None:
    """Time what comes before the maps."""
    session = open_segmenter(load_segmenter(segmenter.folder))
    grid = network_grid((fov.height, fov.width), fov.pixel_size_um, WORKING_UM)
    stains = clock.time("prepare", lambda: stain_stack(fov, grid))
    present = present_flags(())
    clock.time(
        "network",
        lambda: map_in_tiles(
            stains,
            lambda tile: session.run(tile, present),
            n_maps=len(MAPS),
            core_px=segmenter.config.tile_px,
        ),
    )


def time_crowded(options: argparse.Namespace) -> dict[str, Any]:
    """Time a crowded field in a process of its own, and take that process's peak."""
    fov, true = draw_field(
        options.work, 0, size_px=CROWDED_PX, pixel_size_um=PIXEL_UM, cell_lines=(CROWDED_LINE,)
    )
    path = options.work / "crowded.npz"
    if options.weights:
        np.savez(path, pixels=fov.pixels)
    else:
        np.savez(path, maps=draw_maps(true)[0])
    command = [sys.executable, __file__, "--child", str(path)]
    command += ["--weights", str(options.weights)] if options.weights else []
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return {"true_cells": int(true.cell_ids.size), **json.loads(done.stdout)}


def child(path: Path, weights: Path | None) -> None:
    """Outline the crowded field; print cells, seconds and the peak in GiB."""
    with np.load(path) as kept:
        planes = kept["pixels" if weights else "maps"]
    shape = (CROWDED_PX, CROWDED_PX)
    grid = network_grid(shape, PIXEL_UM, WORKING_UM)

    def work() -> CellMasks:
        if weights:
            return UnetSegmenter(folder=weights)(FieldOfView("crowded", planes, PIXEL_UM, 255))
        return outline(planes, grid, shape, PIXEL_UM, Clock())

    work()  # loads libraries
    started, cpu = time.perf_counter(), time.process_time()
    found = work()
    answer = {
        "cells": int(found.cell_ids.size),
        "with_network": weights is not None,
        "wall_s": time.perf_counter() - started,
        "cpu_s": time.process_time() - cpu,
        "gib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20,
    }
    print(json.dumps(answer))


def measure_scales(options: argparse.Namespace) -> dict[str, dict[str, float]]:
    """Give F1 of each segmenter with itself at half and at twice the pixel size."""
    segmenters: list[WatershedSegmenter | UnetSegmenter] = [WatershedSegmenter()]
    if options.weights:
        segmenters.append(UnetSegmenter(folder=options.weights))
    found: dict[str, dict[str, float]] = {}
    for segmenter in segmenters:
        values: dict[str, list[float]] = defaultdict(list)
        for index in range(options.fields):
            fov, _ = draw_field(options.work, index, size_px=FIELD_PX, pixel_size_um=PIXEL_UM)
            for factor, f1 in agreement(segmenter, fov, segmenter(fov)).items():
                values[str(factor)].append(f1)
        found[segmenter.name] = {factor: statistics.mean(each) for factor, each in values.items()}
    return found


def rows_of(result: dict[str, Any]) -> list[dict[str, object]]:
    """Set the asked values beside the measured ones."""
    stages, crowded = result["stages"], result["crowded"]
    wall, cpu = stages["wall_s"], stages["cpu_s"]
    rows: list[tuple[str, str, float | None, float]] = [
        (f"post-processing of a {FIELD_PX}² field, s on the clock", "<=", ASKED["post_s"],
         wall["post"]),
        ("the same, s of processor time", "<=", ASKED["post_s"], cpu["post"]),
        ("watershed segmenter, the same field, s of processor time", "<=", None, cpu["watershed"]),
    ]  # fmt: skip
    if "network" in wall:
        total = wall["prepare"] + wall["network"] + wall["post"]
        rows.append(("network and post-processing, s on the clock", "<=", ASKED["total_s"], total))
        rows.append(("post-processing over network", "<=", None, cpu["post"] / cpu["network"]))
    what = "network and post-processing" if crowded["with_network"] else "post-processing"
    where = f"{crowded['cells']} cells in {CROWDED_PX}², {what}"
    rows.append((f"{where}, s on the clock", "<=", ASKED["crowded_s"], crowded["wall_s"]))
    rows.append((f"{where}, GiB at the peak", "<=", ASKED["crowded_gib"], crowded["gib"]))
    for name, factors in result["scales"].items():
        what = f"{name}: F1 between half or twice the pixel size and the field's own"
        rows.append((what, ">=", ASKED["scales"], min(factors.values())))
    return [
        {
            "what": text,
            "asked": "" if asked is None else f"{sign} {asked}",
            "measured": f"{value:.3f}",
            "met": None if asked is None else (value >= asked if sign == ">=" else value <= asked),
        }
        for text, sign, asked, value in rows
    ]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    shipped = UNET_FOLDER if (UNET_FOLDER / SEGMENTER_SPEC).is_file() else None
    parser.add_argument("--weights", type=Path, default=shipped, help="a segmenter folder")
    parser.add_argument("--fields", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--work", type=Path, default=ROOT / "scratch" / "bench_segmentation_speed")
    parser.add_argument("--out", type=Path, default=ROOT / "bench" / "results")
    parser.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        child(options.child, options.weights)
        return 0
    result = {
        "stages": time_stages(options),
        "crowded": time_crowded(options),
        "scales": measure_scales(options),
    }
    rows = rows_of(result)
    content = {"rows": rows, **result, "versions": installed_versions()}
    options.out.mkdir(parents=True, exist_ok=True)
    write_json(options.out / "segmentation_speed.json", content)
    for row in rows:
        print(f"{row['what']}: {row['measured']} (asked {row['asked'] or 'nothing'})")
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""How fast ``hpacells run`` is: its time per field over that of the work that cannot be left out.

The slope is the time per field between two runs (24 and 96 fields of 2048²), so that the start
doesn't count. The floor is measured in the same call, each part alone, every time on as many
threads as the run has workers and on one, of which the faster counts: decoding the four files, both
networks' forward passes, reading masks from the network's maps, writing the two mask files and the
mask strings.

Other work on the machine comes and goes, so floor and runs are measured in turn, floor first and
last; a round's ratio is that of its slope to the mean of the floors before and after it. Given are
medians, with the least and the most. Beside wall time stands processor time, which other work
disturbs less.

Also: cells per second of the classifier alone, mask strings against pycocotools on full-size masks,
fields per second by workers, and the time per field of 1,000 small fields over 100.

Few fields are drawn; they stand under many ids (links to the same files).

What was cut that is not in the floor, the tables staying the same byte for byte: what had been
predicted of it, and what was found, in ms of processor time for a field of 2048² with 24 cells, on
a machine busy with other work:

- the report decoded every mask to draw its outlines, 48 ms a field: they are drawn while the masks
  are in memory and kept. Predicted 40 less; found 33 (report 8, drawing 7).
- memory went back to the kernel after every array, 38 to 67 ms of system time. Found by looking,
  not predicted: kept for the next array, 526 ms a field became 492.
- sharpness looks at the ER only where microtubules don't do. Predicted 14 less; found 13 of 33.
- where nuclei are clearly nuclei no other stain is compared. Predicted 15 less; found 14 of 19.
- previews shrink by halves, then by their neighbours. Predicted 6 less; found 7 of 20.
- constant stains are told apart from a sample. Predicted 3 less; found 2.
- stains that do not reach the top are passed over for saturation. Predicted 3 less; found 0, all
  do.
- doubt in whole numbers of one and two bytes. Predicted 3 less; found 5 of 6.
- sharpness looks at the segmenter's own input (0.32 µm, not 0.2). Predicted 13 less; found 14 of
  17: of 339 cells no flag changed.
- shrinking by two sparse matrices (``core.shrink``). Predicted 12 less for crops; found 9 of 23:
  one crop pixel of a million is another grey value, by one.
- the segmenter's input by halves in two bytes; its structure looked for on larger pixels; its
  bright end among the bright pixels. Predicted 10 less; found 8 of 28.
- connected parts of runs only where asked for. Predicted 3 less; found 2.

Together, 24 fields on two workers, before and after in one call: 555 and 487 ms a field, and 67 and
17 ms for the tables and the report after them.

Then, on a machine on which the floor takes 1,010 ms instead of 337, so about a third of it on
another day; the slope was not measured again, and most is for one worker, before and after in turn:

- a stain's percentiles from one sort, its bright end among what a sample calls bright, and
  stretched in place. Predicted 15 less of the segmenter's 47; found 13.
- a field's parts are Arrow files, a tenth of Parquet's time for few rows of many columns. Predicted
  3 less in writing and 4 in reading, which is in one thread; found 6 of 12 and 4.
- crops: shrunk in strips of columns that stay in the cache. Predicted 14 less of 51; found 6.
- runs compare neighbours in reading order; ids are sampled by slices where a grid is whole pixels.
  Predicted 4 less outside the floor; found 3.
- tables are not cast to the schema that they have, and cells counted without their embeddings.
  Predicted 1 less; found 1 (tables together 9 before, 4 after).
- the report's pictures don't pass through JSON, and its words ask for few columns. Predicted 3 less
  of 11; found 3.
- variation picks rows of arrays, not of the table. Predicted 0.3 less of 4; found 0.4.
- BLAS on one thread (``core.threads``): for a product of small matrices per field it kept a thread
  of its own, which spun beside the two workers: 108 of 1,480 ms. Found by looking at each thread's
  time, not predicted; 96 fields took 68 s instead of 77. Ratio before 1.46, in processor time 1.45.

Tried and left: previews' white by bisection, saturated pixels by rows or packed bits, outlines'
disk as rectangles (nothing gained or slower); sums over ids from an integral image (4 of 9 at best,
and another way for 16 bits); a field more in the pool's queue, which an error would still begin.

What was left beside the floor before that: the segmenter's input 20, measures of cells 18,
shrinking for the crops 13, previews 12, files' checks, hashes and copies 8, outlines 8, quality of
the field 4, its two tables 4, scores and doubt 4; and, in one thread, tables, variation and report
15.

    python bench/run_speed.py            # 45 minutes on two idle cores, 25 of them drawing
"""

import argparse
import base64
import shutil
import subprocess
import sys
import time
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import psutil
from memory import link_fields
from pycocotools import mask as coco_mask

from hpacells.core.fov import FieldOfView
from hpacells.core.masks import CellMasks
from hpacells.core.memory import keeping_freed_memory
from hpacells.core.storage import write_json
from hpacells.core.submission import encode_cells
from hpacells.crops.extract import extract_crops
from hpacells.images.discover import discover_fields
from hpacells.images.mask_files import write_masks
from hpacells.images.read import read_field
from hpacells.runtime.model_folder import load_model
from hpacells.runtime.registry import resolve_model
from hpacells.runtime.segmenter_folder import MAP_STAINS, load_segmenter
from hpacells.runtime.segmenter_session import open_segmenter
from hpacells.runtime.session import open_session
from hpacells.segment.stain_input import stain_stack
from hpacells.segment.unet import UNET_FOLDER, UnetSegmenter

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "bench" / "results" / "run_speed.json"
CALL = "from hpacells.cli.app import main; main()"
ASKED_RATIO, ASKED_FIELDS_S, ASKED_CELLS_S, ASKED_STRINGS, ASKED_SMALL = 1.25, 1.0, 100, 18, 1.05

Row = dict[str, object]
Array = npt.NDArray[np.float64]
Times = tuple[float, float]
"""Wall and processor seconds."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--work", type=Path, default=ROOT / "scratch" / "run_speed")
    parser.add_argument("--fields", type=int, nargs=2, default=(24, 96))
    parser.add_argument("--small-fields", type=int, nargs=2, default=(100, 1000))
    parser.add_argument("--drawn", type=int, default=24)
    parser.add_argument("--small-drawn", type=int, default=20)
    parser.add_argument("--size", type=int, default=2048)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3, help="floor and runs: %(default)s")
    parser.add_argument("--model", default="nfnet-sim")
    options = parser.parse_args()
    cv2.setNumThreads(1)

    drawn = draw(options.work / f"drawn{options.size}", options.drawn, options.size, 700_000)
    rows = [*floor_and_slope(drawn, options), *small_fields(options)]
    write_json(RESULTS, {"rows": rows, "model": options.model, "workers": options.workers})
    for row in rows:
        print(f"{row['what']:<100}{row['asked']:>8}  {row['measured']}")


def draw(folder: Path, n: int, size: int, seed: int) -> Path:
    """Simulate fields once; give the folder of their images."""
    if not (folder / "truth.csv").is_file():  # written at the end
        shutil.rmtree(folder, ignore_errors=True)
        options = ["--fields", n, "--seed", seed, "--size", size, "--workers", 2]
        subprocess.run(
            [sys.executable, "-c", CALL, "simulate", *map(str, (folder, *options))], check=True
        )
    return folder / "train"


def time_run(images: Path, out: Path, workers: int, model: str) -> Times:
    """Run the command in a process of its own, anew."""
    shutil.rmtree(out, ignore_errors=True)
    command = ["run", images, out, "--workers", workers, "--threads", 1, "--model", model]
    before, started = psutil.Process().cpu_times(), time.perf_counter()
    subprocess.run(
        [sys.executable, "-c", CALL, *map(str, command)], check=True, stdout=subprocess.DEVNULL
    )
    wall, after = time.perf_counter() - started, psutil.Process().cpu_times()
    used = after.children_user + after.children_system
    return wall, used - before.children_user - before.children_system


def slope(drawn: Path, sizes: tuple[int, int], workers: int, options: argparse.Namespace) -> Times:
    """Give wall and processor seconds per field between two runs."""
    times = []
    for n in sizes:
        images = options.work / f"{drawn.parent.name}_{n}"
        link_fields(drawn, images, n)
        out = options.work / "out"
        times.append(time_run(images, out, workers, options.model))
        print(f"{n} fields, {workers} worker(s): {times[-1][0]:.1f} s", flush=True)
    more = sizes[1] - sizes[0]
    return (times[1][0] - times[0][0]) / more, (times[1][1] - times[0][1]) / more


class Parts:
    """The parts of the floor, each a function of the position of a field."""

    def __init__(self, drawn: Path, work: Path, model: str) -> None:
        self.records = discover_fields(drawn)
        self.folder = work / "masks"
        self.folder.mkdir(parents=True, exist_ok=True)
        segmenter, folder = UnetSegmenter(), load_segmenter(UNET_FOLDER)
        self.segmenter, self.network = segmenter, open_segmenter(folder)
        self.session = open_session(load_model(resolve_model(model)), threads=1)
        self.fields: list[FieldOfView] = [read_field(record) for record in self.records]
        mapped = [segmenter.maps(fov) for fov in self.fields]
        self.maps = [found for found, _ in mapped]
        self.grids = [grid for _, grid in mapped]
        self.masks: list[CellMasks] = [
            segmenter.outline(found, grid, fov)
            for (found, grid), fov in zip(mapped, self.fields, strict=True)
        ]
        self.stacks = [
            stain_stack(fov, grid) for fov, grid in zip(self.fields, self.grids, strict=True)
        ]
        spec = self.session.model.spec.crop_spec()
        self.crops = [
            extract_crops(fov, masks, masks.cell_ids, spec)
            for fov, masks in zip(self.fields, self.masks, strict=True)
        ]
        self.n_cells = sum(len(crops) for crops, _ in self.crops)

    def decode(self, i: int) -> None:
        """Read and decode its four files."""
        for path in self.records[i].paths.values():
            cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_UNCHANGED)

    def segmenter_network(self, i: int) -> None:
        """Draw the maps."""
        self.network.run(self.stacks[i], np.ones(len(MAP_STAINS), np.bool_))

    def masks_from_maps(self, i: int) -> None:
        """Read nuclei and cells from the maps."""
        self.segmenter.outline(self.maps[i], self.grids[i], self.fields[i])

    def classifier(self, i: int) -> None:
        """Classify its cells."""
        self.session.run(*self.crops[i])

    def mask_files(self, i: int) -> None:
        """Write two PNG files."""
        write_masks(self.folder, f"field{i}", self.masks[i])

    def mask_strings(self, i: int) -> None:
        """Write every cell's mask as text."""
        encode_cells(self.masks[i].cells)


def time_part(work: Callable[[int], None], n: int, threads: int) -> Times:
    """Give wall and processor seconds per item."""
    with ThreadPoolExecutor(threads) as pool:
        started, cpu = time.perf_counter(), time.process_time()
        list(pool.map(work, range(n)))
        return (time.perf_counter() - started) / n, (time.process_time() - cpu) / n


def floor_and_slope(drawn: Path, options: argparse.Namespace) -> list[Row]:
    """Measure the parts alone and the runs, in turn."""
    parts = Parts(drawn, options.work, options.model)
    n = len(parts.fields)
    named = {
        "decode four files": parts.decode,
        "segmenter's network": parts.segmenter_network,
        "masks from its maps": parts.masks_from_maps,
        "classifier's network": parts.classifier,
        "two mask files": parts.mask_files,
        "mask strings": parts.mask_strings,
    }

    def measure_floor() -> Array:
        """Give (part, wall or processor) seconds."""
        with keeping_freed_memory():  # as a run does
            times = [
                min(time_part(work, n, threads) for threads in (1, options.workers))
                for work in named.values()
            ]
        print(f"floor: {1000 * sum(wall for wall, _ in times):.0f} ms a field", flush=True)
        return np.array(times)

    floors, slopes = [measure_floor()], []
    for _ in range(options.rounds):
        slopes.append(slope(drawn, options.fields, options.workers, options))
        floors.append(measure_floor())
    each = np.array(floors)  # (round + 1, part, wall or processor)
    beside = (each[:-1] + each[1:]).sum(axis=1) / 2
    per_field, floor = np.array(slopes), each.sum(axis=1)
    ratios = per_field / beside
    alone, _ = slope(drawn, options.fields, 1, options)
    size = f"{options.size}²"
    fields_s = 1 / np.median(per_field[:, 0])
    cells_s = parts.n_cells / n / each[:, list(named).index("classifier's network"), 0]
    few, many = options.fields

    def told(k: int) -> str:
        """Tell the ratio of wall (0) or processor time (1)."""
        times = f"{1000 * np.median(per_field[:, k]):.0f} over {1000 * np.median(floor[:, k]):.0f}"
        return f"{spread(ratios[:, k], 2)} ({times} ms)"

    return [
        row(
            f"slope of run, {few} to {many} fields {size}, {options.workers} workers, over the "
            "floor",
            f"≤ {ASKED_RATIO}",
            told(0),
            bool(np.median(ratios[:, 0]) <= ASKED_RATIO),
        ),
        row("the same in processor time", "", told(1)),
        row(
            f"fields {size} per second, {options.workers} workers",
            f"≥ {ASKED_FIELDS_S:g}",
            f"{fields_s:.2f}",
            bool(fields_s >= ASKED_FIELDS_S),
        ),
        row(f"fields {size} per second, 1 worker", "", f"{1 / alone:.2f}"),
        row(
            f"classifier alone, cells per second, {options.workers} threads",
            f"≥ {ASKED_CELLS_S}",
            spread(cells_s, 0),
            bool(np.median(cells_s) >= ASKED_CELLS_S),
        ),
        strings_row(parts, size),
        *(
            row(
                f"floor: {name}, {size}, {parts.n_cells / n:.0f} cells",
                "",
                f"{1000 * wall:.1f} ms wall, {1000 * cpu:.1f} ms of processor",
            )
            for name, (wall, cpu) in zip(named, np.median(each, axis=0), strict=True)
        ),
    ]


def spread(values: Array, decimals: int) -> str:
    """Tell median, least and most."""
    low, middle, high = np.quantile(values, [0, 0.5, 1])
    return f"{middle:.{decimals}f} ({low:.{decimals}f}-{high:.{decimals}f})"


def strings_row(parts: Parts, size: str) -> Row:
    """Compare mask strings of all cells with pycocotools on full-size masks."""

    def by_pycocotools(i: int) -> dict[int, str]:
        cells, texts = parts.masks[i].cells, {}
        for cell_id in parts.masks[i].cell_ids.tolist():
            full = np.asfortranarray(cells == cell_id, np.uint8)
            counts = coco_mask.encode(full)["counts"]
            texts[cell_id] = base64.b64encode(zlib.compress(counts, 9)).decode("ascii")
        return texts

    n = min(6, len(parts.masks))
    if any(by_pycocotools(i) != encode_cells(parts.masks[i].cells) for i in range(n)):
        sys.exit("the mask strings are not those of pycocotools")
    theirs, ours = (time_part(work, n, 1)[1] for work in (by_pycocotools, parts.mask_strings))
    return row(
        f"mask strings of a field {size}, pycocotools on full-size masks over ours, one thread",
        f"≥ {ASKED_STRINGS}x",
        f"{theirs / ours:.0f}x ({1000 * theirs:.0f} over {1000 * ours:.1f} ms)",
        theirs / ours >= ASKED_STRINGS,
    )


def small_fields(options: argparse.Namespace) -> list[Row]:
    """Ask whether the time per field grows with their number."""
    drawn = draw(options.work / "drawn512", options.small_drawn, 512, 701_000)
    few, many = options.small_fields
    start = 10
    first = slope(drawn, (start, few), options.workers, options)[0]
    all_of_them = slope(drawn, (start, many), options.workers, options)[0]
    ratio = all_of_them / first
    return [
        row(
            f"time per field 512², {many} fields over {few}, start-up apart",
            f"≤ {ASKED_SMALL}",
            f"{ratio:.3f} ({1000 * all_of_them:.0f} over {1000 * first:.0f} ms)",
            ratio <= ASKED_SMALL,
        )
    ]


def row(what: str, asked: str, measured: str, met: bool | None = None) -> Row:  # noqa: FBT001
    return {"what": what, "asked": asked, "measured": measured, "met": met}


if __name__ == "__main__":
    main()

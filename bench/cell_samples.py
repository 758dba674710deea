"""Real and simulated cells for the benchmarks of the simulator: reading, making, measuring.

Knows where cells come from (``HPACELLS_REAL_DATA``, dataset folders made by ``hpacells simulate``)
and keeps their features in a scratch folder; what a feature is stands in ``cell_features``.
"""

import argparse
import csv
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
from cell_features import (
    PIXEL_UM,
    STAINS,
    TILE_PX,
    Cell,
    find_cell,
    imitate_mosaic,
    jpeg_quality,
    measure_cell,
)
from PIL import Image
from scipy.ndimage import find_objects
from simulated_data import SimulatedData, dataset

from hpacells.core.locations import N_LOCATIONS, parse_class_ids
from hpacells.images.mask_files import read_label_image

__all__ = [
    "SKIPPED",
    "CellSample",
    "class_targets",
    "open_samples",
    "plain_cells",
    "real_cells",
    "real_folder",
    "real_quality",
    "real_tiles",
    "simulated_cells",
    "truth_rows",
]

SKIPPED = "skipped: HPACELLS_REAL_DATA is not set"
Bytes = npt.NDArray[np.uint8]
Bools = npt.NDArray[np.bool_]
_FORMAT = 2  # of the cached features; raise it when a feature changes its meaning


@dataclass(frozen=True)
class CellSample:
    """Measured cells.

    Parameters
    ----------
    names
        ``(F,)`` of the features.
    values
        ``(N, F)`` float64.
    groups
        ``(N,)`` the mosaic or field of each cell.
    labels
        ``(N,)`` class ids joined with ``|``.
    lines
        ``(N,)`` cell lines, empty where unknown.
    samples
        ``(N,)`` the sample (well and antibody) of each cell; the mosaic of a real one.
    dropped
        Cells that were not measured: no nucleus, no cytoplasm or nothing found.
    """

    names: tuple[str, ...]
    values: npt.NDArray[np.float64]
    groups: npt.NDArray[np.str_]
    labels: npt.NDArray[np.str_]
    lines: npt.NDArray[np.str_]
    samples: npt.NDArray[np.str_]
    dropped: int = 0

    def column(self, name: str) -> npt.NDArray[np.float64]:
        """Give one feature of every cell."""
        return self.values[:, self.names.index(name)]

    def select(self, chosen: npt.NDArray[np.bool_]) -> "CellSample":
        """Keep some cells."""
        return CellSample(
            self.names,
            self.values[chosen],
            self.groups[chosen],
            self.labels[chosen],
            self.lines[chosen],
            self.samples[chosen],
            self.dropped,
        )


def real_folder() -> Path | None:
    """Give the folder of real data, None where there is none."""
    folder = os.environ.get("HPACELLS_REAL_DATA")
    return Path(folder) if folder else None


def open_samples(
    options: argparse.Namespace,
) -> tuple[SimulatedData, CellSample, CellSample, Path] | None:
    """Give simulated data, its cells, the real cells and their folder; None without real data."""
    real = real_folder()
    if real is None:
        return None
    data = dataset(options)
    simulated = simulated_cells(
        data, options.work, workers=options.workers, quality=real_quality(real)
    )
    return data, simulated, real_cells(real, options.work), real


def truth_rows(data: Path) -> list[dict[str, str]]:
    """Read ``truth/cells.csv``."""
    with (data / "truth" / "cells.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def class_targets(labels: Sequence[str] | npt.NDArray[np.str_]) -> npt.NDArray[np.bool_]:
    """Turn labels into ``(N, 19)`` bool."""
    targets = np.zeros((len(labels), N_LOCATIONS), np.bool_)
    for row, text in zip(targets, labels, strict=True):
        row[list(parse_class_ids(str(text)))] = True
    return targets


def real_tiles(real: Path) -> Iterator[tuple[str, str, npt.NDArray[np.uint8]]]:
    """Yield (mosaic, label, tile ``(C, 512, 512)`` uint8) of the single real cells, 9 a mosaic."""
    folder = real / "cells"
    with (folder / "train.csv").open(encoding="utf-8", newline="") as file:
        rows = sorted((row["ID"], row["Label"]) for row in csv.DictReader(file))
    for name, label in rows:
        mosaic = np.stack([_grey(folder / "train" / f"{name}_{stain}.jpg") for stain in STAINS])
        for top in range(0, mosaic.shape[1], TILE_PX):
            for left in range(0, mosaic.shape[2], TILE_PX):
                yield name, label, mosaic[:, top : top + TILE_PX, left : left + TILE_PX]


def _grey(path: Path) -> npt.NDArray[np.uint8]:
    """Read an 8-bit grey image."""
    image = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
    if image is None:
        sys.exit(f"{path}: missing or not an image")
    return np.asarray(image, np.uint8)


def real_quality(real: Path) -> int:
    """Give the median JPEG quality of the real mosaics."""
    qualities = []
    for path in sorted((real / "cells" / "train").glob("*.jpg")):
        with Image.open(path) as image:
            qualities.append(jpeg_quality(image))
    return int(np.median(qualities))


def real_cells(real: Path, work: Path) -> CellSample:
    """Measure the real cells, or read what was measured before."""
    cache = work / f"features_real_v{_FORMAT}.npz"
    if not cache.is_file():
        rows: list[_Row] = []
        dropped = 0
        for name, label, tile in real_tiles(real):
            cell = find_cell(tile)
            if cell is None:
                print(f"no cell found in a tile of {name}")
                dropped += 1
                continue
            rows.append((measure_cell(cell), name, label, "", name))
        _write(cache, rows, dropped)
    return _read(cache)


def simulated_cells(
    data: SimulatedData, work: Path, *, workers: int, quality: int = 95, least_inside: float = 0.8
) -> CellSample:
    """Measure the cells of the data's first fields, processed like the real mosaics.

    Parameters
    ----------
    data
        Dataset with truth.
    work
        Features are kept here, by what the dataset holds and by how cells were processed.
    workers
        Processes.
    quality
        Of the JPEG.
    least_inside
        Cells of which less than this share is inside the frame are left out.
    """
    name = f"mosaic_q{quality}_{least_inside:g}"
    measure = partial(_imitate_and_measure, quality=quality)
    return _measured(data, work, (name, least_inside, workers), measure)


def plain_cells(data: SimulatedData, work: Path, *, workers: int) -> CellSample:
    """Measure the cells of the truth as the simulator left them: true masks, pixels untouched."""
    if abs(data.pixel_um - PIXEL_UM) > 1e-6:
        sys.exit(f"{data.path}: expected {PIXEL_UM} µm per pixel, got {data.pixel_um}")
    return _measured(data, work, ("plain", 0.5, workers), _measure_plainly)


_Row = tuple[dict[str, float], str, str, str, str]
_Measure = Callable[[Bytes, Bools, Bools, float, list[int]], Cell | None]


def _measured(
    data: SimulatedData, work: Path, how: tuple[str, float, int], measure: _Measure
) -> CellSample:
    """Measure the first fields, or read what was measured before."""
    name, least_inside, workers = how
    cache = work / f"features_{data.digest}_{data.fields}_{name}_v{_FORMAT}.npz"
    if not cache.is_file():
        by_field: dict[str, list[dict[str, str]]] = {}
        for row in truth_rows(data.path):
            by_field.setdefault(row["ID"], []).append(row)
        names = sorted(by_field)[: data.fields]
        task = partial(_measure_field, data, least_inside=least_inside, measure=measure)
        rows: list[_Row] = []
        dropped = 0
        with ProcessPoolExecutor(workers) as pool:
            for i, (found, lost) in enumerate(pool.map(task, (by_field[n] for n in names)), 1):
                rows += found
                dropped += lost
                if i % 10 == 0 or i == len(names):
                    print(f"measured {i}/{len(names)} fields, {len(rows)} cells", flush=True)
        _write(cache, rows, dropped)
    return _read(cache)


def _measure_field(
    data: SimulatedData, rows: list[dict[str, str]], *, least_inside: float, measure: _Measure
) -> tuple[list[_Row], int]:
    cv2.setNumThreads(1)
    name = rows[0]["ID"]
    pixels = np.stack([_grey(data.path / "train" / f"{name}_{stain}.png") for stain in STAINS])
    cells, nuclei = (
        read_label_image(data.path / "truth" / f"{name}_{part}.png") for part in ("cells", "nuclei")
    )
    boxes = find_objects(cells)
    found: list[_Row] = []
    dropped = 0
    for row in rows:
        if float(row["share_inside"]) < least_inside:
            continue
        cell_id = int(row["cell_id"])
        box = boxes[cell_id - 1]
        seed = [data.seed, cell_id, int(name[-6:])]
        cell = measure(
            pixels[(slice(None), *box)],
            cells[box] == cell_id,
            nuclei[box] == cell_id,
            data.pixel_um,
            seed,
        )
        if cell is None:
            dropped += 1
            continue
        sample = f"{row['gene']}/{row['sample']}"
        found.append((measure_cell(cell), name, row["Label"], row["cell_line"], sample))
    return found, dropped


def _imitate_and_measure(
    pixels: Bytes, cell: Bools, _: Bools, pixel_um: float, seed: list[int], *, quality: int
) -> Cell | None:
    """Process like a real mosaic, then find cell and nucleus in the pixels."""
    angle = float(np.random.default_rng(seed).uniform(0, 360))
    return find_cell(
        imitate_mosaic(pixels, cell, pixel_um=pixel_um, angle_deg=angle, quality=quality)
    )


def _measure_plainly(
    pixels: Bytes, cell: Bools, nucleus: Bools, _pixel_um: float, _seed: list[int]
) -> Cell | None:
    """Take the true masks; None without a nucleus or a cytoplasm."""
    if not (nucleus & cell).any() or not (cell & ~nucleus).any():
        return None
    return Cell((pixels * cell).astype(np.float32), cell, nucleus & cell)


def _write(path: Path, rows: list[_Row], dropped: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    names = list(rows[0][0])
    temporary = path.with_suffix(".part.npz")
    values = np.array([[row[0][n] for n in names] for row in rows])
    groups, labels, lines, samples = (np.array([row[i] for row in rows]) for i in (1, 2, 3, 4))
    np.savez(
        temporary,
        names=np.array(names),
        values=values,
        groups=groups,
        labels=labels,
        lines=lines,
        samples=samples,
        dropped=np.array(dropped),
    )
    temporary.replace(path)


def _read(path: Path) -> CellSample:
    with np.load(path, allow_pickle=False) as content:
        values, groups, labels, lines, samples = (
            content[key] for key in ("values", "groups", "labels", "lines", "samples")
        )
        names, dropped = tuple(map(str, content["names"])), int(content["dropped"])
    return CellSample(names, values, groups, labels, lines, samples, dropped)

"""How far simulated fields are from real ones, in one named list of statistics.

Counts, label noise and forms against tables (``realism_statistics``); grey values, granularity and
radial profiles against the single real cells under ``HPACELLS_REAL_DATA``, the simulated cells put
through the same turning, masking, shrinking and JPEG. The protein stain is compared class by class
(0, 2, 13, 14, 16) with simulated cells that carry that class only. Standardised difference of a
cell-level statistic: (mean over simulated cells - mean over real cells) / sd over real cells. Grey
quantiles whose real sd is below 1 grey value are left out, and named. Beside each difference of
cells: how the spread compares, sd over simulated cells / sd over real cells.

Example: HPACELLS_REAL_DATA=data python bench/simulator_realism.py --fields 100
"""

import argparse
import csv
import os
import sys
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
from cell_samples import SKIPPED, CellSample, open_samples, truth_rows
from realism_statistics import (
    Statistic,
    cell_counts,
    forms,
    presence,
    summarise,
    summarise_spread,
)
from simulated_data import SimulatedData, add_options
from skimage.measure import regionprops

from hpacells.core.locations import LOCATIONS, parse_class_ids
from hpacells.core.storage import write_json
from hpacells.images.mask_files import read_label_image

ASKED_MEDIAN = 0.5
COMPARED = ("intensity", "granularity", "radial")
NOT_QUANTILES = ("mean", "zeros", "saturated", "nucleus_mean")
LEAST_CELLS = 8
LEAST_GREY_SD = 1.0


def pixel_statistics(real: CellSample, simulated: CellSample) -> tuple[list[Statistic], list[str]]:
    """Compare grey values, granularity and radial profiles; reference stains, then the protein."""
    left_out: list[str] = []
    wanted = [n for n in real.names if n.split(":")[0] in COMPARED]
    wanted = [n for n in wanted if n.split(":")[2] not in NOT_QUANTILES]
    found: list[Statistic] = []

    def compare(name: str, kind: str, one: CellSample, other: CellSample, suffix: str = "") -> None:
        sd = float(one.column(name).std())
        if name.startswith("intensity") and sd < LEAST_GREY_SD:
            left_out.append(f"{name}{suffix}: real sd {sd:.2f} grey values")
        else:
            group = name.split(":", maxsplit=1)[0]
            found.append(_compare(f"{group}, {kind}", name + suffix, one, other))

    for name in wanted:
        if ":green:" not in name:
            compare(name, "reference", real, simulated)
    for label in sorted(set(real.labels.tolist()), key=int):
        title = LOCATIONS[int(label)].key
        one, other = real.select(real.labels == label), simulated.select(simulated.labels == label)
        if len(other.values) < LEAST_CELLS:
            left_out.append(f"protein of {title}: {len(other.values)} simulated cells")
            continue
        for name in wanted:
            if ":green:" in name:
                compare(name, "protein", one, other, f" [{title}]")
    return found, left_out


def _compare(group: str, title: str, real: CellSample, simulated: CellSample) -> Statistic:
    name = title.split(" [", maxsplit=1)[0]
    a, b = real.column(name), simulated.column(name)
    sd = max(float(a.std()), 1e-3)
    source = f"{len(a)} real single cells; sd over cells"
    spread = float(b.std()) / sd
    return Statistic(group, title, float(a.mean()), float(b.mean()), sd, source, spread)


def labels_a_cell(real: Path, rows: list[dict[str, str]]) -> list[Statistic]:
    """Compare how many classes a cell carries with the manually labelled cells."""
    with (real / "masks_truth" / "expert" / "cells.csv").open(encoding="utf-8", newline="") as file:
        real_labels = [row["Label"] for row in csv.DictReader(file)]
    a, b = (
        np.array([len(parse_class_ids(text)) for text in texts], np.float64)
        for texts in (real_labels, [row["Label"] for row in rows])
    )
    source = f"{len(a)} manually labelled cells of 30 images; sd over cells"
    return [
        Statistic("labels a cell", name, float(x.mean()), float(y.mean()), float(x.std()), source)
        for name, x, y in (("mean", a, b), ("share with one", a == 1, b == 1))
    ]


def measure_forms(
    data: Path, field: str, rows: list[dict[str, str]], pixel_um: float
) -> list[tuple[str, float, float, float, float]]:
    """Give (line, area, axis ratio, solidity, nucleus area) of a field's whole cells."""
    ids = read_label_image(data / "truth" / f"{field}_cells.png")[::2, ::2]
    whole = {int(r["cell_id"]): r for r in rows if float(r["share_inside"]) > 0.999}
    found = []
    for props in regionprops(ids):
        row = whole.get(props.label)
        if row is not None and props.axis_minor_length > 0:
            ratio = props.axis_major_length / props.axis_minor_length
            area = float(props.area) * (2 * pixel_um) ** 2
            nucleus = float(row["nucleus_area_um2"])
            found.append((row["cell_line"], area, ratio, float(props.solidity), nucleus))
    return found


def truth_statistics(
    simulated: SimulatedData, real: Path, workers: int
) -> tuple[list[Statistic], list[str]]:
    """Compare everything that is read from the truth: counts, labels, forms.

    Presence is baseline scatter: fields of designed variation are left out of it.
    """
    data = simulated.path
    with (data / "train.csv").open(encoding="utf-8", newline="") as file:
        images = sorted(csv.DictReader(file), key=lambda row: row["ID"])
    images = images[: simulated.fields]
    rows: dict[str, list[dict[str, str]]] = {image["ID"]: [] for image in images}
    for row in truth_rows(data):
        if row["ID"] in rows:
            rows[row["ID"]].append(row)
    counted = {name: [r for r in own if r["in_truth"] == "1"] for name, own in rows.items()}
    with (data / "truth" / "fields.csv").open(encoding="utf-8", newline="") as file:
        designed = {row["ID"] for row in csv.DictReader(file) if row["kind"] != "none"}
    shares, left_out = presence(
        {i["ID"]: parse_class_ids(i["Label"]) for i in images if i["ID"] not in designed},
        {n: [tuple(parse_class_ids(r["Label"])) for r in own] for n, own in counted.items()},
    )
    measure = partial(measure_forms, data, pixel_um=float(images[0]["pixel_size_um"]))
    with ProcessPoolExecutor(workers) as pool:
        cells = [c for own in pool.map(measure, rows, rows.values()) for c in own]
    lines = np.array([c[0] for c in cells])
    shapes, more = forms(lines, *(np.array([c[i] for c in cells]) for i in (1, 2, 3, 4)))
    found = cell_counts([len(own) for own in counted.values()])
    found += labels_a_cell(real, [r for own in counted.values() for r in own])
    return [*found, *shares, *shapes], [*left_out, *more]


def describe(statistics: list[Statistic], left_out: list[str]) -> str:
    """Say it in a table, the largest differences first."""
    medians = summarise(statistics)
    spread, compared = summarise_spread(statistics)
    lines = [
        f"median |d| {medians.pop('all'):.3f} of {len(statistics)} statistics",
        f"median over the groups' medians {medians.pop('over groups'):.3f}",
        f"spread: median |log(sd simulated / sd real)| {spread:.3f} of {compared}",
    ]
    for group, value in medians.items():
        own = [s for s in statistics if s.group == group]
        worst = max(own, key=lambda s: abs(s.d))
        lines.append(
            f"  {group:24} {value:6.3f} of {len(own):3}; worst {worst.name} {worst.d:+.2f}"
        )
    lines.append("worst ten:")
    ordered = sorted(statistics, key=lambda s: -abs(s.d))
    lines += [f"  {s.d:+6.2f}  {s.group}: {s.name}" for s in ordered[:10]]
    lines += [
        "",
        f"{'group':24} {'statistic':56} {'real':>9} {'simulated':>9} {'sd':>8} {'d':>7} "
        f"{'spread':>7}",
    ]
    lines += [
        f"{s.group:24} {s.name:56} {s.real:9.3f} {s.simulated:9.3f} {s.sd:8.3f} {s.d:+7.2f} "
        f"{'' if s.spread is None else format(s.spread, '7.2f'):>7}"
        + (f"  {s.note}" if s.note else "")
        for s in ordered
    ]
    lines += ["", "left out: " + ("; ".join(left_out) or "none")]
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    add_options(parser, fields=100)
    options = parser.parse_args()
    opened = open_samples(options)
    if opened is None:
        print(SKIPPED)
        return 0
    data, simulated, real, folder = opened
    statistics, left_out = truth_statistics(data, folder, options.workers)
    pixels, more = pixel_statistics(real, simulated)
    statistics += pixels
    left_out += more
    medians = summarise(statistics)
    spread, compared = summarise_spread(statistics)
    worst = sorted(statistics, key=lambda s: -abs(s.d))[:10]
    rows = [
        {
            "what": f"median |standardised difference| of {len(statistics)} statistics, "
            f"{data.fields} default fields",
            "asked": f"<= {ASKED_MEDIAN}",
            "measured": f"{medians['all']:.3f}; worst: "
            + ", ".join(
                f"{s.group} {s.name} {s.d:+.1f}{' (by design)' if s.note else ''}"
                for s in worst[:3]
            ),
            "met": medians["all"] <= ASKED_MEDIAN,
        }
    ]
    rows.append(
        {
            "what": f"spread: median |log(sd simulated / sd real)| of {compared} statistics",
            "asked": "reported",
            "measured": f"{spread:.3f}",
            "met": None,
        }
    )
    rows += [
        {"what": f"median |d|, {group}", "asked": "reported", "measured": f"{v:.3f}", "met": None}
        for group, v in medians.items()
        if group != "all"
    ]
    options.results.mkdir(parents=True, exist_ok=True)
    result = {
        "rows": rows,
        **data.facts(),
        "worst": [f"{s.group}: {s.name} {s.d:+.2f}" for s in worst],
        "left_out": left_out,
        "statistics": [s.row() for s in statistics],
    }
    write_json(options.results / "simulator_realism.json", result)
    text = describe(statistics, left_out)
    (options.results / "simulator_realism.txt").write_text(text + "\n", encoding="utf-8")
    print(text.split("\n\n", maxsplit=1)[0])
    return 0


if __name__ == "__main__":
    sys.exit(main())

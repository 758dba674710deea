"""How long ``hpacells export`` takes for 100 fields of 2048² px, each format, on two cores.

A few simulated fields are run once; their rows and masks stand under many ids, so outlines and
tables are those of a real run. Each format is a command of its own, start of Python included. The
GeoJSON polygons are filled again, by shapely's point-in-polygon, and compared with the masks.

Predictions written down before the first measurement: GeoJSON 12 s, AnnData 4 s, OME-Zarr 35 s.

Example: python bench/export.py --fields 100
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import shapely
from shapely.geometry import shape

from hpacells.core.storage import write_json
from hpacells.images.mask_files import read_label_image

ROOT = Path(__file__).parents[1]
ASKED_S = {"geojson": 20, "anndata": 5, "ome-zarr": 60}
OPTIONS = {"ome-zarr": ["--labels-only"]}
FORMATS = (*ASKED_S, "kaggle", "csv", "coco", "profiles", "imagej")
ASKED_IOU = 0.98
N_DRAWN = 4


def main() -> None:
    """Simulate, run, copy, export, compare, write the result."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--work", type=Path, default=ROOT / "scratch" / "bench_export")
    parser.add_argument("--fields", type=int, default=100)
    parser.add_argument("--size", type=int, default=2048)
    parser.add_argument("--seed", type=int, default=898_000)
    options = parser.parse_args()

    drawn, small = options.work / "drawn", options.work / f"run{options.size}"
    size = ["--size", options.size]
    hpacells("simulate", drawn, "--fields", N_DRAWN, "--seed", options.seed, "--workers", 2, *size)
    hpacells("run", drawn, small, "--workers", 2)
    run = copy_fields(
        small, options.work / f"copies{options.size}_{options.fields}", options.fields
    )
    n_cells = pq.read_metadata(run / "cells.parquet").num_rows
    rows = []
    for name in FORMATS:
        shutil.rmtree(run / "exports" / name, ignore_errors=True)
        seconds = hpacells("export", run, "--to", name, *OPTIONS.get(name, []))
        print(f"{name}: {seconds:.1f} s")
        rows.append(describe(name, seconds, options, n_cells))
    least = least_iou(run)
    rows.append(
        {
            "what": f"least IoU of GeoJSON polygons with their masks, {N_DRAWN} fields",
            "asked": f"at least {ASKED_IOU}",
            "measured": f"{least:.4f}",
            "met": bool(least >= ASKED_IOU),
        }
    )
    write_json(ROOT / "bench" / "results" / "export.json", {"rows": rows})


def hpacells(*arguments: object) -> float:
    """Run a command; give its seconds."""
    started = time.monotonic()
    subprocess.run([sys.executable, "-m", "hpacells", *map(str, arguments)], check=True)
    return time.monotonic() - started


def copy_fields(small: Path, out: Path, n: int) -> Path:
    """Give ``n`` ids to the fields of a run, in turn: tables written, masks linked."""
    shutil.rmtree(out, ignore_errors=True)
    (out / "masks").mkdir(parents=True)
    names = pq.read_table(small / "fields.parquet")["fov_id"].to_pylist()
    pairs = [(f"copy{i:05d}", names[i % len(names)]) for i in range(n)]
    for table in ("fields", "cells", "embeddings"):
        parts = []
        whole = pq.read_table(small / f"{table}.parquet")
        for copy, name in pairs:
            part = whole.filter(pa.compute.equal(whole["fov_id"], name))
            place = part.schema.get_field_index("fov_id")
            ids = pa.array([copy] * len(part), pa.string())
            parts.append(part.set_column(place, whole.schema.field(place), ids))
        pq.write_table(pa.concat_tables(parts), out / f"{table}.parquet")
    for copy, name in pairs:
        for part in ("cells", "nuclei"):
            os.link(small / "masks" / f"{name}_{part}.png", out / "masks" / f"{copy}_{part}.png")
    copy_submission(small, out, pairs)
    shutil.copy(small / "run.json", out)
    return out


def copy_submission(small: Path, out: Path, pairs: list[tuple[str, str]]) -> None:
    """Write the submission of the copies."""
    header, *lines = (small / "submission.csv").read_text(encoding="utf-8").splitlines()
    rest = dict(line.split(",", maxsplit=1) for line in lines)
    rows = [f"{copy},{rest[name]}" for copy, name in pairs]
    (out / "submission.csv").write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")


def describe(
    name: str, seconds: float, options: argparse.Namespace, n_cells: int
) -> dict[str, object]:
    """Make a row of the table of results."""
    asked = ASKED_S.get(name) if (options.fields, options.size) == (100, 2048) else None
    return {
        "what": f"export --to {' '.join([name, *OPTIONS.get(name, [])])}, {options.fields} fields "
        f"of {options.size} px, {n_cells} cells",
        "asked": "" if asked is None else f"at most {asked} s",
        "measured": f"{seconds:.1f} s",
        "met": None if asked is None else bool(seconds <= asked),
    }


def least_iou(run: Path) -> float:
    """Fill the polygons of a few fields by shapely; give the least IoU of any cell or nucleus."""
    least = 1.0
    for path in sorted((run / "exports" / "geojson").glob("*.geojson"))[:N_DRAWN]:
        features = json.loads(path.read_text(encoding="utf-8"))["features"]
        for part, key in (("cells", "geometry"), ("nuclei", "nucleusGeometry")):
            ids = read_label_image(run / "masks" / f"{path.stem}_{part}.png")
            for feature in features:
                if key in feature:
                    mask = ids == int(feature["properties"]["name"])
                    least = min(least, iou(shape(feature[key]), mask))
    return least


def iou(polygon: shapely.Geometry, mask: np.ndarray) -> float:
    """Compare a polygon with a mask, pixel by pixel within the union of their boxes."""
    rows, columns = np.nonzero(mask)
    x0, y0, x1, y1 = (int(v) for v in polygon.bounds)
    r = slice(max(0, min(y0, rows.min())), max(y1, rows.max() + 1))
    c = slice(max(0, min(x0, columns.min())), max(x1, columns.max() + 1))
    inside = mask[r, c]
    ys, xs = np.indices(inside.shape) + 0.5
    shapely.prepare(polygon)
    filled = shapely.contains_xy(polygon, xs + c.start, ys + r.start)
    return float((filled & inside).sum() / (filled | inside).sum())


if __name__ == "__main__":
    main()

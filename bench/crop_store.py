"""How fast a crop store is read, against decoding the PNG files that it was made from.

The crops of simulated fields of 2048² by their true masks; each field read by one thread, the best
of some rounds, in processor time. A training reads the store once for each of its runs.

    python bench/crop_store.py           # 2 minutes, and the drawing of run_speed's fields
"""

import argparse
import shutil
import sys
from pathlib import Path

import cv2
import numpy as np
from run_speed import Row, best, draw, row

from hpacells.cli.crop import MaskFiles
from hpacells.core.crop_spec import CropSpec
from hpacells.core.storage import write_json
from hpacells.crops.build import build_store
from hpacells.crops.field_crops import read_part
from hpacells.crops.store import part_path
from hpacells.images.discover import discover_fields

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "bench" / "results" / "crop_store.json"
ASKED = 5.0
SPECS = (CropSpec(112, 0.25), CropSpec(128, 0.16), CropSpec(448, 0.08))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--work", type=Path, default=ROOT / "scratch" / "run_speed")
    parser.add_argument("--fields", type=int, default=24)
    options = parser.parse_args()
    cv2.setNumThreads(1)
    drawn = draw(options.work / "drawn2048", options.fields, 2048, 700_000)
    records = discover_fields(drawn)
    source = MaskFiles(drawn.parent / "truth")

    def decode(i: int) -> None:
        for path in records[i].paths.values():
            cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_UNCHANGED)

    png_s = best(decode, len(records), 1)[1]
    rows: list[Row] = []
    for spec in SPECS:
        out = options.work / "crops"
        shutil.rmtree(out, ignore_errors=True)
        store = build_store(records, out, spec, source=source)
        if store.counts["failed"]:
            sys.exit(f"{out}: fields failed")
        paths = [part_path(out, record.fov_id) for record in records]
        store_s = best(lambda i, paths=paths: read_part(paths[i]), len(paths), 1)[1]
        raw = store.counts["crops"] * 5 * spec.crop_px**2
        size = sum(path.stat().st_size for path in paths)
        rows.append(
            row(
                f"crop store read, {spec.crop_px} px at {spec.pixel_size_um} µm, over decoding the "
                "PNGs, time per field 2048²",
                f"≥ {ASKED:g}x",
                f"{png_s / store_s:.0f}x ({1000 * png_s:.0f} over {1000 * store_s:.1f} ms, "
                f"{size / raw:.0%} of the pixels' bytes)",
                png_s / store_s >= ASKED,
            )
        )
        print(rows[-1], flush=True)
    write_json(RESULTS, {"rows": rows})


if __name__ == "__main__":
    main()

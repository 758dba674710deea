"""How well ``watershed`` agrees with the atlas's automatic segmenter on three real fields.

Reads the fields under ``HPACELLS_REAL_DATA`` and writes ``bench/results/segmentation_real.json``
and ``.txt``. The masks it is held against are themselves made by a segmenter (F1 0.92 against
experts), so this is agreement, not accuracy; and three fields are three fields.

Example: HPACELLS_REAL_DATA=data python bench/segmentation_real.py
"""

import os
import sys
import time
from pathlib import Path

import numpy as np
import pyarrow.compute as pc

from hpacells.core.cell_table import CellStatus
from hpacells.core.fov import FovRecord
from hpacells.core.provenance import installed_versions
from hpacells.core.storage import write_json
from hpacells.evaluate.masks import match_masks
from hpacells.images.discover import discover_fields
from hpacells.images.mask_files import read_label_image
from hpacells.images.read import read_field
from hpacells.segment.measure import measure_cells
from hpacells.segment.registry import Segmenter, get_segmenter

THRESHOLD = 0.6
ASKED_F1 = 0.60
ASKED_SECONDS = 4.0
RESULTS = Path(__file__).parent / "results"


def measure_field(record: FovRecord, reference: Path, segmenter: Segmenter) -> dict[str, object]:
    """Segment one field and count the cells that agree with the reference."""
    started = time.perf_counter()
    fov = read_field(record)
    read_s = time.perf_counter() - started
    masks = segmenter(fov)
    cells = measure_cells(fov, masks)
    total_s = time.perf_counter() - started
    match = match_masks(masks.cells, read_label_image(reference), THRESHOLD)
    status = cells.table["status"]
    is_rejected = pc.equal(status, CellStatus.REJECTED.value)
    rejected = cells.table.filter(is_rejected)["cell_id"].to_numpy()
    n_extra = int((~np.isin(match.unmatched_found, rejected)).sum())
    matched = len(match.pairs)
    return {
        "fov_id": record.fov_id,
        "matched": matched,
        "found": matched + n_extra,
        "reference": matched + len(match.unmatched_true),
        "rejected": len(rejected),
        "f1": 2 * matched / max(2 * matched + n_extra + len(match.unmatched_true), 1),
        "mean_iou_of_matched": float(np.mean(match.iou)) if matched else None,
        "seconds_without_reading": total_s - read_s,
        "seconds": total_s,
    }


def summarise(fields: list[dict[str, object]]) -> dict[str, object]:
    """Add the fields up, and set the asked values beside the measured ones."""
    total = {name: sum(f[name] for f in fields) for name in ("matched", "found", "reference")}  # type: ignore[misc]
    f1 = 2 * total["matched"] / (total["found"] + total["reference"])
    slowest = max(f["seconds"] for f in fields)  # type: ignore[type-var]
    return {
        "rows": [
            {
                "what": f"agreement F1 with the atlas's segmenter at IoU {THRESHOLD:.2f}, "
                f"{len(fields)} real fields",
                "asked": f">= {ASKED_F1:.2f}",
                "measured": f"{f1:.3f}",
                "met": f1 >= ASKED_F1,
            },
            {
                "what": "slowest real field, reading, outlining and measuring",
                "asked": f"<= {ASKED_SECONDS:.0f} s",
                "measured": f"{slowest:.2f} s",
                "met": slowest <= ASKED_SECONDS,  # type: ignore[operator]
            },
        ],
        "threshold": THRESHOLD,
        "fields": fields,
        **total,
        "f1": f1,
        "slowest_field_s": slowest,
        "versions": installed_versions(),
    }


def describe(result: dict[str, object]) -> str:
    """Say it in a table."""
    lines = [f"{'field':14} matched found reference rejected    F1  segment s  with reading s"]
    lines += [
        f"{f['fov_id'][:12]:14} {f['matched']:7} {f['found']:5} {f['reference']:9} "
        f"{f['rejected']:8} {f['f1']:5.3f} {f['seconds_without_reading']:10.2f} "
        f"{f['seconds']:15.2f}"
        for f in result["fields"]  # type: ignore[attr-defined]
    ]
    lines.append(
        f"all: F1 {result['f1']:.3f} at IoU {THRESHOLD:.2f} (asked: >= {ASKED_F1:.2f}); "
        f"slowest field {result['slowest_field_s']:.2f} s (asked: <= {ASKED_SECONDS:.0f} s)"
    )
    return "\n".join(lines)


def main() -> int:
    data = os.environ.get("HPACELLS_REAL_DATA")
    if not data:
        print("skipped: HPACELLS_REAL_DATA is not set")
        return 0
    kaggle = Path(data) / "kaggle"
    segmenter = get_segmenter("watershed")
    records = discover_fields(kaggle / "train")
    segmenter(read_field(records[0]))  # the first call loads libraries
    references = {r.fov_id: kaggle / "cells" / f"{r.fov_id}_cells.png" for r in records}
    result = summarise([measure_field(r, references[r.fov_id], segmenter) for r in records])
    RESULTS.mkdir(exist_ok=True)
    write_json(RESULTS / "segmentation_real.json", result)
    text = describe(result)
    (RESULTS / "segmentation_real.txt").write_text(text + "\n", encoding="utf-8")
    print(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())

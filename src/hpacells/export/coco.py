"""``instances.json``: the cells as COCO instances with run-length masks.

An annotation is one cell: ``segmentation`` (compressed RLE), ``bbox`` (x, y, width, height),
``area`` in pixels, ``category_id`` (the class of its highest score), ``score``; and beyond the
format ``scores`` (all 19), ``cell_id``, ``status`` and ``nucleus`` (RLE, null without one).
Category ids are the class ids, 0 to 18. A rejected cell has no class, so it is left out.

Lost: rejected cells, areas and intensities, quality flags, embeddings.
"""

import base64
import json
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from hpacells.core.locations import LOCATIONS
from hpacells.core.storage import atomic_path
from hpacells.core.submission import encode_cells
from hpacells.export.config import ExportSettings
from hpacells.export.run_reader import FieldSource, FinishedRun, RunField

__all__ = ["write_coco"]


def write_coco(
    run: FinishedRun, fields: FieldSource, out: Path, settings: ExportSettings
) -> tuple[str, ...]:
    """Write the file; annotations are written as they come, images are gathered.

    Parameters
    ----------
    run
        Says what the cells were scored by.
    fields
        Gives the fields; failed ones have no image here.
    out
        Folder.
    settings
        Not needed; every format takes them.
    """
    del settings
    images: list[dict[str, Any]] = []
    with (
        atomic_path(out / "instances.json") as temporary,
        temporary.open("w", encoding="utf-8") as file,
    ):
        file.write('{"annotations":[')
        n_written = 0
        for field in fields():
            if not field.is_done:
                continue
            images.append(_describe_image(field, len(images) + 1))
            for annotation in _annotate(field, images[-1]["id"]):
                n_written += 1
                text = json.dumps({"id": n_written, **annotation}, allow_nan=False)
                file.write(("," if n_written > 1 else "") + "\n" + text)
        rest = {"images": images, "categories": _CATEGORIES, "info": _describe_run(run)}
        file.write("\n]," + json.dumps(rest, allow_nan=False)[1:])
    return ()


_CATEGORIES = [
    {"id": location.class_id, "name": location.title, "supercategory": "location"}
    for location in LOCATIONS
]


def _describe_run(run: FinishedRun) -> dict[str, Any]:
    return {"description": "cells by hpacells", "model": run.provenance.get("model_id")}


def _describe_image(field: RunField, image_id: int) -> dict[str, Any]:
    row = field.row
    return {
        "id": image_id,
        "file_name": f"{field.fov_id}_green.png",
        "fov_id": field.fov_id,
        **{name: row[name] for name in ("width", "height", "pixel_size_um")},
    }


def _annotate(field: RunField, image_id: int) -> Iterator[dict[str, Any]]:
    masks = field.read_masks()
    cells, nuclei = encode_cells(masks.cells), encode_cells(masks.nuclei)
    areas = np.bincount(masks.cells.ravel())
    size = [field.row["height"], field.row["width"]]
    scores = field.probabilities
    for i, (row, top) in enumerate(zip(field.cells.to_pylist(), field.top_locations, strict=True)):
        if top is None:
            continue
        cell_id = row["cell_id"]
        yield {
            "image_id": image_id,
            "category_id": top,
            "segmentation": _rle(cells[cell_id], size),
            "bbox": [row["c0"], row["r0"], row["c1"] - row["c0"], row["r1"] - row["r0"]],
            "area": int(areas[cell_id]),
            "iscrowd": 0,
            "score": float(scores[i, top]),
            "scores": scores[i].tolist(),
            "cell_id": cell_id,
            "status": row["status"],
            "nucleus": _rle(nuclei[cell_id], size) if cell_id in nuclei else None,
        }


def _rle(text: str, size: list[int]) -> dict[str, Any]:
    """Unpack the competition's text to COCO's own."""
    counts = zlib.decompress(base64.b64decode(text)).decode("ascii")
    return {"size": size, "counts": counts}

"""Make the README's figure from a field of a run folder: the composite, and what was found in it.

    python scripts/readme_figure.py RUN FOV_ID --out docs/figure.png

Left the preview, right the same with each cell's outline and its top location; a scale bar in µm.
A figure of a Human Protein Atlas image needs its attribution beside it (CC BY-SA).
"""

import argparse
import io
import sys
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image

from hpacells.core.errors import HpacellsError, InputError
from hpacells.core.storage import atomic_path
from hpacells.images.mask_files import read_label_image
from hpacells.report.figure import draw_overlay, draw_scale_bar
from hpacells.report.marks import mark_cells
from hpacells.report.run_tables import iterate_cells, iterate_fields

MAX_WIDTH_PX = 1200
MAX_BYTES = 600_000
GAP_PX = 12


def make_figure(run_folder: Path, fov_id: str) -> bytes:
    """Make the figure as PNG bytes, at most 1200 px wide and 600 KB.

    Raises
    ------
    InputError
        When the run folder lacks the field, its preview or its pixel size.
    """
    width_um = _find_width_um(run_folder, fov_id)
    preview = run_folder / "previews" / "composite" / f"{fov_id}.jpg"
    if not preview.is_file():
        raise InputError(f"{preview}: not there. The figure is made from the run's preview.")
    with Image.open(preview) as image:
        rgb = np.asarray(image.convert("RGB"))
    cells = read_label_image(run_folder / "masks" / f"{fov_id}_cells.png")
    marks = mark_cells(next(table for name, table in iterate_cells(run_folder) if name == fov_id))
    for width in range(MAX_WIDTH_PX, 300, -100):
        panel_px = (width - GAP_PX) // 2
        left = _resize(rgb, panel_px)
        right = draw_overlay(left, cells, marks)
        left = draw_scale_bar(left, width_um / panel_px)
        gap = np.full((left.shape[0], GAP_PX, 3), 255, np.uint8)
        png = _encode(np.hstack([left, gap, right]))
        if len(png) <= MAX_BYTES:
            break
    return png


def _find_width_um(run_folder: Path, fov_id: str) -> float:
    for row in iterate_fields(run_folder):
        if row.fov_id == fov_id and row.n_cells and row.pixel_size_um is not None:
            return row.width * row.pixel_size_um
    raise InputError(
        f"{run_folder}: no field {fov_id!r} with cells and a known pixel size. "
        "fields.parquet lists the fields."
    )


def _resize(rgb: npt.NDArray[np.uint8], width_px: int) -> npt.NDArray[np.uint8]:
    height_px = round(rgb.shape[0] * width_px / rgb.shape[1])
    way = cv2.INTER_AREA if width_px < rgb.shape[1] else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(rgb, (width_px, height_px), interpolation=way), np.uint8)


def _encode(rgb: npt.NDArray[np.uint8]) -> bytes:
    """Write a PNG of 256 colours, a third of the size of one with all of them."""
    buffer = io.BytesIO()
    Image.fromarray(rgb).quantize(256, dither=Image.Dither.NONE).save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def main() -> int:
    """Make the figure named on the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("fov_id")
    parser.add_argument("--out", type=Path, default=Path("docs/figure.png"))
    options = parser.parse_args()
    try:
        png = make_figure(options.run, options.fov_id)
    except HpacellsError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    with atomic_path(options.out) as temporary:
        temporary.write_bytes(png)
    print(f"Figure written: {options.out} ({len(png) / 1000:.0f} KB)")
    return 0


if __name__ == "__main__":
    sys.exit(main())

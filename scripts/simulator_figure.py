"""Make the pictures of docs/simulator.md: simulated fields of several lines, and every location.

    python scripts/simulator_figure.py --out docs

``simulated-fields.jpg``: one field a cell line, composites as in the report, with a scale bar.
``simulated-locations.jpg``: the sheet of ``hpacells simulate --gallery``, scaled down.
"""

import argparse
import tempfile
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from hpacells.core.storage import atomic_path
from hpacells.images.preview import composite_rgb
from hpacells.simulate.config import SimulateConfig
from hpacells.simulate.field import simulate_field
from hpacells.simulate.gallery import write_gallery

LINES = (
    "U-2 OS", "A-431", "U-251 MG", "HEK 293", "SH-SY5Y", "HAP1", "HUVEC TERT2", "HaCaT",
)  # fmt: skip
TILE_PX = 400
SIZE_PX, PIXEL_UM = 1600, 0.08
BAR_UM = 20
FIELDS_APART = 7  # each of another sample


def draw_fields(seed: int) -> Image.Image:
    """Draw one field of each of ``LINES``, four a row, named by line and label."""
    sheet = Image.new("RGB", (4 * TILE_PX, len(LINES) // 4 * TILE_PX))
    font = ImageFont.load_default(size=18)
    for number, line in enumerate(LINES):
        config = SimulateConfig(size_px=SIZE_PX, pixel_size_um=PIXEL_UM, cell_lines=(line,))
        field = simulate_field(seed, FIELDS_APART * number, config)
        tile = Image.fromarray(composite_rgb(field.fov, max_side=TILE_PX))
        pen = ImageDraw.Draw(tile)
        label = "|".join(map(str, field.sample.locations))
        pen.text((8, 6), f"{line}, label {label}", fill="white", font=font, stroke_width=2,
                 stroke_fill="black")  # fmt: skip
        length = BAR_UM / PIXEL_UM * TILE_PX / SIZE_PX
        bottom = TILE_PX - 12
        pen.rectangle((12, bottom - 4, 12 + length, bottom), fill="white")
        sheet.paste(tile, (number % 4 * TILE_PX, number // 4 * TILE_PX))
    return sheet


def draw_locations(seed: int) -> Image.Image:
    """Draw the gallery, scaled down."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "gallery.png"
        write_gallery(path, seed=seed)
        sheet = cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB)
    small = cv2.resize(sheet, None, fx=0.4, fy=0.4, interpolation=cv2.INTER_AREA)
    return Image.fromarray(np.ascontiguousarray(small))


def main() -> None:
    """Write both pictures."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--out", type=Path, default=Path("docs"))
    parser.add_argument("--seed", type=int, default=12)
    options = parser.parse_args()
    for name, picture in (
        ("simulated-fields.jpg", draw_fields(options.seed)),
        ("simulated-locations.jpg", draw_locations(options.seed)),
    ):
        with atomic_path(options.out / name) as temporary:
            picture.save(temporary, format="JPEG", quality=80, optimize=True)
        print(f"{options.out / name}: {(options.out / name).stat().st_size / 1024:.0f} KiB")


if __name__ == "__main__":
    main()

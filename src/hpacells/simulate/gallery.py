"""One sheet with every location in several cell lines, for eyes to judge.

Each location stands alone, at its ordinary level over little unspecific staining; fields also hold
fainter ones and mixtures.
"""

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from hpacells.core.channels import CHANNELS
from hpacells.core.locations import LOCATIONS, NEGATIVE
from hpacells.core.progress import ProgressCallback, silent
from hpacells.core.storage import atomic_path
from hpacells.simulate.anatomy import CellAnatomy
from hpacells.simulate.bodies import build_anatomies
from hpacells.simulate.camera import Exposure, take_picture
from hpacells.simulate.cell_lines import find_cell_line
from hpacells.simulate.label_sets import SPINDLE
from hpacells.simulate.layout import draw_layout
from hpacells.simulate.patterns.registry import PATTERNS
from hpacells.simulate.protein import draw_protein, unspecific_staining
from hpacells.simulate.stain_style import draw_stain_style
from hpacells.simulate.stains import stain_cell

__all__ = ["GALLERY_LINES", "draw_tile", "write_gallery"]

GALLERY_LINES = ("U-2 OS", "A-431", "HEK 293", "U-251 MG", "SH-SY5Y")
_PIXEL_UM = 0.14
_TILE_PX = 320
_SIDE_PX = 700
_TRIES = 30
_TITLE_PX = 200
_UNSPECIFIC = 0.05
_EXPOSURE = Exposure(
    gain=(150.0, 200.0, 140.0, 130.0),
    blur_um=(0.11,) * len(CHANNELS),
    glow=(0.03,) * len(CHANNELS),
    shot=(0.8,) * len(CHANNELS),
    read=(0.8,) * len(CHANNELS),
    offset=(2.0,) * len(CHANNELS),
)


def write_gallery(
    path: Path,
    *,
    seed: int,
    lines: Sequence[str] = GALLERY_LINES,
    progress: ProgressCallback = silent,
) -> None:
    """Draw one row per location: per cell line a composite and the protein stain alone.

    Parameters
    ----------
    path
        PNG to write.
    seed
        Chooses the cells.
    lines
        Names of cell lines, one pair of columns each.
    progress
        Told of each row.
    """
    rows = []
    for location in LOCATIONS:
        title = np.zeros((_TILE_PX, _TITLE_PX, 3), np.uint8)
        for row, text in enumerate((str(location.class_id), *location.title.split(" "))):
            place = (8, 40 + 28 * row)
            cv2.putText(title, text, place, cv2.FONT_HERSHEY_SIMPLEX, 0.7, (255, 255, 255), 1)
        tiles = [
            draw_tile(name, location.class_id, seed=(seed, location.class_id, number))
            for number, name in enumerate(lines)
        ]
        rows.append(np.hstack([title, *tiles]))
        progress(len(rows), len(LOCATIONS), location.title)
    header = np.zeros((40, rows[0].shape[1], 3), np.uint8)
    for number, name in enumerate(lines):
        place = (_TITLE_PX + 2 * _TILE_PX * number + 8, 28)
        cv2.putText(header, name, place, cv2.FONT_HERSHEY_SIMPLEX, 0.8, (255, 255, 255), 1)
    encoded = cv2.imencode(".png", np.vstack([header, *rows]))[1]
    with atomic_path(path) as temporary:
        temporary.write_bytes(encoded.tobytes())


def draw_tile(line: str, location: int, *, seed: tuple[int, ...]) -> npt.NDArray[np.uint8]:
    """Draw one cell and its neighbours with one location: BGR composite beside green alone."""
    rng = np.random.default_rng(seed)
    cells, (r0, c0) = _find_cells(line, location, seed=seed, rng=rng)
    margin = _SIDE_PX  # cells reach over the frame
    wide = np.zeros((len(CHANNELS), 3 * _SIDE_PX, 3 * _SIDE_PX), np.float32)
    style = draw_stain_style(rng)
    amounts = {} if location == NEGATIVE else {location: PATTERNS[location].level}
    for cell in cells:
        stained = stain_cell(cell, style, np.random.default_rng([*seed, cell.number, 1]))
        own = (*seed, cell.number, 2)
        green = draw_protein(stained, amounts, antibody=seed, seed=own)
        green = green + unspecific_staining(stained, _UNSPECIFIC, antibody=seed, seed=own)
        top, left, bottom, right = (v + margin for v in cell.box)
        wide[:, top:bottom, left:right] += np.stack(
            [stained.microtubules, green, stained.dna, stained.er]
        )
    view = np.s_[:, margin + r0 : margin + r0 + _TILE_PX, margin + c0 : margin + c0 + _TILE_PX]
    stains = np.ascontiguousarray(wide[view])
    pixels = take_picture(stains, _EXPOSURE, pixel_um=_PIXEL_UM, max_value=255, rng=rng)
    red, protein, nucleus, _ = pixels
    composite = np.stack([nucleus, protein, red], axis=-1)
    tile = np.hstack([composite, np.repeat(protein[:, :, None], 3, axis=2)]).astype(np.uint8)
    tile[:, -2:] = 60
    return tile


def _find_cells(
    line: str, location: int, *, seed: tuple[int, ...], rng: np.random.Generator
) -> tuple[list[CellAnatomy], tuple[int, int]]:
    """Place cells until one that can carry the location stands well inside; give its window."""
    half = _TILE_PX // 2
    cells: list[CellAnatomy] = []
    for _ in range(_TRIES):
        layout = draw_layout(
            find_cell_line(line),
            _SIDE_PX * _PIXEL_UM,
            mitotic_share=0.5 if location == SPINDLE else 0.0,
            rng=rng,
        )
        cells = build_anatomies(layout, side_px=_SIDE_PX, pixel_um=_PIXEL_UM, seed=seed)
        for cell in cells:
            r0, c0 = (np.array(cell.box[:2]) + cell.centre - half).astype(int)
            inside = min(r0, c0) >= 0 and max(r0, c0) + _TILE_PX <= _SIDE_PX
            if inside and (cell.mitotic or location != SPINDLE):
                return cells, (int(r0), int(c0))
    return cells, (0, 0)

"""Pictures of found cells over true ones, for people who look for what goes wrong.

Outlines of the true cells lie below those of the found ones, what has no match above what has one;
what is rejected and has none is grey, for it is no error. Merges and splits are tinted, the picture
is dimmed. A legend with the field's name and counts
stands under the picture. Never an input to a measurement.
"""

from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from hpacells.core.errors import InputError
from hpacells.core.masks import sample_ids
from hpacells.core.storage import atomic_path
from hpacells.evaluate.field_masks import FieldMaskCounts
from hpacells.evaluate.label_overlap import Labels
from hpacells.evaluate.mask_pairs import MaskPair
from hpacells.evaluate.masks import match_masks, sum_fields

__all__ = ["LEGEND", "MAX_SIDE_PX", "draw_overlay", "write_overlay"]

MAX_SIDE_PX = 1400
"""Longest side of a picture without its legend."""

LEGEND = {
    "true, matched": (245, 245, 245),
    "true, missed": (240, 228, 66),
    "found, matched": (86, 180, 233),
    "found, no match": (230, 80, 0),
    "merge (found)": (204, 121, 167),
    "split (true)": (0, 190, 120),
    "rejected, no match": (120, 120, 120),
}
"""Colours, RGB: outlines of four kinds, two tints, and what does not count as an error."""

_THRESHOLD = 0.6
_TINT = 0.45
_DIM = 0.75
_TRUE_PX, _FOUND_PX = 5, 2
"""Widths of the outlines."""
_LINE_PX = 18
_FONT_PX = 13
_MARGIN_PX = 6
_Picture = npt.NDArray[np.uint8]


def draw_overlay(
    pair: MaskPair, counts: FieldMaskCounts, *, picture: _Picture | None = None
) -> _Picture:
    """Draw one field.

    Parameters
    ----------
    pair
        Its label images.
    counts
        What ``count_field`` said of them.
    picture
        ``(h, w, 3)`` uint8 RGB of the field, of the masks' proportions; without one the outlines
        lie on dark grey, at the masks' size or ``MAX_SIDE_PX``.

    Returns
    -------
    ndarray
        ``(h + legend, w, 3)`` uint8 RGB; at least as wide as the legend.

    Raises
    ------
    InputError
        When the picture and the masks have other proportions.
    ImageError
        When the two masks differ in shape.
    """
    match = match_masks(pair.found, pair.true, _THRESHOLD)
    if picture is None:
        scale = min(1.0, MAX_SIDE_PX / max(pair.true.shape))
        rows, columns = (max(1, round(side * scale)) for side in pair.true.shape)
        picture = np.full((rows, columns, 3), 24, np.uint8)
    rows, columns = picture.shape[:2]
    if abs(rows * pair.true.shape[1] - columns * pair.true.shape[0]) > max(pair.true.shape):
        raise InputError(
            f"field {pair.fov_id}: expected a picture of the masks' proportions "
            f"{pair.true.shape[0]} x {pair.true.shape[1]}, got {rows} x {columns}. Are they of one "
            "field?"
        )
    found = sample_ids(pair.found, (rows, columns))
    true = sample_ids(pair.true, (rows, columns))
    drawn = np.rint(picture * _DIM).astype(np.uint8)
    _tint(drawn, np.isin(found, counts.merged), "merge (found)")
    _tint(drawn, np.isin(true, counts.split), "split (true)")
    for ids, missed, rejected, what, width in (
        (true, match.unmatched_true, pair.rejected_true, ("true, matched", "true, missed"),
         _TRUE_PX),
        (found, match.unmatched_found, pair.rejected_found, ("found, matched", "found, no match"),
         _FOUND_PX),
    ):  # fmt: skip
        edge = _edges(ids)
        is_missed = np.isin(ids, missed)
        is_rejected = is_missed & np.isin(ids, list(rejected))
        kinds = (is_rejected, ~is_missed, is_missed & ~is_rejected)
        for name, chosen in zip(("rejected, no match", *what), kinds, strict=True):
            drawn[_widen(edge & chosen, width)] = LEGEND[name]
    return np.vstack([_fit(drawn), _draw_legend(counts, max(columns, _legend_width()))])


def write_overlay(
    path: Path, pair: MaskPair, counts: FieldMaskCounts, *, picture: _Picture | None = None
) -> None:
    """Write what ``draw_overlay`` draws as a PNG, whole or not at all."""
    drawn = draw_overlay(pair, counts, picture=picture)
    encoded = cv2.imencode(".png", np.ascontiguousarray(drawn[..., ::-1]))[1].tobytes()
    with atomic_path(path) as temporary:
        temporary.write_bytes(encoded)


def _edges(ids: Labels) -> npt.NDArray[np.bool_]:
    """Mark the pixels of a cell that have a neighbour which isn't that cell; the frame is none."""
    edge = np.zeros(ids.shape, np.bool_)
    down, across = ids[1:] != ids[:-1], ids[:, 1:] != ids[:, :-1]
    edge[1:] |= down
    edge[:-1] |= down
    edge[:, 1:] |= across
    edge[:, :-1] |= across
    return edge & (ids > 0)


def _widen(line: npt.NDArray[np.bool_], width: int) -> npt.NDArray[np.bool_]:
    """Make a line of one or two pixels wider by ``width`` - 1."""
    wide = cv2.dilate(line.astype(np.uint8), np.ones((width, width), np.uint8))
    return np.asarray(wide).reshape(line.shape) > 0


def _tint(picture: _Picture, mask: npt.NDArray[np.bool_], name: str) -> None:
    colour = np.array(LEGEND[name], np.float32)
    mixed = picture[mask].astype(np.float32) * (1 - _TINT) + colour * _TINT
    picture[mask] = np.rint(mixed).astype(np.uint8)


def _fit(drawn: _Picture) -> _Picture:
    """Widen a picture to the legend."""
    missing = max(0, _legend_width() - drawn.shape[1])
    return np.pad(drawn, ((0, 0), (0, missing), (0, 0)))


def _legend_width() -> int:
    font = ImageFont.load_default(_FONT_PX)
    return max(int(font.getlength(name)) for name in LEGEND) * 3 + 3 * (_LINE_PX + 2 * _MARGIN_PX)


def _draw_legend(counts: FieldMaskCounts, width: int) -> _Picture:
    """Draw the field's name and counts, and what the colours mean, in rows of three."""
    scores = sum_fields([counts])
    f1 = scores.f1[f"{_THRESHOLD:.2f}"]
    title = f"{counts.fov_id}"
    numbers = (
        f"F1 {'-' if f1 is None else f'{f1:.3f}'} at IoU {_THRESHOLD:.2f}: {scores.n_found} found, "
        f"{scores.n_true} true, {scores.merges} merges, {scores.splits} splits"
    )
    n_lines = 2 + -(-len(LEGEND) // 3)
    image = Image.new("RGB", (width, n_lines * _LINE_PX + 2 * _MARGIN_PX), (0, 0, 0))
    draw = ImageDraw.Draw(image)
    font = ImageFont.load_default(_FONT_PX)
    for line, text in enumerate((title, numbers)):
        draw.text((_MARGIN_PX, _MARGIN_PX + line * _LINE_PX), text, (255, 255, 255), font=font)
    for k, (name, colour) in enumerate(LEGEND.items()):
        row, column = divmod(k, 3)
        x, y = _MARGIN_PX + column * (width // 3), _MARGIN_PX + (2 + row) * _LINE_PX
        draw.rectangle((x, y + 2, x + _FONT_PX, y + 2 + _FONT_PX - 2), fill=colour)
        draw.text((x + _LINE_PX, y), name, (255, 255, 255), font=font)
    return np.asarray(image, np.uint8)

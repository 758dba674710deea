"""One cell as the page shows it: its stains, cut out of its field, and the outlines around it.

The stains are those of the run's images at their own resolution; where these are not where they
were, of the small previews, and the page says so; without either, outlines alone. Each stain is
stretched over the whole field (``images.preview``). What was read and cut last stays in memory.
"""

from base64 import b64encode
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, replace
from enum import StrEnum
from threading import Lock
from typing import Any, Generic, TypeVar

import cv2
import numpy as np
import numpy.typing as npt

from hpacells.core.channels import CHANNELS
from hpacells.core.errors import ImageError, InputError
from hpacells.core.fov import FovRecord
from hpacells.export.run_images import read_run_image
from hpacells.export.run_reader import FinishedRun
from hpacells.images.mask_files import find_mask, read_label_image
from hpacells.images.outlines import svg_path, trace_outlines
from hpacells.images.preview import grey_preview, lay_strip
from hpacells.predict.run_folder import MASKS
from hpacells.report.stain_pictures import read_previews
from hpacells.review.cells import ReviewCells
from hpacells.review.config import ReviewSettings

__all__ = ["CellPictures", "Source"]

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")
_Plane = npt.NDArray[np.uint8]

_OWN_COLOR = "#ffffff"
_OTHER_COLOR = "#9a9a9a"
_MARGIN_PX = 4
"""So far beyond the window masks are traced: lines along its edge stay out of sight."""


class Source(StrEnum):
    """What a picture was made of."""

    IMAGE = "image"
    PREVIEW = "preview"
    NONE = "none"


@dataclass(frozen=True)
class _FieldLook:
    """A field's stains ``(h, w)`` each, none where there are no pictures; its ids ``(H, W)``."""

    planes: tuple[_Plane, ...]
    ids: npt.NDArray[np.uint16]
    source: Source
    note: str | None = None

    @property
    def scale(self) -> tuple[float, float]:
        """Pixels of the stains per pixel of the masks: rows, columns."""
        shape = self.planes[0].shape if self.planes else self.ids.shape
        return shape[0] / self.ids.shape[0], shape[1] / self.ids.shape[1]


@dataclass(frozen=True)
class _Window:
    """A square of a field's stains, ``side`` pixels wide, shown on ``shown_px`` pixels."""

    top: int
    left: int
    side: int
    shown_px: int

    @property
    def zoom(self) -> float:
        return self.shown_px / self.side


class CellPictures:
    """Cuts the pictures of a run's cells; used by all threads of the server at once.

    Parameters
    ----------
    cells
        Of the run.
    records
        Where the run's images lie, by fov_id; empty: previews are shown.
    settings
        How much is shown around a cell.
    """

    def __init__(
        self, cells: ReviewCells, records: Mapping[str, FovRecord], settings: ReviewSettings
    ) -> None:
        self._cells = cells
        self._records = records
        self._settings = settings
        self._run = FinishedRun(
            cells.run_folder,
            cells.provenance,
            cells.digest,
            n_fields=len(cells.fields),
            n_cells=len(cells),
            embedding_size=0,
        )
        self._fields: _Recent[str, _FieldLook] = _Recent(settings.kept_fields, self._read_field)
        self._pictures: _Recent[int, dict[str, Any]] = _Recent(settings.kept_pictures, self._cut)

    def picture(self, row: int) -> dict[str, Any]:
        """Give a cell's picture, JSON-ready, as ``viewer.js`` wants it.

        Returns
        -------
        dict
            ``src``: a JPEG of the four stains below each other as a data URL, null without
            pictures; ``width``, ``height`` of one plane; ``box`` of the cell; ``cells``: outlines,
            the cell's own first; ``source`` and, where it is no image, ``note`` that says why;
            ``um_per_px``, null where not known.

        Raises
        ------
        ImageError
            When the field's mask is missing or damaged.
        InputError
            When the mask is not of the size that the tables say.
        """
        return self._pictures.get(row)

    def _read_field(self, fov_id: str) -> _FieldLook:
        folder = self._cells.run_folder
        facts = self._cells.fields[fov_id]
        ids = read_label_image(find_mask(folder / MASKS, fov_id, "cells")).astype(np.uint16)
        if ids.shape != (facts["height"], facts["width"]):
            raise InputError(
                f"field {fov_id}: expected a mask {facts['height']} x {facts['width']} as the "
                f"tables say, got {ids.shape[0]} x {ids.shape[1]}. The masks were changed: run "
                "again."
            )
        try:
            fov = read_run_image(self._run, self._records, fov_id)
        except InputError as error:
            return self._read_preview(fov_id, ids, str(error))
        side = max(fov.height, fov.width)
        planes = tuple(grey_preview(fov, channel, max_side=side) for channel in CHANNELS)
        return _FieldLook(planes, ids, Source.IMAGE)

    def _read_preview(self, fov_id: str, ids: npt.NDArray[np.uint16], why: str) -> _FieldLook:
        try:
            stains = read_previews(self._cells.run_folder, fov_id).stains
        except ImageError as error:
            return _FieldLook((), ids, Source.NONE, f"{why} {error}")
        planes = tuple(stains[channel] for channel in CHANNELS)
        return _FieldLook(planes, ids, Source.PREVIEW, why)

    def _cut(self, row: int) -> dict[str, Any]:
        fov_id = str(self._cells.fov_ids[row])
        look = self._fields.get(fov_id)
        box = self._cells.boxes[row].astype(np.float64) * np.tile(look.scale, 2)
        window = self._place_window(box)
        outlines = list(_outlines(look, window, int(self._cells.cell_ids[row])))
        size_um = self._cells.fields[fov_id]["pixel_size_um"]
        corner, extent = box[:2] - (window.top, window.left), box[2:] - box[:2]
        (y, x), (height, width) = (corner * window.zoom).tolist(), (extent * window.zoom).tolist()
        return {
            "src": self._encode(look, window) if look.planes else None,
            "width": window.shown_px,
            "height": window.shown_px,
            "box": {"x": x, "y": y, "width": width, "height": height},
            "cells": outlines,
            "source": look.source.value,
            "note": look.note,
            "um_per_px": size_um and size_um / look.scale[1] / window.zoom,
        }

    def _place_window(self, box: npt.NDArray[np.float64]) -> _Window:
        """Centre a square on a box (in pixels of the stains)."""
        longest = max(box[2] - box[0], box[3] - box[1], 4.0)
        side = round(longest * self._settings.window_share)
        top, left = np.round((box[:2] + box[2:] - side) / 2).astype(int).tolist()
        return _Window(top, left, side, min(side, self._settings.window_px))

    def _encode(self, look: _FieldLook, window: _Window) -> str:
        shown = (window.shown_px, window.shown_px)
        cut = [_slice(plane, window, 0) for plane in look.planes]
        if window.zoom < 1:
            cut = [cv2.resize(plane, shown, interpolation=cv2.INTER_AREA) for plane in cut]
        quality = [cv2.IMWRITE_JPEG_QUALITY, self._settings.jpeg_quality]
        content = cv2.imencode(".jpg", lay_strip(cut), quality)[1].tobytes()
        return f"data:image/jpeg;base64,{b64encode(content).decode()}"


def _slice(plane: npt.NDArray[Any], window: _Window, margin: int) -> npt.NDArray[Any]:
    """Cut a window, with a margin around it, out of a plane; 0 outside the frame."""
    length = window.side + 2 * margin
    cut = np.zeros((length, length), plane.dtype)
    top, left = window.top - margin, window.left - margin
    rows = slice(max(0, top), max(0, min(plane.shape[0], top + length)))
    columns = slice(max(0, left), max(0, min(plane.shape[1], left + length)))
    inner = plane[rows, columns]
    cut[rows.start - top :, columns.start - left :][: inner.shape[0], : inner.shape[1]] = inner
    return cut


def _outlines(look: _FieldLook, window: _Window, own: int) -> Iterator[dict[str, Any]]:
    """Trace the cells in a window, the own one first, as ``viewer.js`` wants them."""
    down, across = look.scale
    on_mask = _Window(
        int(np.floor(window.top / down)),
        int(np.floor(window.left / across)),
        int(np.ceil(window.side / min(down, across))) + 1,
        window.shown_px,
    )
    ids = _slice(look.ids, on_mask, _MARGIN_PX)
    scale = (across * window.zoom, down * window.zoom)
    shift = np.array(
        [
            (on_mask.left - _MARGIN_PX) * scale[0] - window.left * window.zoom,
            (on_mask.top - _MARGIN_PX) * scale[1] - window.top * window.zoom,
        ]
    )
    found = list(trace_outlines(ids, scale=scale, tolerance_px=0.5))
    for outline in sorted(found, key=lambda outline: (outline.cell_id != own, outline.cell_id)):
        is_own = outline.cell_id == own
        shifted = replace(outline, rings=tuple(ring + shift for ring in outline.rings))
        yield {
            "id": outline.cell_id,
            "d": svg_path(shifted),
            "color": _OWN_COLOR if is_own else _OTHER_COLOR,
            "lineWidth": 2.2 if is_own else 1.2,
            "dashed": not is_own,
            "name": "",
            "title": f"cell {outline.cell_id}" + ("" if is_own else ", a neighbour"),
        }


class _Recent(Generic[Key, Value]):
    """What was made last, by key; asked for twice at once, it is made once."""

    def __init__(self, size: int, make: Callable[[Key], Value]) -> None:
        self._size = size
        self._make = make
        self._lock = Lock()
        self._made: OrderedDict[Key, Future[Value]] = OrderedDict()

    def get(self, key: Key) -> Value:
        with self._lock:
            known = self._made.get(key)
            future = self._made.setdefault(key, Future())
            self._made.move_to_end(key)
            while len(self._made) > self._size:
                self._made.popitem(last=False)
        if known is None:
            try:
                future.set_result(self._make(key))
            except BaseException as error:
                future.set_exception(error)
                with self._lock:
                    self._made.pop(key, None)
                raise
        return future.result()

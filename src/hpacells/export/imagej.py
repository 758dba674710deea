"""``<fov_id>.zip``: an ImageJ ROI set with the outlines of a field's cells and nuclei.

A cell is ``cell_<id>``, its nucleus ``nucleus_<id>``; further parts have ``_2``, ``_3`` … A cell's
line has the colour of its highest score's location, a nucleus' is grey. Lost: everything but
outlines and ids, and holes, which a polygon ROI cannot have.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.ndimage import find_objects

from hpacells.core.errors import MissingExtraError
from hpacells.core.palette import REJECTED_COLOR, STYLES, hex_to_rgb
from hpacells.core.storage import atomic_path
from hpacells.export.config import ExportSettings
from hpacells.export.pixel_outlines import trace_pixel_edges
from hpacells.export.run_reader import FinishedRun, RunField

__all__ = ["open_imagej_writer"]


def open_imagej_writer(
    run: FinishedRun, settings: ExportSettings
) -> Callable[[RunField, Path], None]:
    """Give what writes a field's ROI set; an empty field has a set without ROI.

    Parameters
    ----------
    run, settings
        Not needed; every format takes them.

    Raises
    ------
    MissingExtraError
        Without roifile.
    """
    del run, settings
    try:
        import roifile  # noqa: PLC0415  an extra
    except ImportError as error:
        raise MissingExtraError(
            "ROI sets are written by roifile, which is not installed. "
            "Install it with: pip install 'hpacells[export]'"
        ) from error

    def write(field: RunField, path: Path) -> None:
        with atomic_path(path) as temporary:
            rois = list(_make_rois(field, roifile))
            roifile.roiwrite(temporary, rois)

    return write


def _make_rois(field: RunField, roifile: Any) -> Iterator[Any]:
    masks = field.read_masks()
    boxes = find_objects(masks.cells)
    ids = field.cells["cell_id"].to_pylist()
    for cell_id, top in zip(ids, field.top_locations, strict=True):
        box = boxes[cell_id - 1]
        color = REJECTED_COLOR if top is None else STYLES[top].color
        for kind, plane, line in (
            ("cell", masks.cells, color),
            ("nucleus", masks.nuclei, REJECTED_COLOR),
        ):
            for i, outline in enumerate(_outer_rings(plane[box] == cell_id, box), start=1):
                roi = roifile.ImagejRoi.frompoints(outline)
                roi.name = f"{kind}_{cell_id}" + (f"_{i}" if i > 1 else "")
                roi.stroke_color = bytes((255, *hex_to_rgb(line)))
                yield roi


def _outer_rings(
    mask: npt.NDArray[np.bool_], box: tuple[slice, slice]
) -> Iterator[npt.NDArray[np.int32]]:
    for rings in trace_pixel_edges(mask, row=box[0].start, column=box[1].start):
        yield np.array(rings[0][:-1], np.int32)

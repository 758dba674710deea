"""Measure every cell of a field and say which can be judged: ok, border or rejected.

A cell is *rejected* when it is debris (smaller than a cell can be) or more than half outside the
frame (``segment.frame`` says how that is estimated), *border* when it touches the frame otherwise,
and *ok* in all other cases. Rejected cells keep their mask ids and their rows. Under another border
policy (``MeasureConfig.border``) no cell that touches the frame is rejected, however little of it
is to be seen, or the frame decides nothing at all. The ``qc_`` columns come from
``segment.quality``.
"""

from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from scipy import ndimage

from hpacells.core.cell_table import CELL_MEASURE_SCHEMA, CellStatus, CellTable
from hpacells.core.channels import Channel
from hpacells.core.errors import InputError
from hpacells.core.fov import FieldOfView
from hpacells.core.masks import CellMasks
from hpacells.segment.config import MeasureConfig
from hpacells.segment.frame import mostly_outside
from hpacells.segment.quality import flag_cells

__all__ = ["REASON_CUT", "REASON_OUTSIDE", "measure_cells"]

REASON_OUTSIDE = "more than half outside the frame"
REASON_CUT = "cut by the frame"
"""How the reason begins of a cell of which too little is in the picture."""

_BLOCK_PX = 1 << 22
"""Pixels that are counted at a time: positions take eight bytes each."""


def measure_cells(
    fov: FieldOfView, masks: CellMasks, config: MeasureConfig | None = None
) -> CellTable:
    """Measure each cell.

    Parameters
    ----------
    fov
        The field.
    masks
        Of the field's size; any ids, with or without gaps.
    config
        What counts as debris, what becomes of cells that the frame cuts, and from where on
        quality is flagged.

    Returns
    -------
    CellTable
        One row per id, ascending, with the columns of ``CELL_MEASURE_SCHEMA``: areas in µm²,
        grey values on the 8-bit scale, totals as sum of grey values times µm² per pixel. A cell
        without a nucleus has ``nucleus_area_um2`` and ``dna_total`` 0.

    Raises
    ------
    InputError
        When field and masks differ in size.
    """
    _check_size(fov, masks)
    config = config or MeasureConfig()
    pixel_um2 = fov.pixel_size_um**2
    to_8bit_scale = 255 / fov.max_value  # of the sums: rounding each pixel would lose dim stains
    cell_px, protein = _count_and_sum(masks.cells, fov.channel(Channel.PROTEIN))
    nucleus_px, dna = _count_and_sum(masks.nuclei, fov.channel(Channel.NUCLEUS))
    protein, dna = protein * to_8bit_scale, dna * to_8bit_scale
    ids = np.flatnonzero(cell_px)
    nucleus_px, dna = _pad_to(nucleus_px, len(cell_px)), _pad_to(dna, len(cell_px))
    boxes = _boxes(masks.cells, ids)
    touches = np.zeros(len(cell_px), np.bool_)
    touches[ids] = (boxes[:, :2] == 0).any(axis=1) | (boxes[:, 2:] == masks.cells.shape).any(axis=1)
    flags = flag_cells(
        fov,
        masks,
        touches=touches,
        cell_px=cell_px,
        nucleus_px=nucleus_px,
        config=config.quality,
    )
    outside = mostly_outside(masks.cells, masks.nuclei, touches)[ids]
    area = cell_px[ids] * pixel_um2
    nucleus_area = nucleus_px[ids] * pixel_um2
    status, reason = _judge(area, nucleus_area, touches[ids], outside, config)
    columns = {
        "fov_id": [fov.fov_id] * len(ids),
        "cell_id": ids.astype(np.int32),
        "status": status,
        "reason": reason,
        **{name: boxes[:, i] for i, name in enumerate(("r0", "c0", "r1", "c1"))},
        "area_um2": area.astype(np.float32),
        "nucleus_area_um2": nucleus_area.astype(np.float32),
        "protein_mean": (protein[ids] / cell_px[ids]).astype(np.float32),
        "protein_total": protein[ids] * pixel_um2,
        "dna_total": dna[ids] * pixel_um2,
        "touches_border": touches[ids],
        **flags,
    }
    return CellTable(pa.table(columns, schema=CELL_MEASURE_SCHEMA))


def _check_size(fov: FieldOfView, masks: CellMasks) -> None:
    if masks.cells.shape != (fov.height, fov.width):
        raise InputError(
            f"field {fov.fov_id}: expected masks of {fov.height} x {fov.width} pixels, "
            f"got {masks.cells.shape[0]} x {masks.cells.shape[1]}. Are they of another field?"
        )


def _count_and_sum(
    ids: npt.NDArray[np.int32], grey: npt.NDArray[np.uint8] | npt.NDArray[np.uint16]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    """Count the pixels of every id and sum their grey values, exactly; position = id, [0] = 0."""
    n = int(ids.max(initial=0)) + 1
    counts, sums = np.zeros(n, np.int64), np.zeros(n)
    rows = max(1, _BLOCK_PX // max(1, ids.shape[1]))
    for first in range(0, len(ids), rows):
        block = np.s_[first : first + rows]
        inside = np.flatnonzero(ids[block])
        owners = ids[block].ravel()[inside]
        counts += np.bincount(owners, minlength=n)
        # sums of whole numbers below 2**53 are exact in float64, in any order
        sums += np.bincount(owners, grey[block].ravel()[inside], n)
    return counts, sums


def _pad_to(values: npt.NDArray[Any], length: int) -> npt.NDArray[Any]:
    return np.pad(values, (0, length - len(values)))


def _boxes(cells: npt.NDArray[np.int32], ids: npt.NDArray[np.integer]) -> npt.NDArray[np.int32]:
    """Give half-open boxes ``(N, 4)``: r0, c0, r1, c1."""
    slices = ndimage.find_objects(cells)
    corners = [
        (rows.start, columns.start, rows.stop, columns.stop)
        for rows, columns in (slices[cell_id - 1] for cell_id in ids)
    ]
    return np.array(corners, np.int32).reshape(-1, 4)


def _judge(
    area_um2: npt.NDArray[np.floating],
    nucleus_um2: npt.NDArray[np.floating],
    touches: npt.NDArray[np.bool_],
    outside: npt.NDArray[np.bool_],
    config: MeasureConfig,
) -> tuple[list[str], list[str | None]]:
    """Give each cell its status and, where rejected, why."""
    has_nuclei = bool((nucleus_um2 > 0).any())
    small = area_um2 < config.min_cell_um2
    bare = (nucleus_um2 == 0) & (area_um2 < config.min_bare_cell_um2) & has_nuclei
    status: list[str] = []
    reason: list[str | None] = []
    for i in range(len(area_um2)):
        why = None
        what = REASON_CUT if touches[i] else "debris"
        if touches[i] and config.border != "reject":
            pass  # how large it is cannot be known
        elif outside[i]:
            why = REASON_OUTSIDE
        elif small[i]:
            why = f"{what}: smaller than {config.min_cell_um2:g} µm²"
        elif bare[i]:
            why = f"{what}: no nucleus and smaller than {config.min_bare_cell_um2:g} µm²"
        judged = CellStatus.BORDER if touches[i] and config.border != "keep" else CellStatus.OK
        status.append((CellStatus.REJECTED if why else judged).value)
        reason.append(why)
    return status, reason

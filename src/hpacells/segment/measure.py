"""Measure every cell of a field and say which can be judged: ok, border or rejected.

A cell is *rejected* when it is debris (smaller than a cell can be) or all but certainly more than
half outside the frame (``segment.frame`` estimates the chance), *border* when it touches the frame
otherwise, and *ok* in all other cases. Rejected cells keep their mask ids and their rows. Under
another border policy (``MeasureConfig.border``) no cell that touches the frame is rejected, however
little of it is to be seen, or the frame decides nothing at all. The ``qc_`` columns come from
``segment.quality``.
"""

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from hpacells.core.cell_table import CELL_MEASURE_SCHEMA, CellStatus, CellTable
from hpacells.core.channels import Channel
from hpacells.core.errors import InputError
from hpacells.core.fov import FieldOfView
from hpacells.core.id_statistics import boxes_of_ids, pixels_of_ids, sum_over_ids
from hpacells.core.masks import CellMasks
from hpacells.segment.config import MeasureConfig
from hpacells.segment.frame import chance_inside
from hpacells.segment.quality import flag_cells

__all__ = ["REASON_CUT", "REASON_OUTSIDE", "measure_cells"]

REASON_OUTSIDE = "more than half outside the frame"
REASON_CUT = "cut by the frame"
"""How the reason begins of a cell of which too little is in the picture."""


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
    n = int(masks.cell_ids.max(initial=0)) + 1
    cell_px, nucleus_px = (pixels_of_ids(r, n) for r in (masks.cell_runs, masks.nucleus_runs))
    protein = sum_over_ids(masks.cell_runs, fov.channel(Channel.PROTEIN), n) * to_8bit_scale
    dna = sum_over_ids(masks.nucleus_runs, fov.channel(Channel.NUCLEUS), n) * to_8bit_scale
    ids = np.flatnonzero(cell_px)
    boxes = boxes_of_ids(masks.cell_runs, n)[ids]
    touches = np.zeros(n, np.bool_)
    touches[ids] = (boxes[:, :2] == 0).any(axis=1) | (boxes[:, 2:] == masks.cells.shape).any(axis=1)
    flags = flag_cells(
        fov,
        masks,
        touches=touches,
        cell_px=cell_px,
        nucleus_px=nucleus_px,
        config=config.quality,
    )
    inside = chance_inside(masks)[ids]
    area = cell_px[ids] * pixel_um2
    nucleus_area = nucleus_px[ids] * pixel_um2
    status, reason = _judge(area, nucleus_area, touches[ids], inside, config)
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
        "chance_inside": inside.astype(np.float32),
        **flags,
    }
    return CellTable(pa.table(columns, schema=CELL_MEASURE_SCHEMA))


def _check_size(fov: FieldOfView, masks: CellMasks) -> None:
    if masks.cells.shape != (fov.height, fov.width):
        raise InputError(
            f"field {fov.fov_id}: expected masks of {fov.height} x {fov.width} pixels, "
            f"got {masks.cells.shape[0]} x {masks.cells.shape[1]}. Are they of another field?"
        )


def _judge(
    area_um2: npt.NDArray[np.floating],
    nucleus_um2: npt.NDArray[np.floating],
    touches: npt.NDArray[np.bool_],
    inside: npt.NDArray[np.float64],
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
        elif inside[i] < config.min_chance_inside:
            why = REASON_OUTSIDE
        elif small[i]:
            why = f"{what}: smaller than {config.min_cell_um2:g} µm²"
        elif bare[i]:
            why = f"{what}: no nucleus and smaller than {config.min_bare_cell_um2:g} µm²"
        judged = CellStatus.BORDER if touches[i] and config.border != "keep" else CellStatus.OK
        status.append((CellStatus.REJECTED if why else judged).value)
        reason.append(why)
    return status, reason

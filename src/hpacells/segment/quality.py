"""What may be wrong with each cell: the ``qc_`` columns of the cells table.

Flags inform, they decide nothing: a flagged cell keeps its status and its scores. Every threshold
is in ``QualityConfig``, in µm or as a share, with how it was chosen. All cells get all flags,
rejected ones too.
"""

from math import ceil

import numpy as np
import numpy.typing as npt

from hpacells.core.cell_table import CELL_QUALITY_COLUMNS
from hpacells.core.channels import CHANNELS, Channel
from hpacells.core.fov import FieldOfView
from hpacells.core.masks import CellMasks
from hpacells.segment.config import QualityConfig
from hpacells.segment.merges import find_merges
from hpacells.segment.sharpness import measure_sharpness

__all__ = ["area_outliers", "flag_cells", "saturated_cells"]

_Flags = npt.NDArray[np.bool_]
_Counts = npt.NDArray[np.int64]


def flag_cells(
    fov: FieldOfView,
    masks: CellMasks,
    *,
    touches: _Flags,
    cell_px: _Counts,
    nucleus_px: _Counts,
    config: QualityConfig,
) -> dict[str, _Flags]:
    """Judge the quality of every cell.

    Parameters
    ----------
    fov
        The field.
    masks
        Of the field's size.
    touches
        ``(M,)`` bool, position = cell id: cells that touch the frame.
    cell_px, nucleus_px
        ``(M,)`` pixels of every cell and of its nucleus; 0 for ids that are not there.
    config
        The thresholds.

    Returns
    -------
    dict
        Per name of ``CELL_QUALITY_COLUMNS`` ``(N,)`` bool, one per id, ascending:

        - ``qc_cut_by_border``: the cell touches the frame;
        - ``qc_area_outlier``: too small or too large for a cell, or for this field's cells;
        - ``qc_out_of_focus``: microtubules and ER both lack fine structure;
        - ``qc_saturated``: a stain is at its full scale in much of the cell;
        - ``qc_no_nucleus``: no nucleus was found in it;
        - ``qc_suspected_merge``: its nuclei lie as in two cells.
    """
    ids = np.flatnonzero(cell_px)
    area_um2 = cell_px[ids] * fov.pixel_size_um**2
    is_whole = (nucleus_px[ids] > 0) & ~touches[ids]
    sharpness = measure_sharpness(fov, masks, config, enough=config.min_sharpness)[ids]
    flags = (
        touches[ids],
        area_outliers(area_um2, is_whole, touches[ids], config=config),
        sharpness < config.min_sharpness,  # NaN, not judged, is never below
        saturated_cells(fov, masks, cell_px=cell_px, nucleus_px=nucleus_px, config=config)[ids],
        nucleus_px[ids] == 0,
        find_merges(masks, config)[ids],
    )
    return dict(zip(CELL_QUALITY_COLUMNS, flags, strict=True))


def area_outliers(
    area_um2: npt.NDArray[np.floating],
    is_whole: _Flags,
    touches: _Flags,
    *,
    config: QualityConfig,
) -> _Flags:
    """Say whose area is out of the ordinary.

    Parameters
    ----------
    area_um2
        ``(N,)`` in µm².
    is_whole
        ``(N,)``: cells that the others are compared with.
    touches
        ``(N,)``: cells that the frame cuts; they can only be too large.
    config
        The limits.

    Returns
    -------
    ndarray
        ``(N,)`` bool.

    Notes
    -----
    Areas are compared as logarithms: those of one line are about log-normal (HPA.md §9, 10th and
    90th percentile about as far below as above the median). The spread is 1.4826 times the median
    absolute deviation.
    """
    least, most = config.area_range_um2
    small, large = area_um2 < least, area_um2 > most
    reference = np.log(area_um2[is_whole & ~small & ~large])
    if len(reference) >= config.min_reference_cells:
        middle = np.median(reference)
        spread = 1.4826 * np.median(np.abs(reference - middle))
        reach = config.area_spreads * max(float(spread), config.min_area_spread)
        logs = np.log(area_um2)
        small |= logs < middle - reach
        large |= logs > middle + reach
    outliers: _Flags = large | (small & ~touches)
    return outliers


def saturated_cells(
    fov: FieldOfView,
    masks: CellMasks,
    *,
    cell_px: _Counts,
    nucleus_px: _Counts,
    config: QualityConfig,
) -> _Flags:
    """Say which cells have a stain at its full scale in much of them.

    Parameters
    ----------
    fov, masks
        The field and its cells.
    cell_px, nucleus_px
        As for ``flag_cells``.
    config
        The thresholds.

    Returns
    -------
    ndarray
        ``(M,)`` bool, position = cell id. The nucleus stain is judged inside the nucleus alone.
    """
    n = len(cell_px)
    level = max(1, ceil(config.saturation_level * fov.max_value))
    saturated = np.zeros(n, np.bool_)
    for stain in CHANNELS:
        is_dna = stain is Channel.NUCLEUS
        if fov.channel(stain).max() < level:
            continue
        bright = np.flatnonzero(fov.channel(stain) >= level)
        owners = (masks.nuclei if is_dna else masks.cells).ravel()[bright]
        counts = np.bincount(owners, minlength=n)
        if is_dna:
            saturated |= counts > config.max_saturated_nucleus * nucleus_px
        else:
            saturated |= counts > config.max_saturated_share * cell_px
    saturated[0] = False
    return saturated

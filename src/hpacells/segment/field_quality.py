"""What may be wrong with a field as a whole: no cells, a stain that shows nothing, an exchange.

Like the flags of cells these inform and decide nothing: the field is done. They stand in the
``qc_`` columns of the fields table, and ``reason`` says in words what they mean for this field.
"""

from dataclasses import dataclass

import numpy as np

from hpacells.core.cell_table import FIELD_QUALITY_COLUMNS, CellStatus, CellTable
from hpacells.core.channels import CHANNELS, Channel
from hpacells.core.fov import FieldOfView
from hpacells.runtime.segmenter_folder import MAP_STAINS
from hpacells.segment.config import QualityConfig
from hpacells.segment.resolution import WorkingScale
from hpacells.segment.stain_input import shows_structure
from hpacells.segment.stain_swap import find_misplaced_nuclei

__all__ = ["FieldQuality", "find_constant_stains", "find_empty_stains", "judge_field"]

_HOT_SHARE = 1e-4
"""A stain is constant also where up to this share of its pixels (hot ones, dust) differ."""

_EMPTY_PIXEL_UM = 0.32
"""Pixel size that stains without structure are looked for at: that of the ``unet`` segmenter."""

_PROBE_PX = 10_000
"""About as many pixels tell the grey value that a constant stain would have."""


@dataclass(frozen=True, kw_only=True)
class FieldQuality:
    """What was found wrong with one field.

    Parameters
    ----------
    no_cells
        No cell that counts: none at all, or rejected ones only.
    constant
        Stains that have one grey value everywhere.
    empty
        Stains that vary, but show nothing of the size of cells.
    nuclei_in
        The stain that the nuclei stand in, where that is not the nucleus stain.
    """

    no_cells: bool
    constant: tuple[Channel, ...] = ()
    empty: tuple[Channel, ...] = ()
    nuclei_in: Channel | None = None

    @property
    def reason(self) -> str | None:
        """All of it in one line; None where nothing is wrong."""
        said = []
        if self.no_cells:
            said.append("no cells found")
        if self.constant:
            names = ", ".join(stain.value for stain in self.constant)
            said.append(f"constant stain: {names}")
        if self.empty:
            names = ", ".join(stain.value for stain in self.empty)
            said.append(f"stain without structure: {names}")
        if self.nuclei_in is not None:
            said.append(
                f"stains look swapped: nuclei in {self.nuclei_in.value}, "
                f"not in {Channel.NUCLEUS.value}"
            )
        return "; ".join(said) or None

    def columns(self) -> dict[str, object]:
        """Give the ``qc_`` columns and ``reason`` of the fields table."""
        flags = (self.no_cells, bool(self.constant or self.empty), self.nuclei_in is not None)
        return {**dict(zip(FIELD_QUALITY_COLUMNS, flags, strict=True)), "reason": self.reason}


def judge_field(
    fov: FieldOfView, cells: CellTable, config: QualityConfig | None = None
) -> FieldQuality:
    """Judge a field after its cells were measured.

    Parameters
    ----------
    fov
        The field.
    cells
        Its cells.
    config
        The thresholds.

    Returns
    -------
    FieldQuality
        Where the nucleus stain shows nothing, nothing is said of exchanged stains.
    """
    constant = find_constant_stains(fov)
    empty = tuple(stain for stain in find_empty_stains(fov) if stain not in constant)
    counted = cells.count(CellStatus.OK) + cells.count(CellStatus.BORDER)
    shows_nuclei = Channel.NUCLEUS not in (*constant, *empty)
    misplaced = find_misplaced_nuclei(fov, config) if shows_nuclei else None
    return FieldQuality(no_cells=counted == 0, constant=constant, empty=empty, nuclei_in=misplaced)


def find_constant_stains(fov: FieldOfView) -> tuple[Channel, ...]:
    """Name the stains that have one grey value everywhere, but for a few hot pixels.

    A stain that holds only noise isn't constant. An image of few pixels is constant only where
    all of them are the same; one of a single pixel always is.
    """
    return tuple(stain for stain in CHANNELS if _is_constant(fov.channel(stain)))


def find_empty_stains(fov: FieldOfView) -> tuple[Channel, ...]:
    """Name the stains that show nothing of the size of cells: noise, a constant, uneven light.

    Only those that cells are outlined by: a protein may be nowhere.
    """
    shape, pixel_um = (fov.height, fov.width), fov.pixel_size_um
    grid = WorkingScale.of_field(shape, pixel_um, _EMPTY_PIXEL_UM)
    return tuple(
        stain for stain in CHANNELS if stain in MAP_STAINS and not shows_structure(fov, stain, grid)
    )


def _is_constant(stain: np.ndarray) -> bool:
    step = max(1, stain.size // _PROBE_PX)
    values, counts = np.unique(stain.ravel()[::step], return_counts=True)
    if counts.sum() - counts.max() > _HOT_SHARE * stain.size:
        return False  # so many differ among those few already
    differing = stain.size - int(np.count_nonzero(stain == values[counts.argmax()]))
    return differing <= _HOT_SHARE * stain.size

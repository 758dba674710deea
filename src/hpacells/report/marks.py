"""How each cell of a field is marked: the colour, width and name of its outline.

The page and the figures both take it from here, so a cell looks the same in both.
"""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from hpacells.core.cell_table import PROBABILITY_COLUMNS, CellStatus
from hpacells.core.palette import REJECTED_COLOR, STYLES, lighten

__all__ = ["CellMark", "mark_cells", "rank_locations"]


@dataclass(frozen=True)
class CellMark:
    """The look of one cell's outline; ``name`` is empty for a rejected cell."""

    status: CellStatus
    color: str
    name: str

    @property
    def width(self) -> float:
        """Width of the line in pixels of a preview: cells cut by the border are drawn thinner."""
        return 2.0 if self.status is CellStatus.OK else 1.2

    @property
    def name_color(self) -> str:
        """Colour of the name: lighter than the line, so that it can be read on a dark picture."""
        return lighten(self.color)

    @property
    def is_dashed(self) -> bool:
        """Whether the line is broken, as that of a rejected cell is."""
        return self.status is CellStatus.REJECTED


def mark_cells(cells: pa.Table) -> dict[int, CellMark]:
    """Decide the mark of every cell of one field.

    Parameters
    ----------
    cells
        Rows of ``CELL_SCHEMA``.

    Returns
    -------
    dict
        Cell id → mark; the colour is that of the location with the highest cell score
        (ties: the first in the vocabulary).
    """
    scores = np.column_stack([cells[name].to_numpy() for name in PROBABILITY_COLUMNS])
    marks = {}
    for cell_id, status, top in zip(
        cells["cell_id"].to_pylist(), cells["status"].to_pylist(), scores.argmax(1), strict=True
    ):
        style = STYLES[int(top)]
        if status == CellStatus.REJECTED:
            marks[cell_id] = CellMark(CellStatus.REJECTED, REJECTED_COLOR, "")
        else:
            marks[cell_id] = CellMark(CellStatus(status), style.color, style.short)
    return marks


def rank_locations(scores: list[float], min_score: float, at_least: int) -> list[tuple[int, float]]:
    """List (class id, score) by falling score.

    Parameters
    ----------
    scores
        One per location, in the order of the vocabulary.
    min_score
        Locations from this score on are listed …
    at_least
        … and this many in any case. Ties: the first in the vocabulary first.
    """
    ranked = sorted(enumerate(scores), key=lambda item: (-item[1], item[0]))
    n_above = sum(score >= min_score for score in scores)
    return ranked[: max(n_above, at_least)]

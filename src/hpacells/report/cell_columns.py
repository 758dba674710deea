"""The cells of a page as columns, for the page's script: cards, gallery, map and table.

One list per column keeps the file small: a cell takes about 200 bytes.
"""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from hpacells.core.cell_table import PROBABILITY_COLUMNS, CellStatus
from hpacells.report.cell_map import draw_map, read_embeddings
from hpacells.report.config import ReportSettings
from hpacells.report.field_pictures import fit_preview, list_notes, name_flags
from hpacells.report.run_tables import FieldRow, read_outliers

__all__ = ["gather_cells"]

_ROUNDED = {
    "area_um2": 1,
    "nucleus_area_um2": 1,
    "protein_mean": 1,
    "protein_total": 0,
    "dna_total": 0,
    "doubt": 3,
}


def gather_cells(
    run_folder: Path,
    fields: list[tuple[FieldRow, pa.Table]],
    settings: ReportSettings,
) -> dict[str, Any]:
    """Gather the cells of a page.

    Parameters
    ----------
    run_folder
        With ``embeddings.parquet`` where the map is to show something.
    fields
        The page's fields in its order, each with its cells.
    settings
        How the map is drawn.

    Returns
    -------
    dict
        Columns of the same length: ``field`` (place in ``fields``), ``cell_id``, ``status``,
        ``note`` (reason and quality flags), ``box`` ([x0, y0, x1, y1] in pixels of the preview),
        the measures, ``p`` (one column per location, in thousandths), ``place`` ([x, y] on the map
        in thousandths of its width, or null), ``outlier`` (in what the cell stands out, or "");
        and ``map_note``, a sentence.

    Raises
    ------
    InputError
        When ``embeddings.parquet`` is damaged.
    MissingExtraError
        As ``cell_map.draw_map``.
    """
    columns: dict[str, Any] = {
        name: [] for name in ("field", "cell_id", "status", "note", "box", *_ROUNDED)
    }
    scores = [np.zeros((0, len(PROBABILITY_COLUMNS)))]
    for index, (row, cells) in enumerate(fields):
        columns["field"] += [index] * cells.num_rows
        for name in ("cell_id", "status"):
            columns[name] += cells[name].to_pylist()
        columns["note"] += [
            "; ".join(filter(None, (cell["reason"], name_flags(cell))))
            for cell in list_notes(cells)
        ]
        columns["box"] += _scale_boxes(row, cells).tolist()
        for name, digits in _ROUNDED.items():
            columns[name] += [round(value, digits) for value in cells[name].to_pylist()]
        scores.append(np.column_stack([cells[name].to_numpy() for name in PROBABILITY_COLUMNS]))
    thousandths = np.rint(np.concatenate(scores) * 1000).astype(int)
    columns["p"] = thousandths.T.tolist()
    fov_ids = [row.fov_id for row, _ in fields]
    outliers = read_outliers(run_folder, set(fov_ids))
    keys = [(fov_ids[i], c) for i, c in zip(columns["field"], columns["cell_id"], strict=True)]
    columns["outlier"] = [outliers.get(key, "") for key in keys]
    columns["place"], columns["map_note"] = _place_cells(
        read_embeddings(run_folder, fov_ids), keys, columns["status"], settings
    )
    return columns


def _scale_boxes(row: FieldRow, cells: pa.Table) -> npt.NDArray[np.float64]:
    height, width = fit_preview(row)
    x_scale, y_scale = width / max(row.width, 1), height / max(row.height, 1)
    sides = [("c0", x_scale), ("r0", y_scale), ("c1", x_scale), ("r1", y_scale)]
    return np.column_stack([np.round(cells[name].to_numpy() * scale, 1) for name, scale in sides])


def _place_cells(
    vectors: dict[tuple[str, int], npt.NDArray[np.float32]],
    keys: list[tuple[str, int]],
    status: list[str],
    settings: ReportSettings,
) -> tuple[list[list[int] | None], str]:
    """Put the usable cells on the map; it keeps the proportions of the two axes."""
    places: list[list[int] | None] = [None] * len(keys)
    if not vectors:
        return places, "The run has no embeddings of these cells, so there is no map."
    shown = [
        at for at, key in enumerate(keys) if status[at] != CellStatus.REJECTED and key in vectors
    ]
    drawn = draw_map(np.array([vectors[keys[at]] for at in shown]), settings.map)
    if drawn.places is not None:
        low = drawn.places.min(axis=0)
        span = float(np.ptp(drawn.places, axis=0).max()) or 1.0
        for at, place in zip(shown, np.rint((drawn.places - low) / span * 1000), strict=True):
            places[at] = [int(place[0]), int(place[1])]
    return places, drawn.note

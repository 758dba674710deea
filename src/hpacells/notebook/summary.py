"""A run as a small HTML table, for a notebook; every name in it is escaped."""

from collections import Counter
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from markupsafe import Markup

from hpacells.core.cell_table import IMAGE_COLUMNS, PROBABILITY_COLUMNS, CellStatus
from hpacells.core.locations import LOCATIONS
from hpacells.core.palette import STYLES

__all__ = ["summarise_run"]

_SHOWN_FIELDS, _SHOWN_LOCATIONS = 8, 6
_COLUMNS = ("field", "gene", "cell line", "cells", "cut", "rejected", "image locations")
_DOT = Markup(
    '<span style="background:{};border:1px solid #555;border-radius:50%;display:inline-block;'
    'width:.7em;height:.7em"></span> {}'
)


def summarise_run(name: str, fields: pa.Table, cells: pa.Table, provenance: dict[str, Any]) -> str:
    """Write what a run came to.

    Parameters
    ----------
    name
        Of its folder.
    fields, cells
        Its tables.
    provenance
        The content of ``run.json``.

    Returns
    -------
    str
        HTML of a few lines: counts, the cells' locations, the first fields.
    """
    counts = Counter(cells["status"].to_pylist())
    n_failed = fields.num_rows - int(pc.sum(pc.equal(fields["status"], "done")).as_py() or 0)
    head = Markup(
        "<p><b>{}</b>: {} fields{}, {} whole cells, {} cut by the frame, {} rejected; model {}</p>"
    ).format(
        name,
        fields.num_rows,
        f" ({n_failed} failed)" if n_failed else "",
        *(counts[status.value] for status in CellStatus),
        provenance.get("model_id", "unknown"),
    )
    rows = Markup("").join(_row(row) for row in fields.slice(0, _SHOWN_FIELDS).to_pylist())
    titles = Markup("").join(Markup("<th>{}</th>").format(title) for title in _COLUMNS)
    hidden = fields.num_rows - _SHOWN_FIELDS
    more = Markup("<p>… and {} more fields</p>").format(hidden) if hidden > 0 else ""
    table = Markup("<table><thead><tr>{}</tr></thead><tbody>{}</tbody></table>")
    return str(head + _tell_locations(cells) + table.format(titles, rows) + more)


def _tell_locations(cells: pa.Table) -> Markup:
    """Count the cells by the location of their highest score."""
    kept = cells.filter(pc.not_equal(cells["status"], CellStatus.REJECTED.value))
    if not kept.num_rows:
        return Markup("")
    scores = np.column_stack([kept[name].to_numpy() for name in PROBABILITY_COLUMNS])
    counted = Counter(scores.argmax(axis=1).tolist()).most_common()
    told = [
        _DOT.format(STYLES[k].color, f"{LOCATIONS[k].title} {n}")
        for k, n in counted[:_SHOWN_LOCATIONS]
    ]
    rest = sum(n for _, n in counted[_SHOWN_LOCATIONS:])
    return Markup("<p>{}</p>").format(
        Markup(" &nbsp; ").join([*told, *([f"others {rest}"] if rest else [])])
    )


def _row(row: dict[str, Any]) -> Markup:
    if row["status"] == "done":
        scores = [row[name] or 0.0 for name in IMAGE_COLUMNS]
        best = sorted(range(len(scores)), key=lambda k: -scores[k])[:2]
        shown = ", ".join(f"{LOCATIONS[k].title} {scores[k]:.2f}" for k in best)
    else:
        shown = f"failed: {row['reason']}"
    counts = (row["n_ok"], row["n_border"], row["n_rejected"])
    values = (row["fov_id"], row["gene"] or "", row["cell_line"] or "", *counts, shown)
    cells = Markup("").join(Markup("<td>{}</td>").format(value) for value in values)
    return Markup("<tr>{}</tr>").format(cells)

"""A picture of a run's variation: each field's effect against what the null leaves to chance.

Two panels, spatial and intensity. Across: cells of the field. Up: the effect in doublings (the
score where there is no null). Fields with q < 0.05 are filled, the others open, and the most
variable ones are named; colour says nothing that shape does not.
"""

from pathlib import Path
from typing import Any

import pyarrow as pa
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from hpacells.core.storage import atomic_path
from hpacells.variation.null import KINDS

__all__ = ["PLOT_FILE", "write_plot"]

PLOT_FILE = "variation.png"

_NAMED = 3
_FOUND_Q = 0.05
_COLOURS = {"spatial": "#0072B2", "intensity": "#D55E00"}  # colour-blind safe (Okabe and Ito)


def write_plot(run_folder: Path, variation: pa.Table) -> Path:
    """Draw the fields of a variation table into ``variation.png``.

    Parameters
    ----------
    run_folder
        Where the picture goes.
    variation
        As ``variation.scores`` makes it; panels stay empty, saying so, where nothing is scored.

    Returns
    -------
    Path
        Of the picture.
    """
    fields = [row for row in variation.to_pylist() if row["level"] == "field"]
    figure = Figure(figsize=(9, 3.8), layout="constrained")
    FigureCanvasAgg(figure)
    for axes, kind in zip(figure.subplots(1, len(KINDS)), KINDS, strict=True):
        _draw(axes, kind, fields)
    with atomic_path(run_folder / PLOT_FILE) as temporary:
        figure.savefig(temporary, dpi=150)
    return run_folder / PLOT_FILE


def _draw(axes: Axes, kind: str, fields: list[dict[str, Any]]) -> None:
    judged = any(row[f"{kind}_p"] is not None for row in fields)
    value = f"{kind}_effect" if judged else f"{kind}_score"
    shown = [row for row in fields if row[value] is not None]
    axes.set_title(f"{kind} variation")
    axes.set_xlabel("cells of the field")
    axes.set_ylabel("effect (doublings above the null)" if judged else "score (no null: no p)")
    axes.spines[["top", "right"]].set_visible(False)
    if not shown:
        axes.set(xticks=[], yticks=[])
        axes.text(0.5, 0.5, "no field has enough cells", ha="center", transform=axes.transAxes)
        return
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    for found in (False, True):
        rows = [r for r in shown if found == (judged and r[f"{kind}_q"] < _FOUND_Q)]
        if rows:
            axes.scatter(
                [row["n_cells"] for row in rows],
                [row[value] for row in rows],
                s=22,
                facecolors=_COLOURS[kind] if found else "none",
                edgecolors=_COLOURS[kind],
                linewidths=0.9,
                label=f"{len(rows)} with q {'<' if found else '≥'} {_FOUND_Q}" if judged else None,
            )
    if judged:
        axes.axhline(0, color="0.6", linewidth=0.8, zorder=0)
        axes.legend(frameon=False, fontsize=8, loc="best")
    shown.sort(key=lambda row: (-row[value], row["id"]))
    for row in shown[:_NAMED]:
        axes.annotate(
            row["id"].replace("$", r"\$"),  # no formulas
            (row["n_cells"], row[value]),
            xytext=(4, 3),
            textcoords="offset points",
            fontsize=7,
        )

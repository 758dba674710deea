"""``hpacells variation``: how the cells of a field differ, from a run folder."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from hpacells.cli.progress import show_progress
from hpacells.core.errors import InputError
from hpacells.core.storage import output_lock
from hpacells.variation.config import VariationConfig
from hpacells.variation.scores import NEGATIVE_ONLY_KEY, write_variation

app = typer.Typer(add_completion=False, rich_markup_mode=None)

_FEW_CELLS = 10


@app.command()
def variation(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A run folder.")],
    top: Annotated[int, typer.Option(min=0, help="Fields to print of each kind.")] = 5,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the intervals.")] = 0,
) -> None:
    """How the cells of a field differ, from a run folder.

    Spatial variation (how far the cells' locations differ, Negative removed) and intensity
    variation (how unequal the protein's amount is) are scored apart, for each field, gene and cell
    line, with an interval over cells, and written to RUN/variation.parquet.

    Example: hpacells variation RUN --top 10
    """
    if not run.is_dir():
        raise InputError(f"{run}: expected a run folder, found none. Make one with 'hpacells run'.")
    with output_lock(run), show_progress("scoring variation") as progress:
        table = write_variation(run, VariationConfig(seed=seed), progress=progress)
    notes = json.loads(table.schema.metadata[NEGATIVE_ONLY_KEY])
    rows = [row for row in table.to_pylist() if row["level"] == "field"]
    for kind in ("spatial", "intensity"):
        _print_top(rows, kind, top)
    few = sum(row["n_cells"] < _FEW_CELLS for row in rows)
    typer.echo(
        f"{len(rows)} fields, {few} of them with fewer than {_FEW_CELLS} cells (read their scores "
        f"with care; below {notes['min_cells']} cells: none). "
        f"{notes['negative_only_cells']} cells with no location but Negative left out of spatial."
    )
    typer.echo(
        f"Scores written to {run / 'variation.parquet'}. They have no p and q yet: a high score "
        "can also be the classifier's own error. Next: hpacells report"
    )


def _print_top(rows: list[dict[str, Any]], kind: str, top: int) -> None:
    """Print the most variable fields of one kind; ties by id."""
    scored = [row for row in rows if row[f"{kind}_score"] is not None]
    scored.sort(key=lambda row: (-row[f"{kind}_score"], row["id"]))
    if not scored[:top]:
        return
    width = max(len(row["id"]) for row in scored[:top])
    typer.echo(f"most variable, {kind}:")
    typer.echo(f"  {'field':<{width}}  cells  score  effect  interval")
    for row in scored[:top]:
        typer.echo(
            f"  {row['id']:<{width}}  {row['n_cells']:>5}  {row[f'{kind}_score']:>5.3f}  "
            f"{row[f'{kind}_effect']:>+6.3f}  {row[f'{kind}_low']:.3f} to {row[f'{kind}_high']:.3f}"
        )

"""``hpacells variation``: how the cells of a field differ, from a run folder."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from hpacells.cli.progress import show_progress
from hpacells.core.errors import InputError
from hpacells.core.storage import output_lock
from hpacells.variation.associations import ASSOCIATIONS_FILE, write_associations
from hpacells.variation.atlas_flags import ATLAS_FILE, Agreement, compare_with_atlas
from hpacells.variation.config import VariationConfig
from hpacells.variation.null import KINDS
from hpacells.variation.outliers import OUTLIERS_FILE, write_outliers
from hpacells.variation.plot import PLOT_FILE, write_plot
from hpacells.variation.scores import NOTES_KEY, write_variation

app = typer.Typer(add_completion=False, rich_markup_mode=None)

_FEW_CELLS = 12
_FOUND_Q = 0.05


@app.command()
def variation(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A run folder.")],
    top: Annotated[int, typer.Option(min=0, help="Fields to print of each kind.")] = 5,
    seed: Annotated[int, typer.Option(min=0, help="Seed of intervals and permutations.")] = 0,
    atlas: Annotated[
        Path | None,
        typer.Option(
            metavar="TABLE",
            help="The atlas's subcellular_location.tsv: compare its flags with the run's genes.",
        ),
    ] = None,
) -> None:
    """How the cells of a field differ, from a run folder.

    Spatial variation (how far the cells' locations differ, Negative removed) and intensity
    variation (how unequal the protein's amount is) are scored apart, for each field, gene and cell
    line, with an interval over cells. p says how often classifier error and ordinary scatter make
    cells differ as much, q the same after correction for the number of fields.

    Written to RUN: variation.parquet, the outlier cells (variation_outliers.parquet), associations
    with nucleus size and DNA content (variation_associations.parquet) and a plot (variation.png).

    Example: hpacells variation RUN --top 10

    Example: hpacells variation RUN --atlas subcellular_location.tsv
    """
    if not run.is_dir():
        raise InputError(f"{run}: expected a run folder, found none. Make one with 'hpacells run'.")
    config = VariationConfig(seed=seed)
    with output_lock(run):
        _require_finished(run)
        with show_progress("scoring variation") as progress:
            table = write_variation(run, config, progress=progress)
        outliers = write_outliers(run, config)
        associations = write_associations(run, config)
        write_plot(run, table)
        agreements = compare_with_atlas(run, table, atlas) if atlas is not None else []
    notes = json.loads(table.schema.metadata[NOTES_KEY])
    rows = [row for row in table.to_pylist() if row["level"] == "field"]
    for kind in KINDS:
        _print_top(rows, kind, top)
    _print_counts(rows, notes)
    n_found = sum(
        row["q"] < _FOUND_Q and row["level"] == "field" for row in associations.to_pylist()
    )
    typer.echo(
        f"{outliers.num_rows} outlier cells ({OUTLIERS_FILE}), {n_found} associations of fields "
        f"with nucleus size or DNA content at q < {_FOUND_Q} ({ASSOCIATIONS_FILE})."
    )
    for agreement in agreements:
        _print_agreement(agreement)
    if notes["no_p"]:
        typer.echo(f"warning: {notes['no_p']}", err=True)
    typer.echo(
        f"Scores written to {run / 'variation.parquet'}, plot to {run / PLOT_FILE}. "
        "Next: hpacells report"
    )


def _require_finished(run: Path) -> None:
    if (run / "settings.json").is_file() and not (run / "run.json").is_file():
        raise InputError(
            f"{run}: expected a finished run, there is no run.json. The same 'hpacells run' "
            "continues it."
        )


def _print_top(rows: list[dict[str, Any]], kind: str, top: int) -> None:
    """Print the most variable fields of one kind: by p where there is one, then by score."""
    scored = [row for row in rows if row[f"{kind}_score"] is not None]
    scored.sort(key=lambda row: (row[f"{kind}_p"] or 0.0, -row[f"{kind}_score"], row["id"]))
    if not scored[:top]:
        return
    width = max(len(row["id"]) for row in scored[:top])
    typer.echo(f"most variable, {kind}:")
    typer.echo(f"  {'field':<{width}}  cells  score  interval         effect      p      q")
    for row in scored[:top]:
        judged = [row[f"{kind}_{name}"] for name in ("effect", "p", "q")]
        shown = "     -      -      -"
        if None not in judged:
            shown = "{:>+6.2f}  {:>5.2g}  {:>5.2g}".format(*judged)
        typer.echo(
            f"  {row['id']:<{width}}  {row['n_cells']:>5}  {row[f'{kind}_score']:>5.3f}  "
            f"{row[f'{kind}_low']:.3f} to {row[f'{kind}_high']:.3f}  {shown}"
        )


def _print_counts(rows: list[dict[str, Any]], notes: dict[str, Any]) -> None:
    few = sum(row["n_cells"] < _FEW_CELLS for row in rows)
    typer.echo(
        f"{len(rows)} fields, {few} of them with fewer than {_FEW_CELLS} cells that count (read "
        f"their scores with care; below {notes['min_cells']} cells: none). "
        f"{notes['negative_only_cells']} cells with no location but Negative left out of spatial."
    )
    if not notes["no_p"]:
        found = [
            f"{sum((row[f'{kind}_q'] or 1) < _FOUND_Q for row in rows)} {kind}" for kind in KINDS
        ]
        typer.echo(f"Fields that vary at q < {_FOUND_Q}: {', '.join(found)}.")


def _print_agreement(agreement: Agreement) -> None:
    auc = "-" if agreement.auc is None else f"{agreement.auc:.3f}"
    typer.echo(
        f"atlas, {agreement.kind}: {agreement.n} genes, {agreement.n_flagged} flagged, area under "
        f"the ROC curve {auc}; {agreement.n_found} at q < {_FOUND_Q}, of them "
        f"{agreement.n_found_flagged} flagged ({ATLAS_FILE})."
    )

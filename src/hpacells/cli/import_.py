"""``hpacells import``: corrections made in other tools, back beside a run."""

from pathlib import Path
from typing import Annotated

import typer

from hpacells.cli.progress import show_progress
from hpacells.core.corrections import CORRECTED_MASKS, CORRECTIONS_FILE
from hpacells.export.corrections_in import import_corrections

__all__ = ["app"]

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command(name="import")
def import_(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Run folder made by 'hpacells run'.")],
    file: Annotated[
        Path,
        typer.Argument(
            metavar="FILE",
            help="A CSV of labels; or <fov_id>.geojson[.gz] of QuPath, <fov_id>.zarr with "
            "labels/cells, a label image <fov_id>_cells.png or .tif; or a folder of such files.",
        ),
    ],
    who: Annotated[
        str | None, typer.Option(help="Whose corrections these are, kept with each.")
    ] = None,
) -> None:
    """Bring corrected outlines and labels of cells back beside a run.

    Cells keep their ids. What differs from the run is written to RUN/corrections.parquet, edited
    outlines to RUN/corrections/masks; the run's own tables and masks stay as they are. Asked
    again with the same file there is nothing to do.

    Example: hpacells import results corrected/ --who anna
    """
    with show_progress("import") as progress:
        summary = import_corrections(run, file, who=who, progress=progress)
    said = ", ".join(f"{n} {action}" for action, n in summary.counts.items() if n) or "none"
    typer.echo(f"{summary.n_fields} fields read. Corrections: {said}.")
    if summary.n_redrawn:
        typer.echo(f"{summary.n_redrawn} cells have other outlines: {run / CORRECTED_MASKS}.")
    if summary.n_new:
        typer.echo(f"{summary.n_new} of them are new; all are in {run / CORRECTIONS_FILE}.")
    else:
        typer.echo("nothing to do: the run has them already, or nothing differs from it.")

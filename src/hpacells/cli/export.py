"""``hpacells export``: a run folder to files for other tools."""

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from hpacells.cli.progress import show_progress
from hpacells.export.config import ExportFormat, ExportSettings
from hpacells.export.formats import FORMATS
from hpacells.export.write import export_run

__all__ = ["app"]

app = typer.Typer(add_completion=False, rich_markup_mode=None)

_FORMATS_HELP = "Format: " + "; ".join(f"{name} ({FORMATS[name].what})" for name in FORMATS) + "."


@app.command()
def export(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Run folder made by 'hpacells run'.")],
    to: Annotated[ExportFormat, typer.Option(help=_FORMATS_HELP)],
    out: Annotated[
        Path | None, typer.Option(help="Folder to write to. Default: RUN/exports/<format>.")
    ] = None,
    sample_submission: Annotated[
        Path | None, typer.Option(help="kaggle: CSV whose IDs are submitted, in its order.")
    ] = None,
    gz: Annotated[bool, typer.Option("--gz", help="geojson: compress each file.")] = False,
    ngff: Annotated[
        Literal["0.4", "0.5"] | None, typer.Option(help="ome-zarr: version. Default: 0.5.")
    ] = None,
    labels_only: Annotated[
        bool, typer.Option("--labels-only", help="ome-zarr: masks without the images.")
    ] = False,
    images: Annotated[
        Path | None, typer.Option(help="ome-zarr: where the run's images lie now, if moved.")
    ] = None,
    workers: Annotated[
        int | None, typer.Option(help="Fields at the same time. Default: as many as cores.")
    ] = None,
) -> None:
    """Write a run folder for other tools: QuPath, napari, scanpy, pandas, pycytominer, Kaggle.

    Asked again, a finished export has nothing to do; an interrupted one continues; when the run
    has grown since, everything is written anew. docs/cookbook says how to open the files.

    Example: hpacells export results --to geojson --gz
    """
    given: dict[str, Any] = {
        "sample_submission": sample_submission,
        "gz": gz or None,
        "ngff": ngff,
        "labels_only": labels_only or None,
        "images": images,
    }
    given = {name: value for name, value in given.items() if value is not None}
    settings = ExportSettings(to=to, **given)
    with show_progress(f"export {to}") as progress:
        summary = export_run(run, settings, out=out, workers=workers, progress=progress)
    if not summary.changed:
        typer.echo("nothing to do: this export was finished before.")
    for note in summary.notes:
        typer.echo(note)
    failed = f" {summary.n_failed} failed fields have no cells." if summary.n_failed else ""
    typer.echo(f"{summary.n_fields} fields, {summary.n_cells} cells in {summary.out}.{failed}")

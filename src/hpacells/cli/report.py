"""``hpacells report``: a run folder to HTML files."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from hpacells.report.config import ReportSettings
from hpacells.report.page import write_report

__all__ = ["app"]

app = typer.Typer(add_completion=False, rich_markup_mode=None)

_DEFAULTS = ReportSettings()


@app.command()
def report(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Run folder made by 'hpacells run'.")],
    pages: Annotated[
        int,
        typer.Option(
            min=1,
            help=f"At most so many files, each with the pictures of {_DEFAULTS.fields_per_page} "
            "fields, the most variable ones first.",
        ),
    ] = _DEFAULTS.max_pages,
    map: Annotated[  # noqa: A002  the option's name
        Literal["pca", "umap"],
        typer.Option(help="How the map of cells is drawn. umap: pip install 'hpacells[umap]'."),
    ] = _DEFAULTS.map,
) -> None:
    """Write the report of a run folder anew: report.html, and report-2.html … for many fields.

    Each file needs neither server nor network: open it, mail it, keep it.

    Example: hpacells report results

    Example: hpacells report results --pages 50 --map umap
    """
    path = write_report(run, settings=ReportSettings(max_pages=pages, map=map))
    files = [path, *path.parent.glob("report-[0-9]*.html")]
    size_mb = sum(file.stat().st_size for file in files) / 1e6
    more = f" and {len(files) - 1} more" if len(files) > 1 else ""
    typer.echo(f"Report written: {path}{more} ({size_mb:.1f} MB).")
    typer.echo("Open it in a browser; it holds everything it shows.")

"""``hpacells report``: a run folder to one HTML file."""

from pathlib import Path
from typing import Annotated

import typer

from hpacells.report.page import write_report

__all__ = ["app"]

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command()
def report(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Run folder made by 'hpacells run'.")],
) -> None:
    """Write the report page of a run folder anew: report.html.

    The page is one file that needs neither server nor network: open it, mail it, keep it.

    Example: hpacells report results
    """
    path = write_report(run)
    size_mb = path.stat().st_size / 1e6
    typer.echo(f"Report written: {path} ({size_mb:.1f} MB).")
    typer.echo("Open it in a browser; it holds everything it shows.")

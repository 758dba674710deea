"""``hpacells merge``: run folders of shards to one run folder."""

from pathlib import Path
from typing import Annotated

import typer

from hpacells.cli.progress import show_progress
from hpacells.cli.run import finish_with_report, tell_run
from hpacells.core.location import open_location
from hpacells.predict.merge import merge_runs

__all__ = ["app"]

app = typer.Typer(add_completion=False, rich_markup_mode=None)

_EXIT_FAILED_FIELDS = 1


@app.command()
def merge(
    runs: Annotated[
        list[Path],
        typer.Argument(
            parser=open_location, metavar="RUNS...", help="Finished run folders of shards."
        ),
    ],
    out: Annotated[
        Path,
        typer.Argument(
            parser=open_location, metavar="OUT", help="The merged run folder. All may be URLs."
        ),
    ],
    missing_ok: Annotated[
        bool,
        typer.Option(
            "--missing-ok", help="Merge although shards are missing; they can be added later."
        ),
    ] = False,
) -> None:
    """Merge the run folders of 'hpacells run IMAGES OUT --shard i/N' into one.

    Its tables are those of one run over all fields, byte for byte. RUNS are only read; on one file
    system the merged folder shares their files and takes no room. Asked again, what has come since
    is added.

    Example: hpacells merge shards/*/ results/
    """
    with show_progress("merge") as progress:
        summary = merge_runs(
            runs, out, missing_ok=missing_ok, progress=progress, finish=finish_with_report
        )
    tell_run(summary)
    if summary.failures:
        raise typer.Exit(_EXIT_FAILED_FIELDS)

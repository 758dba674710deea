"""``hpacells bundle``: an offline folder for the code competition."""

from pathlib import Path
from typing import Annotated

import typer

from hpacells.export.bundle import write_bundle
from hpacells.runtime.registry import DEFAULT_MODEL, resolve_model
from hpacells.segment.registry import DEFAULT_SEGMENTER, SEGMENTERS

__all__ = ["app"]

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command()
def bundle(
    out: Annotated[Path, typer.Argument(metavar="OUT", help="Folder to make.")],
    model: Annotated[
        str, typer.Option(help="A shipped model's name, or a model folder.")
    ] = DEFAULT_MODEL,
    segmenter: Annotated[
        str, typer.Option(help=f"What outlines the cells: {', '.join(sorted(SEGMENTERS))}.")
    ] = DEFAULT_SEGMENTER,
    python: Annotated[
        str | None, typer.Option(help="Python that will use it, like 3.11. Default: this one.")
    ] = None,
    package: Annotated[
        Path | None, typer.Option(help="Wheel or source folder of hpacells, if not installed so.")
    ] = None,
) -> None:
    """Make a folder that installs hpacells and writes submission.csv without any network.

    It holds the wheels (Linux x86-64), the model, predict.py and a notebook. Making it needs a
    package index, using it does not: python OUT/predict.py TEST --sample-submission CSV.

    Example: hpacells bundle hpacells-offline --python 3.11
    """
    typer.echo("gathering wheels; this takes a few minutes the first time")
    made = write_bundle(
        out, model=resolve_model(model), segmenter=segmenter, python=python, package=package
    )
    if not made:
        typer.echo("nothing to do: this bundle was made before.")
    wheels = list((out / "wheels").iterdir())
    size_mb = sum(path.stat().st_size for path in wheels) / 1e6
    typer.echo(f"Bundle in {out}: {len(wheels)} wheels ({size_mb:.0f} MB), model, predict.py.")
    typer.echo(f"Try it: python {out / 'predict.py'} TEST --out submission.csv")

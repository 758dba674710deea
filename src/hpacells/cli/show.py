"""``hpacells show``: a field or a cell of a run as a figure."""

from pathlib import Path
from typing import Annotated, Literal

import typer
from pydantic import ValidationError

from hpacells.core.channels import CHANNELS, Channel
from hpacells.core.errors import ConfigError, InputError
from hpacells.export.run_images import find_run_images, read_run_image
from hpacells.export.run_reader import open_run
from hpacells.report.cell_figure import draw_cell
from hpacells.report.config import FigureSettings
from hpacells.report.field_figure import draw_field
from hpacells.report.figure_sheet import SUFFIXES, check_figure_name, save_figure
from hpacells.report.stain_pictures import picture_stains

__all__ = ["app"]

app = typer.Typer(add_completion=False, rich_markup_mode=None)

_FIGURES = "figures"
_MM_PER_INCH = 25.4


@app.command()
def show(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Run folder made by 'hpacells run'.")],
    fov: Annotated[str, typer.Argument(metavar="FOV", help="Id of the field.")],
    cell: Annotated[
        int | None, typer.Argument(metavar="[CELL]", help="Id of a cell in it, to show it alone.")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            help=f"File to write: {', '.join(SUFFIXES)}. Default: RUN/figures/<FOV>.png, for a "
            "cell <FOV>_cell_<CELL>.png."
        ),
    ] = None,
    stain: Annotated[
        list[Channel] | None,
        typer.Option(help="Show these stains only, in this order; repeat it for several."),
    ] = None,
    width_mm: Annotated[float, typer.Option(help="Width of the figure in mm.")] = 180.0,
    dpi: Annotated[int, typer.Option(help="Pixels per inch.")] = 300,
    outlines: Annotated[
        bool, typer.Option("--outlines/--no-outlines", help="Outline the cells.")
    ] = True,
    names: Annotated[
        Literal["full", "id", "none"],
        typer.Option(help="In each cell: its id and location, the id alone, nothing."),
    ] = "full",
    images: Annotated[
        Path | None, typer.Option(help="Where the run's images lie now, if moved.")
    ] = None,
) -> None:
    """Save a figure fit for a paper: stains, outlines coloured by location, scale bar, legend.

    Of a cell: its crop in every stain, its probabilities as bars. In a PDF or SVG outlines and
    text stay lines and text. The stains are red (microtubules), green (protein), blue (nucleus)
    and yellow (ER), each stretched by itself over the field: don't compare brightness.

    Example: hpacells show results plate1_A1_3

    Example: hpacells show results plate1_A1_3 7 --out cell.pdf --width-mm 85 --stain green
    """
    settings = _read_settings(width_mm=width_mm, dpi=dpi, outlines=outlines, names=names)
    stains = tuple(dict.fromkeys(stain or CHANNELS))
    finished = open_run(run)
    field = finished.field(fov)
    if not field.is_done:
        raise InputError(f"field {fov}: failed in this run ({field.row['reason']}). Show another.")
    ending = f"{fov}.png" if cell is None else f"{fov}_cell_{cell}.png"
    path = check_figure_name(out or run / _FIGURES / ending)
    pixels = read_run_image(finished, find_run_images(finished, images), fov)
    drawn = (field.read_masks().cells, field.cells, field.row)
    if cell is None:
        side = round(settings.width_mm / _MM_PER_INCH * settings.dpi)
        pictures = picture_stains(pixels, max_side=side, stains=stains)
        figure = draw_field(pictures, *drawn, settings)
    else:
        figure = draw_cell(picture_stains(pixels, stains=stains), *drawn, cell, settings)
    save_figure(figure, path)
    typer.echo(f"Figure written: {path} ({path.stat().st_size / 1e6:.1f} MB).")


def _read_settings(**given: object) -> FigureSettings:
    try:
        return FigureSettings.model_validate(given)
    except ValidationError as error:
        told = "; ".join(
            f"--{str(e['loc'][0]).replace('_', '-')}: {e['msg']}, got {e['input']}"
            for e in error.errors()
        )
        raise ConfigError(told) from error

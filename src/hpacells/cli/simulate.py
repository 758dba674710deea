"""``hpacells simulate``: fields whose cells and locations are known."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Literal

import typer

from hpacells.cli.progress import show_progress
from hpacells.core.errors import ConfigError
from hpacells.simulate.config import SimulateConfig
from hpacells.simulate.dataset import write_dataset
from hpacells.simulate.gallery import write_gallery

app = typer.Typer(add_completion=False, rich_markup_mode=None)


class _Frequencies(StrEnum):
    UNIFORM = "uniform"
    ATLAS = "atlas"


@app.command()
def simulate(
    out: Annotated[Path, typer.Argument(help="Dataset folder to make or to continue.")],
    fields: Annotated[int, typer.Option(help="How many fields.")],
    seed: Annotated[int, typer.Option(help="Field i depends on this and i only.")],
    size: Annotated[int, typer.Option(help="Rows and columns; cuts the field.")] = 2048,
    pixel_size_um: Annotated[float, typer.Option(help="µm per pixel, 0.04-0.4.")] = 0.08,
    bit_depth: Annotated[int, typer.Option(help="8 or 16.")] = 8,
    class_frequencies: Annotated[
        _Frequencies, typer.Option(help="Over the cells, or as in the atlas.")
    ] = _Frequencies.UNIFORM,
    gallery: Annotated[bool, typer.Option("--gallery", help="Also draw OUT/gallery.png.")] = False,
    workers: Annotated[int, typer.Option(help="Processes to work with.")] = 1,
) -> None:
    """Make fields whose cells and locations are known.

    OUT gets train/ and train.csv, truth/ (masks, cells.csv, fields.csv) and truth.csv in the
    form of a submission. Asked again with the same settings, it makes only what is missing.
    Seeds below 900000 are for training and validation, higher ones for judging.

    Example: hpacells simulate simulated/ --fields 20 --seed 1 --workers 2
    """
    config = SimulateConfig(
        size_px=size,
        pixel_size_um=pixel_size_um,
        bit_depth=_check_depth(bit_depth),
        class_frequencies=class_frequencies.value,
    )
    with show_progress("simulate") as progress:
        summary = write_dataset(
            out, config, fields=fields, seed=seed, workers=workers, progress=progress
        )
    if gallery:
        write_gallery(out / "gallery.png", seed=seed)
        typer.echo(f"Every location in several cell lines: {out / 'gallery.png'}")
    typer.echo(
        f"{summary.fields} fields ({summary.made} made now): {summary.cells} cells, "
        f"{summary.cells_in_truth} of them in the truth. They are in {out}."
    )
    typer.echo(
        f"Next: hpacells run {out} RUN, then hpacells evaluate {out / 'truth.csv'} "
        "RUN/submission.csv"
    )


def _check_depth(bits: int) -> Literal[8, 16]:
    if bits == 8:
        return 8
    if bits == 16:
        return 16
    raise ConfigError(f"--bit-depth: expected 8 or 16, got {bits}.")

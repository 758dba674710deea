"""``hpacells simulate``: fields whose cells and locations are known."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Literal

import typer

from hpacells.cli.progress import show_progress
from hpacells.core.errors import ConfigError
from hpacells.simulate.cell_lines import CELL_LINES
from hpacells.simulate.config import (
    MAX_FIELD_SIDE_UM,
    MAX_FIELDS,
    PIXEL_SIZE_LIMITS_UM,
    SIZE_LIMITS_PX,
    SimulateConfig,
)
from hpacells.simulate.dataset import write_dataset
from hpacells.simulate.gallery import GALLERY_LINES, write_gallery

app = typer.Typer(add_completion=False, rich_markup_mode=None)

_SIZES = "{}-{}".format(*SIZE_LIMITS_PX)
_PIXEL_SIZES = "{}-{}".format(*PIXEL_SIZE_LIMITS_UM)


class _Frequencies(StrEnum):
    UNIFORM = "uniform"
    ATLAS = "atlas"


class _Samples(StrEnum):
    ATLAS = "atlas"
    SINGLE = "single"


class _Variation(StrEnum):
    DEFAULT = "default"
    NONE = "none"
    INTENSITY = "intensity"
    SPATIAL = "spatial"
    CELL_CYCLE = "cell_cycle"


@app.command()
def simulate(
    out: Annotated[Path, typer.Argument(help="Dataset folder to make or to continue.")],
    fields: Annotated[int, typer.Option(help=f"How many fields, 1-{MAX_FIELDS}.")],
    seed: Annotated[int, typer.Option(help="Field i depends on this, on i and on the settings.")],
    size: Annotated[
        int,
        typer.Option(
            help=f"Rows and columns in pixels, {_SIZES}; cuts the field, not the scale. A side "
            f"has at most {MAX_FIELD_SIDE_UM:g} µm."
        ),
    ] = 2048,
    pixel_size_um: Annotated[float, typer.Option(help=f"µm per pixel, {_PIXEL_SIZES}.")] = 0.08,
    bit_depth: Annotated[int, typer.Option(help="8 or 16.")] = 8,
    class_frequencies: Annotated[
        _Frequencies,
        typer.Option(
            help="uniform: each location in about as many cells; atlas: as often as in the atlas."
        ),
    ] = _Frequencies.UNIFORM,
    cell_line: Annotated[
        list[str] | None,
        typer.Option(
            help='Only this cell line, for example "U-2 OS" or HeLa; may be repeated. An unknown '
            f"name lists all {len(CELL_LINES)}."
        ),
    ] = None,
    variation: Annotated[
        _Variation, typer.Option(help="Designed differences between cells, of all samples.")
    ] = _Variation.DEFAULT,
    presence: Annotated[
        float,
        typer.Option(
            help="Factor on the share of cells that carry a location of their image's label, "
            "0.05-1: the smaller, the less a label says of single cells."
        ),
    ] = 1.0,
    samples: Annotated[
        _Samples,
        typer.Option(
            help="Fields that share a label: one to six, as in the atlas, or each its own, which "
            "gives a training set more labels."
        ),
    ] = _Samples.ATLAS,
    gallery: Annotated[
        bool,
        typer.Option(
            "--gallery",
            help="Also draw OUT/gallery.png: every location in the lines of --cell-line, or else "
            f"in {', '.join(GALLERY_LINES)}.",
        ),
    ] = False,
    workers: Annotated[int, typer.Option(help="Processes to work with.")] = 1,
) -> None:
    """Make fields whose cells and locations are known.

    OUT gets train/ and train.csv, truth/ (masks, cells.csv, fields.csv) and truth.csv in the
    form of a submission. Asked again with the same settings, it makes only what is missing.
    --variation asks for one kind of designed difference between cells (truth/fields.csv).
    Seeds below 900000 are for training and validation, higher ones for judging.

    Example: hpacells simulate simulated/ --fields 20 --seed 1 --workers 2
    """
    config = SimulateConfig(
        size_px=size,
        pixel_size_um=pixel_size_um,
        bit_depth=_check_depth(bit_depth),
        class_frequencies=class_frequencies.value,
        cell_lines=tuple(sorted(set(cell_line or ()))),
        variation=variation.value,
        presence=presence,
        samples=samples.value,
    )
    with show_progress("simulate") as progress:
        summary = write_dataset(
            out, config, fields=fields, seed=seed, workers=workers, progress=progress
        )
    if gallery:
        lines = config.cell_lines or GALLERY_LINES
        with show_progress("gallery", unit="locations") as progress:
            write_gallery(out / "gallery.png", seed=seed, lines=lines, progress=progress)
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

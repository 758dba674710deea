"""``hpacells segment``: images to masks and a cells table."""

from pathlib import Path
from typing import Annotated

import typer

from hpacells.cli.progress import show_progress
from hpacells.cli.quality import BORDER_HELP, MISSING_HELP, tell_warnings
from hpacells.cli.reading import BIT_DEPTH_HELP, CHANNELS_HELP, IMAGES_HELP
from hpacells.core.channels import Channel
from hpacells.images.discover import discover_fields
from hpacells.segment.config import BorderPolicy, MeasureConfig
from hpacells.segment.registry import DEFAULT_SEGMENTER, get_segmenter, segmenter_names
from hpacells.segment.run import segment_fields

app = typer.Typer(add_completion=False, rich_markup_mode=None)

_EXIT_FAILED_FIELDS = 1


@app.command()
def segment(
    images: Annotated[Path, typer.Argument(help=IMAGES_HELP)],
    out: Annotated[Path, typer.Argument(help="Folder for masks/ and cells.parquet.")],
    segmenter: Annotated[
        str, typer.Option(help=f"What outlines the cells: {', '.join(segmenter_names())}.")
    ] = DEFAULT_SEGMENTER,
    missing: Annotated[
        list[Channel] | None, typer.Option(metavar="STAIN", help=MISSING_HELP)
    ] = None,
    border: Annotated[BorderPolicy, typer.Option(help=BORDER_HELP)] = "reject",
    pixel_size_um: Annotated[
        float | None, typer.Option(help="µm per pixel, where the files don't say.")
    ] = None,
    channels: Annotated[str | None, typer.Option(help=CHANNELS_HELP)] = None,
    bit_depth: Annotated[int | None, typer.Option(help=BIT_DEPTH_HELP)] = None,
    workers: Annotated[int, typer.Option(help="Processes to work with.")] = 1,
) -> None:
    """Outline every cell and its nucleus, and measure it.

    OUT gets masks/<fov_id>_cells.png and _nuclei.png (16-bit ids; a nucleus has its cell's id),
    cells.parquet (one row per cell, without scores) and fields.parquet, both with quality flags
    (qc_...). Asked again, fields that are done are passed over and failed ones are tried again.

    Example: hpacells segment images/ segmented/ --workers 2
    """
    chosen = get_segmenter(segmenter, missing=missing or ())
    records = discover_fields(
        images, pixel_size_um=pixel_size_um, channels=channels, bit_depth=bit_depth
    )
    with show_progress("segment") as progress:
        summary = segment_fields(
            records,
            out,
            chosen,
            measure=MeasureConfig(border=border),
            workers=workers,
            progress=progress,
        )
    for fov_id, reason in summary.failed:
        typer.echo(f"failed: {fov_id}: {reason}", err=True)
    tell_warnings(dict(summary.warnings))
    kept = f" ({summary.n_kept} were done before)" if summary.n_kept else ""
    cut = f"{summary.n_border} more cut by the frame"
    if border == "keep":
        cut = f"{summary.n_touching} of them cut by the frame"
    typer.echo(
        f"{_count(summary.n_done)}{kept}: {summary.n_ok} cells, {cut}, "
        f"{summary.n_rejected} rejected. Masks and cells.parquet are in {out}."
    )
    if summary.n_done:
        typer.echo(f"Next: hpacells crop {images} {out / 'masks'} CROPS --model MODEL")
    if summary.failed:
        typer.echo(f"{_count(len(summary.failed))} failed, as listed above.", err=True)
        raise typer.Exit(_EXIT_FAILED_FIELDS)


def _count(fields: int) -> str:
    return f"{fields} field" if fields == 1 else f"{fields} fields"

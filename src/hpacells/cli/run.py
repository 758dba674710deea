"""``hpacells run``: images to run folder."""

from contextlib import nullcontext
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from hpacells.cli.networks import DeviceOption, PrecisionOption, RuntimeOption
from hpacells.cli.progress import show_progress
from hpacells.cli.quality import BORDER_HELP, MISSING_HELP, tell_warnings
from hpacells.cli.reading import BIT_DEPTH_HELP, CHANNELS_HELP, IMAGES_HELP
from hpacells.core.channels import Channel
from hpacells.core.errors import ConfigError
from hpacells.core.location import open_location
from hpacells.core.locations import LOCATIONS
from hpacells.images.discover import discover_fields
from hpacells.predict.completion import RunSummary
from hpacells.predict.config import RunSettings
from hpacells.predict.engine import run_fields
from hpacells.predict.networks import choose_networks
from hpacells.predict.plan import count_cores, plan_execution
from hpacells.predict.ray_cluster import RayCluster, connected_cluster
from hpacells.predict.shard import Shard
from hpacells.predict.term_rows import TERMS_TABLE
from hpacells.report.config import ReportSettings
from hpacells.report.page import REPORT_FILE, write_report
from hpacells.runtime.cache import cache_folder
from hpacells.runtime.registry import DEFAULT_MODEL, resolve_model
from hpacells.segment.config import BorderPolicy
from hpacells.segment.registry import DEFAULT_SEGMENTER, segmenter_names

__all__ = ["app", "finish_with_report", "run_and_tell", "tell_run"]

app = typer.Typer(add_completion=False, rich_markup_mode=None)

_EXIT_FAILED_FIELDS = 1
_SHOWN_FAILURES = 10
_SHOWN_LOCATIONS = 6


@app.command()
def run(
    images: Annotated[
        Path, typer.Argument(parser=open_location, metavar="IMAGES", help=IMAGES_HELP)
    ],
    out: Annotated[
        Path,
        typer.Argument(
            parser=open_location,
            metavar="OUT",
            help="Run folder, new or to be continued. Both may be URLs: s3://bucket/folder.",
        ),
    ],
    model: Annotated[
        str, typer.Option(help="A model's name ('hpacells models' lists them), or its folder.")
    ] = DEFAULT_MODEL,
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
    workers: Annotated[
        int | None, typer.Option(help="Fields at the same time. Default: by cores and memory.")
    ] = None,
    threads: Annotated[
        int | None, typer.Option(help="Threads within a field. Default: cores left idle.")
    ] = None,
    runtime: RuntimeOption = "auto",
    device: DeviceOption = "auto",
    precision: PrecisionOption = "auto",
    shard: Annotated[
        Shard | None,
        typer.Option(
            parser=Shard.parse,
            metavar="i/N",
            help="Only the i-th of N parts of the fields, for job arrays; then 'hpacells merge'.",
        ),
    ] = None,
    engine: Annotated[
        Literal["local", "ray"], typer.Option(help="What does the work: this machine, or Ray.")
    ] = "local",
    address: Annotated[
        str | None,
        typer.Option(
            metavar="HOST:PORT",
            help="Of the Ray cluster, or auto. Default: RAY_ADDRESS, else this machine alone.",
        ),
    ] = None,
) -> None:
    """Outline every cell, say where its protein sits, and write a run folder with its report.

    Interrupted, the same command continues. Asked again, fields that failed are tried again and
    new ones are added.

    Example: hpacells run images/ results/

    Example: hpacells run images/ results/ --model subcell
    """
    folder = resolve_model(model, missing=missing or ())
    networks = choose_networks(
        folder,
        runtime=runtime,
        device=device,
        precision=precision,
        over_cluster=engine == "ray",
        begun=out,
    )
    settings = RunSettings(
        images=str(images.resolve()),
        model=str(folder),
        segmenter=segmenter,
        missing=tuple(missing or ()),
        border=border,
        pixel_size_um=pixel_size_um,
        channels=channels,
        bit_depth=bit_depth,
        runtime=networks.runtime,
        device=networks.device,
        precision=networks.precision,
    )
    if address is not None and engine == "local":
        raise ConfigError("--address: expected with --engine ray only. Add it, or leave this out.")
    place = nullcontext() if engine == "local" else connected_cluster(address, cores=count_cores())
    with place as cluster:
        summary = run_and_tell(
            settings, out, workers=workers, threads=threads, shard=shard, cluster=cluster
        )
    if summary.failures:
        raise typer.Exit(_EXIT_FAILED_FIELDS)


def run_and_tell(
    settings: RunSettings,
    out: Path,
    *,
    workers: int | None = None,
    threads: int | None = None,
    shard: Shard | None = None,
    cluster: RayCluster | None = None,
) -> RunSummary:
    """Run on the images that the settings name, printing the plan before and the result after."""
    records = discover_fields(
        open_location(settings.images),
        pixel_size_um=settings.pixel_size_um,
        channels=settings.channels,
        bit_depth=settings.bit_depth,
    )
    records = records if shard is None else shard.select(records)
    plan = plan_execution(
        len(records), workers=workers, threads=threads, shard=shard, cluster=cluster
    )
    model = Path(settings.model)
    if model.is_relative_to(cache_folder()):  # an installed one: <cache>/<name>/model
        model = model.parent
    typer.echo(f"{len(records)} fields, model {model.name}, {plan}, {settings.networks}")
    with show_progress("run") as progress:
        summary = run_fields(
            records, out, settings, plan=plan, progress=progress, finish=finish_with_report
        )
    tell_run(summary)
    return summary


def finish_with_report(out: Path, provenance: dict[str, Any]) -> None:
    """Write the report of a run that is about to be complete: one file, however large the run."""
    write_report(out, provenance=provenance, settings=ReportSettings(max_pages=1))


def tell_run(summary: RunSummary) -> None:
    """Print what a run came to: failures, warnings, counts, where to look."""
    for fov_id, reason in list(summary.failures.items())[:_SHOWN_FAILURES]:
        typer.echo(f"failed: {fov_id}: {reason}", err=True)
    hidden = len(summary.failures) - _SHOWN_FAILURES
    if hidden > 0:
        typer.echo(f"failed: {hidden} more, listed in fields.parquet", err=True)
    tell_warnings(summary.warnings)
    if not summary.changed:
        typer.echo("nothing to do: every field that can be used was finished before.")
    counts = summary.provenance["counts"]
    whole = f"{counts['ok']} whole, {counts['border']} cut by the frame"
    if summary.provenance["measure_settings"]["border"] == "keep":
        whole = f"{counts['ok']} whole or cut by the frame"
    typer.echo(
        f"{counts['fields']} fields: {counts['done']} done, {counts['failed']} failed. "
        f"{counts['cells']} cells: {whole}, "
        f"{counts['rejected']} rejected."
    )
    _tell_locations(summary.provenance["top_locations"])
    if (summary.out / TERMS_TABLE).is_file():
        typer.echo(f"All of the model's own terms, cell by cell: {summary.out / TERMS_TABLE}")
    typer.echo(f"The tables are in {summary.out}; open {summary.out / REPORT_FILE} to look at it.")


def _tell_locations(top: dict[str, int]) -> None:
    """Print which locations score highest in most cells."""
    total = sum(top.values())
    if not total:
        return
    typer.echo("Cells by their highest-scoring location:")
    ranked = sorted(LOCATIONS, key=lambda location: (-top.get(location.key, 0), location.class_id))
    for location in ranked[:_SHOWN_LOCATIONS]:
        n = top.get(location.key, 0)
        if n:
            typer.echo(f"  {location.title:<28}{n:>7}{n / total:>7.0%}")

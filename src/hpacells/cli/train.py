"""``hpacells train``: fields and their image labels to a model folder."""

import tempfile
from dataclasses import replace
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hpacells.cli.progress import show_progress
from hpacells.core.errors import ConfigError, MissingExtraError
from hpacells.segment.registry import DEFAULT_SEGMENTER, segmenter_names
from hpacells.simulate.config import SimulateConfig
from hpacells.simulate.dataset import write_dataset
from hpacells.train.config import TrainConfig, read_train_config
from hpacells.train.prepare import prepare_data
from hpacells.train.smoke import shorten_recipe, smoke_fields

if TYPE_CHECKING:
    from hpacells.train.run import TrainSummary

app = typer.Typer(add_completion=False, rich_markup_mode=None)

_NEEDED = ("torch", "timm", "torchvision", "lightning_fabric", "onnx", "onnxscript", "safetensors")
_SMOKE_PX = 768
_UNGROUPED = {
    "near_duplicates": "The table names no antibody or gene",
    "mixed": "The table names neither antibody nor gene of some fields",
}


@app.command()
def train(
    data: Annotated[
        Path | None, typer.Argument(help="Dataset folder with train/ and train.csv, or crop store.")
    ] = None,
    out: Annotated[Path | None, typer.Argument(help="Model folder, new or continued.")] = None,
    config: Annotated[
        Path | None, typer.Option(help="YAML with the recipe; 'configs/' holds examples.")
    ] = None,
    segmenter: Annotated[
        str, typer.Option(help=f"What outlines the cells: {', '.join(segmenter_names())}.")
    ] = DEFAULT_SEGMENTER,
    pixel_size_um: Annotated[
        float | None, typer.Option(help="µm per pixel of the images, where files don't say.")
    ] = None,
    workers: Annotated[int, typer.Option(help="Processes that segment and crop.")] = 1,
    threads: Annotated[
        int | None, typer.Option(help="Threads of torch. Default: one per core.")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Overrides the recipe's seed.")] = None,
    corrections: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="RUN",
            help="Run folder with corrected cells ('hpacells review', 'hpacells import'); "
            "repeat it for several.",
        ),
    ] = None,
    smoke: Annotated[
        bool, typer.Option("--smoke", help="Try the plumbing on a few simulated fields.")
    ] = False,
) -> None:
    """Learn where proteins sit in single cells from the labels of whole images.

    Learns from train.csv only, never from the truth of single cells (a truth/ beside it is used
    to measure with); and, where given, from the cells that people corrected: --corrections RUN,
    whose masks must be those of the crops (docs/learning.md). Interrupted, the same command
    continues from the last checkpoint. OUT gets model.json, model.onnx, model.safetensors,
    metrics.csv and TensorBoard logs.

    Example: hpacells train dataset/ my-model/ --workers 2

    Example: hpacells train crops/ better-model/ --corrections run/
    """
    _check_extra()
    recipe = read_train_config(config, seed=seed)
    if smoke:
        if data is not None and out is None:
            raise ConfigError(
                f"--smoke: expected no folder, or DATA and OUT, got only {data}. It simulates its "
                "own fields and never reads DATA; name both to keep the model in OUT."
            )
        if corrections:
            raise ConfigError("--smoke: simulates its own cells. Leave out --corrections.")
        _smoke(recipe, out, threads)
        return
    if data is None or out is None:
        raise ConfigError("expected DATA and OUT (a dataset folder and a new folder), or --smoke.")
    if threads is not None and threads < 1:  # before the cells are cut
        raise ConfigError(f"--threads: expected 1 or more, got {threads}")
    from hpacells.train.devices import (  # noqa: PLC0415  needs the extra
        do_first,
        open_fabric,
        part_processes,
    )
    from hpacells.train.run import train_on_store  # noqa: PLC0415  needs the extra

    fabric = open_fabric(recipe)
    prepare = partial(
        prepare_data, segmenter=segmenter, workers=workers, pixel_size_um=pixel_size_um
    )
    with show_progress("crop") as progress:
        prepared = do_first(fabric, lambda: prepare(data, out, recipe, progress=progress))
    prepared = replace(prepared, corrections=tuple(corrections or ()))
    if prepared.rows_without_field and fabric.is_global_zero:
        typer.echo(f"{len(prepared.rows_without_field)} rows of train.csv have no image.")
    with show_progress("train", "steps") as progress:
        summary = train_on_store(prepared, out, recipe, threads=threads, progress=progress)
    is_first = fabric.is_global_zero
    part_processes()
    if is_first:
        _tell(summary, out)


def _check_extra() -> None:
    missing = [name for name in _NEEDED if find_spec(name) is None]
    if missing:
        raise MissingExtraError(
            f"hpacells train: expected {', '.join(missing)}, not installed here. "
            "In the repository: pip install -c constraints.txt -e '.[train]'"
        )


def _smoke(recipe: TrainConfig, out: Path | None, threads: int | None) -> None:
    """Simulate, crop, train for a few steps and export: says whether a recipe works at all."""
    import torch  # noqa: PLC0415  needs the extra

    from hpacells.train.run import train_on_store  # noqa: PLC0415  needs the extra

    short, replaced = shorten_recipe(recipe, has_cuda=torch.cuda.is_available())
    for line in replaced:
        typer.echo(f"Not as in the recipe, for want of it here: {line}")
    with tempfile.TemporaryDirectory(prefix="hpacells-smoke-") as folder:
        dataset = Path(folder) / "dataset"
        with show_progress("simulate") as progress:
            write_dataset(
                dataset,
                SimulateConfig(size_px=_SMOKE_PX),
                fields=smoke_fields(short),
                seed=1,
                progress=progress,
            )
        target = out if out is not None else Path(folder) / "model"
        with show_progress("crop") as progress:
            prepared = prepare_data(dataset, target, short, progress=progress)
        with show_progress("train", "steps") as progress:
            summary = train_on_store(prepared, target, short, threads=threads, progress=progress)
        size = (target / "model.onnx").stat().st_size / 2**20
        typer.echo(
            f"The recipe works: {summary.counts['fields_train']} simulated fields, "
            f"{summary.counts['cells']} cells, a graph of {size:.1f} MiB. The model itself is "
            "worth nothing after so few steps."
        )


def _tell(summary: "TrainSummary", out: Path) -> None:
    counts = summary.counts
    if summary.absent_locations:
        typer.echo(
            "No image has these locations, so the model cannot know them: "
            + ", ".join(summary.absent_locations)
        )
    skipped = {
        "failed": counts["fields_failed"],
        "without cells": counts["fields_without_cells"],
        "without label": counts["fields_unlabelled"],
    }
    left_out = ", ".join(f"{n} {what}" for what, n in skipped.items() if n)
    if (lacking := _UNGROUPED.get(summary.group_kind)) and counts["fields_val"]:
        typer.echo(
            f"{lacking}, so only near copies of a field were kept together: other fields of the "
            "same gene may stand on both sides of the split, and the numbers below be too good."
        )
    for warning in summary.warnings:
        typer.echo(warning)
    if "cells_corrected" in counts:
        typer.echo(
            f"Of people's words: {counts['cells_corrected']} cells have locations of their own, "
            f"{counts['cells_left_out']} are left out, {counts['corrections_of_outlines']} keep "
            f"their image's label, {counts['corrections_elsewhere']} are not in the data."
        )
    judged = "nothing held out"
    if (ap := summary.validation_mean_ap) is not None:
        judged = f"image-level mean AP {ap:.3f} on held-out ones"
    if summary.cell_mean_ap is not None:
        judged += f", cell-level {summary.cell_mean_ap:.3f} by the truth"
    if summary.strict_map is not None:
        judged += f", strict metric {summary.strict_map:.3f}"
    typer.echo(
        f"{'Finished before. ' if summary.already_done else ''}"
        f"Model {summary.spec.name}: {counts['cells']} cells of {counts['fields_train']} fields, "
        f"{counts['fields_val']} held out{f' ({left_out} left out)' if left_out else ''}; {judged}."
    )
    typer.echo(f"It is in {out}. Next: hpacells run IMAGES RUN --model {out}")

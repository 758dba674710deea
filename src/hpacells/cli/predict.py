"""``hpacells predict``: crop store to cells table."""

from pathlib import Path
from typing import Annotated

import typer

from hpacells.cli.networks import DeviceOption, PrecisionOption, RuntimeOption
from hpacells.cli.progress import show_progress
from hpacells.crops.store import CropStore
from hpacells.predict.networks import choose_networks
from hpacells.predict.plan import plan_execution
from hpacells.predict.store_scores import predict_store
from hpacells.runtime.model_folder import load_model
from hpacells.runtime.registry import DEFAULT_MODEL, resolve_model

app = typer.Typer(add_completion=False, rich_markup_mode=None)

_EXIT_FAILED_FIELDS = 1


@app.command()
def predict(
    crops: Annotated[Path, typer.Argument(help="Crop store, as 'hpacells crop' makes it.")],
    out: Annotated[Path, typer.Argument(help="Folder for the tables.")],
    model: Annotated[
        str, typer.Option(help="A shipped model's name, or a model folder.")
    ] = DEFAULT_MODEL,
    threads: Annotated[
        int | None, typer.Option(help="Cells at the same time. Default: by cores.")
    ] = None,
    runtime: RuntimeOption = "auto",
    device: DeviceOption = "auto",
    precision: PrecisionOption = "auto",
) -> None:
    """Say where the protein sits in every cell of a crop store.

    OUT gets cells.parquet, fields.parquet and embeddings.parquet. The store must hold crops of the
    model's size and scale.

    Example: hpacells predict crops/ scores/ --model model/
    """
    folder = load_model(resolve_model(model))
    store = CropStore.open(crops)
    networks = choose_networks(
        folder.path, runtime=runtime, device=device, precision=precision, begun=out
    )
    plan = plan_execution(1, workers=1, threads=threads)
    typer.echo(f"{store.counts['crops']} crops, model {folder.model_id}, {plan}, {networks}")
    with show_progress("predict") as progress:
        content = predict_store(
            store, out, folder, networks=networks, threads=plan.threads, progress=progress
        )
    counts = content["counts"]
    typer.echo(
        f"{counts['fields']} fields: {counts['done']} done, {counts['failed']} failed when they "
        f"were cropped. {counts['cells']} cells: {counts['ok']} whole, {counts['border']} cut by "
        f"the frame, {counts['rejected']} rejected (no crop: scores 0)."
    )
    typer.echo(f"The tables are in {out}.")
    if counts["failed"]:
        raise typer.Exit(_EXIT_FAILED_FIELDS)

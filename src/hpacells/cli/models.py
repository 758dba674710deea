"""``hpacells models``: which models can be used, and whether their files are whole."""

from typing import Annotated, Literal

import typer

from hpacells.core.errors import ConfigError
from hpacells.runtime.model_folder import ModelFolder, load_model
from hpacells.runtime.registry import DEFAULT_MODEL, list_models, resolve_model

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command()
def models(
    action: Annotated[
        Literal["list", "verify", "install", "remove"], typer.Argument(help="What to do.")
    ] = "list",
    name: Annotated[
        str | None, typer.Argument(help="A shipped model's name, or a model folder.")
    ] = None,
) -> None:
    """List the models that can be used, or check the files of one by their sha256.

    Every listed model's files were found whole. install and remove come with published models, in
    a later version.

    Example: hpacells models verify nfnet-sim
    """
    if action in ("install", "remove"):
        raise ConfigError(
            f"models {action}: this version only has the models that come with it. Give a model "
            "folder by its path, or train one with 'hpacells train'."
        )
    if action == "verify":
        for one in [name] if name is not None else list_models():
            folder = load_model(resolve_model(one))
            typer.echo(f"{folder.model_id}: {', '.join(sorted(folder.spec.files))} are whole.")
        return
    folders = [load_model(resolve_model(one)) for one in ([name] if name else list_models())]
    for folder in folders:
        _tell(folder)
    if not folders:
        typer.echo("No model comes with this version. Train one: hpacells train DATA OUT")
        return
    typer.echo("Use one by --model NAME; a model folder of your own by --model PATH.")


def _tell(folder: ModelFolder) -> None:
    spec = folder.spec
    default = " (default)" if spec.name == DEFAULT_MODEL else ""
    typer.echo(f"{spec.name}{default}: {spec.description or 'no description'}")
    typer.echo(
        f"  task      {len(spec.locations)} locations per cell, {spec.architecture.backbone}"
    )
    typer.echo(
        f"  crop      {spec.crop_px} px at {spec.pixel_size_um:g} µm, outside {spec.outside}"
    )
    typer.echo(f"  size      {folder.size_bytes / 2**20:.1f} MiB")
    typer.echo(f"  licence   {spec.licence}")
    typer.echo(f"  id        {folder.model_id}")

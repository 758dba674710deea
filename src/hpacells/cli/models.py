"""``hpacells models``: which models and published segmenters can be used, and their files."""

from typing import Annotated, Literal

import typer

from hpacells.core.errors import ConfigError
from hpacells.runtime.model_folder import ModelFolder, load_model
from hpacells.runtime.published_weights import (
    PublishedWeights,
    cache_folder,
    install_weights,
    missing_files,
    remove_weights,
    verify_weights,
)
from hpacells.runtime.registry import DEFAULT_MODEL, list_models, resolve_model
from hpacells.segment.adapters.catalogue import SEGMENTER_WEIGHTS

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command()
def models(
    action: Annotated[
        Literal["list", "verify", "install", "remove"], typer.Argument(help="What to do.")
    ] = "list",
    name: Annotated[
        str | None,
        typer.Argument(help="A shipped model's name, a model folder, or a published segmenter."),
    ] = None,
) -> None:
    """List the models that can be used, check files by their sha256, fetch or remove weights.

    Every listed model's files were found whole. install fetches the weights of a published
    segmenter (atlas, cellpose, instanseg) once into the cache folder, after showing their licence;
    remove deletes them there. What a file is checked against is said: where no sha256 of the
    published file is known, that of its first sight.

    Example: hpacells models verify nfnet-sim

    Example: hpacells models install instanseg
    """
    if action in ("install", "remove"):
        weights = _published(action, name)
        if action == "install":
            install_weights(weights, tell=typer.echo)
            _tell_checked(weights)
        else:
            typer.echo(f"{weights.name}: {remove_weights(weights)} file(s) removed.")
    elif action == "verify":
        _verify(name)
    else:
        _list(name)


def _published(action: str, name: str | None) -> PublishedWeights:
    if name is None or name not in SEGMENTER_WEIGHTS:
        raise ConfigError(
            f"models {action}: expected a published segmenter ({', '.join(SEGMENTER_WEIGHTS)}), "
            f"got {name or 'no name'}. Models that come with hpacells need no installing; train "
            "one of your own with 'hpacells train'."
        )
    return SEGMENTER_WEIGHTS[name]


def _verify(name: str | None) -> None:
    """Hash the files of one, or of all that are there."""
    if name is not None and name in SEGMENTER_WEIGHTS:
        _verify_weights(SEGMENTER_WEIGHTS[name])
        return
    for one in [name] if name is not None else list_models():
        folder = load_model(resolve_model(one))
        typer.echo(f"{folder.model_id}: {', '.join(sorted(folder.spec.files))} are whole.")
    for weights in SEGMENTER_WEIGHTS.values() if name is None else ():
        if not missing_files(weights):
            _verify_weights(weights)


def _verify_weights(weights: PublishedWeights) -> None:
    verify_weights(weights)
    _tell_checked(weights)


def _tell_checked(weights: PublishedWeights) -> None:
    for file in weights.files:
        typer.echo(f"{weights.name}: {weights.path(file)} agrees with {file.checked_against}.")


def _list(name: str | None) -> None:
    if name is not None and name in SEGMENTER_WEIGHTS:
        _tell_weights(SEGMENTER_WEIGHTS[name])
        return
    folders = [load_model(resolve_model(one)) for one in ([name] if name else list_models())]
    for folder in folders:
        _tell(folder)
    if folders:
        typer.echo("Use one by --model NAME; a model folder of your own by --model PATH.")
    else:
        typer.echo("No model comes with this version. Train one: hpacells train DATA OUT")
    if name is None:
        typer.echo(f"\nPublished segmenters, for --segmenter NAME; weights go to {cache_folder()}:")
        for weights in SEGMENTER_WEIGHTS.values():
            _tell_weights(weights)


def _tell_weights(weights: PublishedWeights) -> None:
    fetched = "no, 'install' fetches them" if missing_files(weights) else "yes"
    typer.echo(f"{weights.name}: {weights.title}")
    typer.echo(f"  fetched   {fetched}")
    typer.echo(f"  checked   {'; '.join(sorted({f.checked_against for f in weights.files}))}")
    typer.echo(f"  licence   {weights.licence}")


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

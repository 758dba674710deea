"""``hpacells models``: which models can be used, shipped, installed or to be installed by name."""

from collections.abc import Mapping
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Literal

import typer

from hpacells.cli.progress import show_progress
from hpacells.core.errors import ConfigError, MissingExtraError, ModelError
from hpacells.runtime.cache import cache_folder
from hpacells.runtime.model_folder import SPEC_FILE, ModelFolder, load_model
from hpacells.runtime.published_models import PublishedModel, own_list, read_models
from hpacells.runtime.published_weights import (
    install_weights,
    remove_weights,
    verify_weights,
)
from hpacells.runtime.registry import (
    DEFAULT_MODEL,
    adopt_folder,
    is_installed,
    list_models,
    resolve_model,
)

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command()
def models(
    action: Annotated[
        Literal["list", "install", "remove", "verify"], typer.Argument(help="What to do.")
    ] = "list",
    name: Annotated[
        str | None, typer.Argument(help="A model's name as listed, or a model folder.")
    ] = None,
    source: Annotated[
        Path | None,
        typer.Option(
            "--from",
            help="install: a folder with the published files, or with the model as another "
            "machine installed it; nothing is fetched then.",
        ),
    ] = None,
) -> None:
    """List the models that can be used; install published ones, check or remove their files.

    install shows the licence, fetches the published files into the cache folder (a broken download
    is continued), and converts a classifier once to a model folder; nothing in a file is ever run.
    What a file is checked against is said: where no sha256 of it is known, that of its first sight.
    Once installed, everything works without a network. Which model for what: docs/models.md.

    Example: hpacells models

    Example: hpacells models list subcell

    Example: hpacells models install subcell

    Example: hpacells models install subcell --from /media/stick/subcell

    Example: hpacells models remove subcell

    Example: hpacells models verify nfnet-sim
    """
    published = read_models()
    if source is not None and action != "install":
        raise ConfigError("--from: only 'models install NAME' takes files from a folder.")
    if action == "install":
        _install(_named(action, name, published), source)
    elif action == "remove":
        entry = _named(action, name, published)
        n = remove_weights(entry.weights)
        told = f"{n} file(s) removed" if n else "nothing to remove, it was not installed"
        typer.echo(f"{entry.name}: {told}.")
    elif action == "verify":
        _verify(name, published)
    else:
        _list(name, published)


def _named(
    action: str, name: str | None, published: Mapping[str, PublishedModel]
) -> PublishedModel:
    if name is None or name not in published:
        raise ConfigError(
            f"models {action}: expected a published model ({', '.join(published)}), got "
            f"{name or 'no name'}. Models that come with hpacells need no installing; add others "
            f"to {own_list()}, or train one with 'hpacells train'."
        )
    return published[name]


def _install(entry: PublishedModel, source: Path | None) -> None:
    if is_installed(entry):
        _verify(entry.name, {entry.name: entry})
        typer.echo(f"{entry.name}: nothing to do, it was installed before.")
        return
    if source is not None and not source.is_dir():
        raise ModelError(f"--from {source}: expected a folder, there is none.")
    with show_progress(f"fetch {entry.name}", "MB") as progress:
        if entry.task == "segmenter":
            install_weights(entry.weights, tell=typer.echo, source=source, progress=progress)
        elif source is not None and (source / SPEC_FILE).is_file():
            adopt_folder(entry, source, tell=typer.echo)
        else:
            if find_spec("torch") is None:
                raise MissingExtraError(
                    f"models install {entry.name}: expected the package torch, to convert the "
                    "published files. In the repository: pip install -c constraints.txt "
                    "'.[train]'; or install it on another machine and take its folder over by "
                    "--from."
                )
            # heavy and optional: the extra 'train'
            convert = import_module("hpacells.model.published").install_classifier
            convert(entry, tell=typer.echo, source=source, progress=progress)
    _verify(entry.name, {entry.name: entry})
    typer.echo(f"{entry.name}: installed. {_how_to_use(entry)}")


def _verify(name: str | None, published: Mapping[str, PublishedModel]) -> None:
    """Hash the files of one, or of all that are there."""
    if name is None:
        for shipped in list_models():
            _verify(shipped, {})
        for installed in filter(is_installed, published.values()):
            _verify(installed.name, published)
        return
    entry = published.get(name)
    if entry is None or entry.task == "classifier":
        folder = load_model(resolve_model(name) if entry is None else _folder_of(entry))
        typer.echo(f"{folder.model_id}: {', '.join(sorted(folder.spec.files))} are whole.")
        return
    verify_weights(entry.weights)
    for file in entry.weights.files:
        typer.echo(f"{name}: {entry.weights.path(file)} agrees with {file.checked_against}.")


def _folder_of(entry: PublishedModel) -> Path:
    return entry.folder if is_installed(entry) else resolve_model(entry.name)


def _list(name: str | None, published: Mapping[str, PublishedModel]) -> None:
    if name is not None:
        if name in published:
            _tell_published(published[name])
        else:
            _tell_folder(load_model(resolve_model(name)))
        return
    typer.echo("Shipped:")
    for shipped in list_models():
        _tell_folder(load_model(resolve_model(shipped)))
    if not list_models():
        typer.echo("No model comes with this version. Train one: hpacells train DATA OUT")
    for title, wanted in (("Installed", True), ("Available, by 'models install NAME'", False)):
        entries = [entry for entry in published.values() if is_installed(entry) == wanted]
        typer.echo(f"\n{title}:" if entries else f"\n{title}: none")
        for entry in entries:
            _tell_published(entry)
    typer.echo(f"\nThe cache is {cache_folder()}; entries of your own go to {own_list()}.")


def _tell_published(entry: PublishedModel) -> None:
    typer.echo(f"{entry.name}: {entry.title}")
    _tell_row("task", f"{entry.task}; {_how_to_use(entry)}")
    _tell_row("good for", entry.good_for)
    _tell_row("stains", f"{', '.join(entry.stains)} at {entry.pixel_size_um:g} µm")
    _tell_row("classes", entry.classes)
    _tell_row("size", f"{entry.size_mb:g} MB to fetch")
    _tell_row("licence", entry.licence)
    _tell_row("cite", entry.citation)
    installed = is_installed(entry)
    _tell_row("installed", "yes" if installed else f"no: hpacells models install {entry.name}")
    if installed and entry.task == "segmenter":
        checked = sorted({file.checked_against for file in entry.weights.files})
        _tell_row("checked", "; ".join(checked))


def _how_to_use(entry: PublishedModel) -> str:
    option = "--segmenter" if entry.task == "segmenter" else "--model"
    return f"hpacells run IMAGES OUT {option} {entry.name}"


def _tell_folder(folder: ModelFolder) -> None:
    spec = folder.spec
    default = " (default)" if spec.name == DEFAULT_MODEL else ""
    typer.echo(f"{spec.name}{default}: {spec.description or 'no description'}")
    _tell_row("task", f"classifier; hpacells run IMAGES OUT --model {spec.name}")
    _tell_row("stains", ", ".join(spec.needs or spec.stains))
    _tell_row("classes", f"{len(spec.locations)} locations per cell, {spec.architecture.backbone}")
    _tell_row("crop", f"{spec.crop_px} px at {spec.pixel_size_um:g} µm, outside {spec.outside}")
    _tell_row("size", f"{folder.size_bytes / 2**20:.1f} MiB")
    _tell_row("licence", spec.licence)
    if spec.citation:
        _tell_row("cite", spec.citation)
    _tell_row("id", folder.model_id)


def _tell_row(what: str, text: str) -> None:
    typer.echo(f"  {what:<9} {text}")

"""Models by name: those that come with the package, and published ones that were installed."""

import logging
import shutil
from collections.abc import Callable, Collection
from pathlib import Path

from hpacells.core.channels import Channel
from hpacells.core.errors import ModelError
from hpacells.runtime.cache import cache_lock, output_error, remove_empty
from hpacells.runtime.model_folder import SPEC_FILE, load_model
from hpacells.runtime.published_models import PublishedModel, choose_variant, read_models
from hpacells.runtime.published_weights import missing_files

__all__ = [
    "DEFAULT_MODEL",
    "WEIGHTS_FOLDER",
    "adopt_folder",
    "is_installed",
    "list_models",
    "resolve_model",
]

_log = logging.getLogger(__name__)

DEFAULT_MODEL = "nfnet-sim"
"""The model of ``run`` and ``demo`` when none is named."""

WEIGHTS_FOLDER = Path(__file__).parent / "weights"
"""Where the shipped models lie, one folder each."""


def list_models(folder: Path = WEIGHTS_FOLDER) -> list[str]:
    """Give the names of the shipped models, sorted."""
    return sorted(path.parent.name for path in folder.glob(f"*/{SPEC_FILE}"))


def resolve_model(
    name_or_path: str | Path,
    *,
    missing: Collection[Channel] = (),
    folder: Path = WEIGHTS_FOLDER,
) -> Path:
    """Find a model folder by the name of a shipped or installed model, or by its path.

    Parameters
    ----------
    name_or_path
        A shipped name comes first, then a published one; ``./name`` means a folder of that name.
    missing
        Stains that the fields do not have: of a published family, the model that does without.
    folder
        Where the shipped models lie.

    Raises
    ------
    ModelError
        When it is none of them, a published model is not installed, or it looks at a missing stain.
    """
    names = list_models(folder)
    if str(name_or_path) in names:
        return folder / str(name_or_path)
    published = _classifiers()
    if str(name_or_path) in published:
        chosen = choose_variant(str(name_or_path), published, missing)
        if is_installed(chosen):
            return chosen.folder
        raise ModelError(
            f"model {chosen.name}: not installed. Fetch it, {chosen.size_mb:g} MB, licence "
            f"{chosen.licence}: hpacells models install {chosen.name}"
        )
    path = Path(name_or_path)
    if (path / SPEC_FILE).is_file():
        return path
    known = ", ".join(names) or "none"
    raise ModelError(
        f"model {str(name_or_path)!r}: expected a shipped model ({known}), a published one "
        f"({', '.join(published)}) or a folder with {SPEC_FILE}. Give its path, or train one with "
        "'hpacells train'."
    )


def is_installed(model: PublishedModel) -> bool:
    """Say whether a published model can be used: its folder, a segmenter's files are there."""
    if model.task == "segmenter":
        return not missing_files(model.weights)
    return (model.folder / SPEC_FILE).is_file()


def adopt_folder(
    model: PublishedModel, source: Path, *, tell: Callable[[str], None] = _log.warning
) -> None:
    """Take over a model folder that another machine made of the published files.

    Raises
    ------
    ModelError
        When it is not whole, or another model's.
    OutputError
        When the cache cannot be written.
    """
    found = load_model(source)
    if found.spec.name != model.name:
        raise ModelError(
            f"{source}: expected the model {model.name}, got {found.spec.name}. Name that one, "
            "or another folder."
        )
    tell(f"{model.title}. Licence: {found.spec.licence}. {model.weights.notice}")
    with cache_lock(model.name, tell):
        making = model.folder.with_name(".making")
        shutil.rmtree(making, ignore_errors=True)  # of a killed process
        try:
            making.mkdir(parents=True)
            for name in (*found.spec.files, SPEC_FILE):
                shutil.copyfile(source / name, making / name)
            making.rename(model.folder)
        except OSError as error:
            raise output_error(making.parent, error) from error
        finally:
            shutil.rmtree(making, ignore_errors=True)
            remove_empty(making.parent)


def _classifiers() -> dict[str, PublishedModel]:
    return {name: m for name, m in read_models().items() if m.task == "classifier"}

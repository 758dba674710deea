"""Models by name: those that come with the package. Fetching published ones is not here yet."""

from pathlib import Path

from hpacells.core.errors import ModelError
from hpacells.runtime.model_folder import SPEC_FILE

__all__ = ["DEFAULT_MODEL", "WEIGHTS_FOLDER", "list_models", "resolve_model"]

DEFAULT_MODEL = "nfnet-sim"
"""The model of ``run`` and ``demo`` when none is named."""

WEIGHTS_FOLDER = Path(__file__).parent / "weights"
"""Where the shipped models lie, one folder each."""


def list_models(folder: Path = WEIGHTS_FOLDER) -> list[str]:
    """Give the names of the shipped models, sorted."""
    return sorted(path.parent.name for path in folder.glob(f"*/{SPEC_FILE}"))


def resolve_model(name_or_path: str | Path, *, folder: Path = WEIGHTS_FOLDER) -> Path:
    """Find a model folder by the name of a shipped model or by its path.

    Parameters
    ----------
    name_or_path
        A shipped name comes first; ``./name`` means a folder of that name.

    Raises
    ------
    ModelError
        When it is neither.
    """
    names = list_models(folder)
    if str(name_or_path) in names:
        return folder / str(name_or_path)
    path = Path(name_or_path)
    if (path / SPEC_FILE).is_file():
        return path
    known = ", ".join(names) or "none"
    raise ModelError(
        f"model {str(name_or_path)!r}: expected a shipped model ({known}) or a folder with "
        f"{SPEC_FILE}. Give its path, or train one with 'hpacells train'."
    )

"""hpacells: find every cell in Human Protein Atlas images and say where its protein sits.

In a notebook: ``run = hpacells.run(images, out)`` or ``hpacells.open_run(out)``. What they need is
imported when they are first asked for.
"""

from importlib import import_module
from importlib.metadata import version
from typing import Any

__version__ = version("hpacells")

__all__ = ["__version__", "open_run", "run"]

_MADE_IN = {"open_run": "hpacells.notebook.opened_run", "run": "hpacells.notebook.running"}


def __getattr__(name: str) -> Any:
    if name not in _MADE_IN:
        raise AttributeError(f"module 'hpacells' has no attribute {name!r}")
    return getattr(import_module(_MADE_IN[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_MADE_IN])

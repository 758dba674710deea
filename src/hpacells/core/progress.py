"""How long work tells what it has done, without knowing who listens."""

from collections.abc import Callable

__all__ = ["ProgressCallback", "silent"]

ProgressCallback = Callable[[int, int, str], None]
"""Called with (done so far, total, what was just finished)."""


def silent(done: int, total: int, what: str) -> None:
    """Tell nobody."""

"""Damaged Parquet files, told as what they are."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa

from hpacells.core.errors import TableError

__all__ = ["naming_damage"]


@contextmanager
def naming_damage(path: Path, advice: str) -> Iterator[None]:
    """Read ``path`` in the block; what Arrow says of a damaged file becomes a ``TableError``.

    Parameters
    ----------
    path
        Named in the error.
    advice
        What to do about it, one sentence.

    Raises
    ------
    TableError
        When the file is no whole Parquet file.
    """
    try:
        yield
    except pa.ArrowInvalid as error:
        raise TableError(f"{path}: expected a table, it is damaged ({error}). {advice}") from error

"""Parquet files, here or behind a URL; damaged ones are told as what they are."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from hpacells.core.errors import TableError
from hpacells.core.location import is_remote

__all__ = ["naming_damage", "open_parquet"]


def open_parquet(path: Path) -> pq.ParquetFile:
    """Open a Parquet file for reading in pieces."""
    return pq.ParquetFile(path.open("rb") if is_remote(path) else path)


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
    except (pa.ArrowInvalid, OSError) as error:
        # a damaged page is a plain OSError of Arrow's; the disk's have a number or their own class
        if isinstance(error, OSError) and (type(error) is not OSError or error.errno is not None):
            raise
        raise TableError(f"{path}: expected a table, it is damaged ({error}). {advice}") from error

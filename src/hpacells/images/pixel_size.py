"""How large a pixel is, in µm: who may say so, and in which order.

1. The user's ``--pixel-size-um`` wins over everything, tables included: it is the one statement
   made for this very command.
2. The manifest's or ``train.csv``'s column ``pixel_size_um``, row by row.
3. The files' own µm units: OME or ImageJ metadata of a TIFF (``tiff.py``), the scale of an
   OME-Zarr, the metadata of a microscope's file. PNG and JPEG carry only dots per inch, which is a
   printing size and does not count.
4. A field of four PNGs: 0.08 µm, the atlas's full resolution.

Otherwise the command stops with ``PixelSizeError`` before any work starts. A field that cannot be
read anyway (a stain missing, no readable TIFF) stops nothing: its size stays unknown, and reading
it says what is wrong.
"""

import math
import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from hpacells.core.channels import CHANNELS
from hpacells.core.errors import ConfigError, ImageError, PixelSizeError, TableError
from hpacells.core.fov import DEFAULT_PIXEL_SIZE_UM, FovRecord
from hpacells.core.location import is_remote
from hpacells.images.decode import ImageFormat, format_of_name, read_bytes, unzip
from hpacells.images.multichannel import open_channels, stains_by_file
from hpacells.images.stain_channels import find_channels
from hpacells.images.tiff import tiff_pixel_size_um

__all__ = [
    "MAX_PIXEL_SIZE_UM",
    "MIN_PIXEL_SIZE_UM",
    "check_pixel_size_option",
    "default_pixel_size_um",
    "parse_pixel_size_um",
    "resolve_pixel_sizes",
]

MIN_PIXEL_SIZE_UM = 0.005
MAX_PIXEL_SIZE_UM = 5.0
_SHOWN = 5


def check_pixel_size_option(pixel_size_um: float | None) -> None:
    """Refuse an impossible ``--pixel-size-um``."""
    if pixel_size_um is not None and not _possible(pixel_size_um):
        raise ConfigError(
            f"--pixel-size-um: expected {MIN_PIXEL_SIZE_UM} to {MAX_PIXEL_SIZE_UM} µm, "
            f"got {pixel_size_um}."
        )


def parse_pixel_size_um(text: str) -> float:
    """Read a pixel size from a table's cell.

    Raises
    ------
    TableError
        Not a number, or impossible for a light microscope.
    """
    try:
        size = float(text)
    except ValueError:
        size = math.nan
    if not _possible(size):
        raise TableError(
            f"expected a pixel_size_um of {MIN_PIXEL_SIZE_UM} to {MAX_PIXEL_SIZE_UM} µm, "
            f"got {text!r}"
        )
    return size


def resolve_pixel_sizes(
    records: Sequence[FovRecord], pixel_size_um: float | None
) -> list[FovRecord]:
    """Give every record its pixel size, or stop.

    Parameters
    ----------
    records
        With the size that their table gives, else None.
    pixel_size_um
        The user's option, None when not given.

    Returns
    -------
    list of FovRecord
        In the same order; a size stays None only where the field cannot be read anyway.

    Raises
    ------
    PixelSizeError
        The size of some fields cannot be known; the message counts and names them.
    """
    check_pixel_size_option(pixel_size_um)
    resolved, unknown = [], []
    for record in records:
        size = pixel_size_um if pixel_size_um is not None else record.pixel_size_um
        if size is None:
            size = default_pixel_size_um(record)
        if size is None and _is_readable(record):
            unknown.append(record)
        resolved.append(
            record if size == record.pixel_size_um else replace(record, pixel_size_um=size)
        )
    if unknown:
        names = ", ".join(record.fov_id for record in unknown[:_SHOWN])
        more = " …" if len(unknown) > _SHOWN else ""
        folder = unknown[0].paths[CHANNELS[0]].parent
        raise PixelSizeError(
            f"{folder}: the size of a pixel is not known for {len(unknown)} of {len(records)} "
            f"field(s) ({names}{more}): no table and no µm units in the files say it. "
            "Give --pixel-size-um."
        )
    return resolved


def default_pixel_size_um(record: FovRecord) -> float | None:
    """Ask a field's files: their µm units, or 0.08 µm for four PNGs; None when unknown."""
    for path in stains_by_file(record):
        with suppress(ImageError), open_channels(path, record.scene) as source:
            if source.pixel_size_um is not None:
                return source.pixel_size_um
    if not record.planes and _formats(record) == {ImageFormat.PNG}:
        return DEFAULT_PIXEL_SIZE_UM
    for path in _tiff_paths(record):
        if not path.is_file():  # nor is a pipe opened: that would wait for ever
            continue
        try:
            size = tiff_pixel_size_um(_tiff_source(path))
        except ImageError:  # damaged: another stain may say it
            continue
        if size is not None:
            return size
    return None


def _formats(record: FovRecord) -> set[ImageFormat | None]:
    return {format_of_name(path) for path in record.paths.values()}


def _tiff_paths(record: FovRecord) -> list[Path]:
    paths = [record.paths[channel] for channel in CHANNELS if channel not in record.planes]
    return [path for path in paths if format_of_name(path) is ImageFormat.TIFF]


def _tiff_source(path: Path) -> Path | bytes:
    if path.suffix.lower() == ".gz":
        return unzip(read_bytes(path), path)
    return read_bytes(path) if is_remote(path) else path


def _is_readable(record: FovRecord) -> bool:
    """Say whether all files are there and have headers and channels that can be read."""
    for channel, path in record.paths.items():
        there = path.exists() if channel in record.planes else path.is_file()
        if not (there and (is_remote(path) or os.access(path, os.R_OK))):
            return False
    try:
        for path, wanted in stains_by_file(record).items():
            with open_channels(path, record.scene) as source:
                find_channels(source.names, wanted, path)
        for path in _tiff_paths(record):
            tiff_pixel_size_um(_tiff_source(path))
    except ImageError:
        return False
    return True


def _possible(size: float) -> bool:
    return math.isfinite(size) and MIN_PIXEL_SIZE_UM <= size <= MAX_PIXEL_SIZE_UM

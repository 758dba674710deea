"""One field's four files to a ``FieldOfView``; a bad field is an ``ImageError`` that says why.

What real images do, and the answer here:

- *Files of different sizes, or 8 and 16 bits mixed, in one field*: refused, naming each.
- *One stain from another field*: cannot be seen in the pixels. Refused where two stains of a field
  hold the same picture, as when a file was copied under a second name; two blank ones are fine.
- *RGB(A) instead of grey*: ``images.colour`` says which are read.
- *12-bit data in 16-bit files*: full scale is 4095 when no grey value of the four stains is above
  it, else 65535. A 16-bit field that dark is taken for 12 bits; nothing in the files tells them
  apart.
- *Truncated, damaged or non-image file, floating point, several pages, gigantic*: refused
  (``images.decode``).
- *Dark, saturated or empty stains*: read as they are; what to make of them is for later stages.
- *Stains whose µm units disagree by more than 1 %*: refused.

Reading is sequential in one thread; running fields side by side is the engine's business.
"""

import hashlib
from collections.abc import Mapping
from itertools import combinations
from pathlib import Path

import numpy as np
import numpy.typing as npt

from hpacells.core.channels import CHANNELS, Channel
from hpacells.core.errors import ImageError, PixelSizeError
from hpacells.core.fov import FieldOfView, FovRecord
from hpacells.images.colour import grey_plane
from hpacells.images.decode import (
    ImageFormat,
    decode_image,
    format_of_name,
    read_if_there,
    unzip,
)
from hpacells.images.pixel_size import default_pixel_size_um
from hpacells.images.tiff import tiff_pixel_size_um

__all__ = ["digest_field", "read_field", "read_field_with_digest"]

_MAX_12_BIT = 4095
_PROBE_STEP = 61

_Pixels = npt.NDArray[np.uint8] | npt.NDArray[np.uint16]


def read_field(record: FovRecord) -> FieldOfView:
    """Read a field's four stains.

    Parameters
    ----------
    record
        Its files, and its pixel size where known.

    Returns
    -------
    FieldOfView
        Pixels as stored, ``(C, H, W)`` uint8 or uint16.

    Raises
    ------
    ImageError
        A file is missing or bad, or the four do not fit each other (see above).
    PixelSizeError
        Neither the record nor its files say the size of a pixel.
    """
    return read_field_with_digest(record)[0]


def read_field_with_digest(record: FovRecord) -> tuple[FieldOfView, str]:
    """Read a field and hash its files, touching each file once.

    Parameters
    ----------
    record
        Its files, and its pixel size where known.

    Returns
    -------
    tuple
        The field as by ``read_field``, and the digest as by ``digest_field``.

    Raises
    ------
    ImageError
        As ``read_field``.
    PixelSizeError
        As ``read_field``.
    """
    contents = _read_contents(record)
    pixels = _decode_stains(record, contents)
    _check_copies(record, pixels)
    size = _pixel_size_um(record, contents)
    field = FieldOfView(record.fov_id, pixels, size, _max_value(pixels), record)
    return field, _digest(contents)


def digest_field(record: FovRecord) -> str:
    """Hash the content of a field's four files, without decoding.

    Parameters
    ----------
    record
        Its files.

    Returns
    -------
    str
        SHA-256, hexadecimal, over the four files' SHA-256 in the order of ``CHANNELS``: names,
        dates and places don't count.

    Raises
    ------
    ImageError
        A file is missing or cannot be read.
    """
    return _digest(_read_contents(record))


def _read_contents(record: FovRecord) -> dict[Channel, bytes]:
    contents: dict[Channel, bytes] = {}
    for channel in CHANNELS:
        content = read_if_there(record.paths[channel])
        if content is not None:
            contents[channel] = content
    missing = [channel for channel in CHANNELS if channel not in contents]
    if missing:
        there = ", ".join(record.paths[channel].name for channel in contents) or "none"
        raise ImageError(
            f"field {record.fov_id}: expected four stains, there is no file for "
            f"{', '.join(channel.value for channel in missing)} "
            f"({record.paths[missing[0]]}); there are: {there}. Add the missing file(s)."
        )
    return contents


def _digest(contents: Mapping[Channel, bytes]) -> str:
    whole = hashlib.sha256()
    for channel in CHANNELS:
        whole.update(hashlib.sha256(contents[channel]).digest())
    return whole.hexdigest()


def _decode_stains(record: FovRecord, contents: Mapping[Channel, bytes]) -> _Pixels:
    """Decode one stain after the other into one array; compare sizes and types at the end."""
    kinds: dict[Channel, tuple[tuple[int, ...], np.dtype[np.integer]]] = {}
    pixels: _Pixels | None = None
    for channel in CHANNELS:
        plane = _decode_plane(contents[channel], channel, record.paths[channel])
        if pixels is None:
            pixels = np.empty((len(CHANNELS), *plane.shape), plane.dtype)
        if plane.shape == pixels.shape[1:] and plane.dtype == pixels.dtype:
            pixels[channel.position] = plane
        kinds[channel] = (plane.shape, plane.dtype)
    if pixels is None or len(set(kinds.values())) > 1:
        listed = ", ".join(
            f"{channel.value} {shape[1]}x{shape[0]} {dtype}"
            for channel, (shape, dtype) in kinds.items()
        )
        raise ImageError(
            f"field {record.fov_id}: expected four stains of one size and bit depth, "
            f"got {listed}. Replace the files that differ."
        )
    return pixels


def _decode_plane(content: bytes, channel: Channel, path: Path) -> _Pixels:
    lossy = format_of_name(path) is ImageFormat.JPEG
    plane = grey_plane(decode_image(content, path), channel, path, lossy=lossy)
    if plane.dtype not in (np.uint8, np.uint16):
        raise ImageError(
            f"{path}: expected 8- or 16-bit grey values, got {plane.dtype}. Convert the file."
        )
    return plane  # type: ignore[return-value]


def _check_copies(record: FovRecord, pixels: _Pixels) -> None:
    """Refuse one picture under two stains, unless it is blank."""
    probe = pixels[:, ::_PROBE_STEP, ::_PROBE_STEP]
    for a, b in combinations(CHANNELS, 2):
        if not np.array_equal(probe[a.position], probe[b.position]):
            continue
        plane = pixels[a.position]
        if plane.min() != plane.max() and np.array_equal(plane, pixels[b.position]):
            raise ImageError(
                f"field {record.fov_id}: {a.value} and {b.value} hold the same picture "
                f"({record.paths[a].name}, {record.paths[b].name}). Replace the wrong one."
            )


def _max_value(pixels: _Pixels) -> int:
    if pixels.dtype == np.uint8:
        return 255
    return _MAX_12_BIT if int(pixels.max()) <= _MAX_12_BIT else 65535


def _pixel_size_um(record: FovRecord, contents: Mapping[Channel, bytes]) -> float:
    own = {}
    for channel in CHANNELS:
        path = record.paths[channel]
        if format_of_name(path) is ImageFormat.TIFF:
            gzipped = path.suffix.lower() == ".gz"
            content = unzip(contents[channel], path) if gzipped else contents[channel]
            size = tiff_pixel_size_um(content)
            if size is not None:
                own[channel] = size
    if own and max(own.values()) > 1.01 * min(own.values()):
        listed = ", ".join(f"{channel.value} {size:g}" for channel, size in own.items())
        raise ImageError(
            f"field {record.fov_id}: its stains' own pixel sizes differ ({listed} µm). "
            "Replace the files that differ."
        )
    size = record.pixel_size_um or default_pixel_size_um(record)
    if size is None:
        raise PixelSizeError(
            f"field {record.fov_id}: no table and no µm units in its files say the size of a "
            "pixel. Give --pixel-size-um."
        )
    return size

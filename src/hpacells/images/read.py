"""One field's files to a ``FieldOfView``; a bad field is an ``ImageError`` that says why.

What real images do, and the answer here:

- *Files of different sizes, or 8 and 16 bits mixed, in one field*: refused, naming each.
- *One stain from another field*: cannot be seen in the pixels. Refused where two stains of a field
  hold the same picture, as when a file was copied under a second name; two blank ones are fine.
- *RGB(A) instead of grey*: ``images.colour`` says which are read.
- *12-bit data in 16-bit files*: the record says the full scale of its data set
  (``images.full_scale``); a field with grey values above it is refused.
- *Truncated, damaged or non-image file, floating point, several pages, gigantic*: refused
  (``images.decode``).
- *Dark, saturated or empty stains*: read as they are; what to make of them is for later stages.
- *Stains whose µm units disagree by more than 1 %*: refused.

Reading is sequential in one thread; running fields side by side is the engine's business.
"""

import hashlib
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from itertools import combinations
from pathlib import Path

import numpy as np
import numpy.typing as npt

from hpacells.core.channels import CHANNELS, Channel
from hpacells.core.errors import ImageError, PixelSizeError
from hpacells.core.fov import FieldOfView, FovRecord, full_scale
from hpacells.core.provenance import sha256_bytes
from hpacells.images.colour import grey_plane
from hpacells.images.decode import (
    ImageFormat,
    decode_image,
    format_of_name,
    read_if_there,
    unzip,
)
from hpacells.images.multichannel import open_channels, stains_by_file
from hpacells.images.pixel_size import default_pixel_size_um
from hpacells.images.stain_channels import find_channels
from hpacells.images.tiff import tiff_pixel_size_um

__all__ = ["digest_field", "read_field", "read_field_with_digest"]

_MAX_16_BIT = full_scale(16)
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
    with ExitStack() as opened:
        stains = _open_stains(record, opened)
        pixels = _decode_stains(record, stains)
        _check_copies(record, pixels)
        size = _pixel_size_um(record, stains)
        max_value = _max_value(record, stains, pixels)
    field = FieldOfView(record.fov_id, pixels, size, max_value, record)
    return field, _digest(record, stains)


def digest_field(record: FovRecord) -> str:
    """Hash the content of a field's files, without decoding.

    Parameters
    ----------
    record
        Its files.

    Returns
    -------
    str
        SHA-256, hexadecimal, over the four stains' SHA-256 in the order of ``CHANNELS``: names,
        dates and places don't count. A stain in a file of several is that file and its position.
        A full scale below 16 bits counts too, for it changes the image.

    Raises
    ------
    ImageError
        A file is missing or cannot be read.
    """
    with ExitStack() as opened:
        return _digest(record, _open_stains(record, opened))


@dataclass(frozen=True)
class _Stain:
    """One stain: its hash, and what is asked of its file only where the field is read."""

    digest: str
    decode: Callable[[], npt.NDArray[np.integer]]
    pixel_size_um: Callable[[], float | None]
    max_value: int | None = None


def _open_stains(record: FovRecord, opened: ExitStack) -> dict[Channel, _Stain]:
    stains = {}
    for channel, content in _read_contents(record).items():
        path = record.paths[channel]
        stains[channel] = _Stain(
            sha256_bytes(content),
            partial(_decode_file, content, channel, path),
            partial(_file_pixel_size_um, content, path),
        )
    for path, wanted in stains_by_file(record).items():
        source = opened.enter_context(open_channels(path, record.scene))
        digest = source.digest()
        for channel, place in find_channels(source.names, wanted, path).items():
            stains[channel] = _Stain(
                sha256_bytes(f"{digest} {record.scene} {place}".encode()),
                partial(source.read, place),
                partial(getattr, source, "pixel_size_um"),
                source.max_value,
            )
    return stains


def _read_contents(record: FovRecord) -> dict[Channel, bytes]:
    """Read the files that hold one stain each."""
    contents: dict[Channel, bytes] = {}
    single = [channel for channel in CHANNELS if channel not in record.planes]
    for channel in single:
        content = read_if_there(record.paths[channel])
        if content is not None:
            contents[channel] = content
    missing = [channel for channel in single if channel not in contents]
    if missing:
        there = ", ".join(record.paths[channel].name for channel in contents) or "none"
        raise ImageError(
            f"field {record.fov_id}: expected four stains, there is no file for "
            f"{', '.join(channel.value for channel in missing)} "
            f"({record.paths[missing[0]]}); there are: {there}. Add the missing file(s)."
        )
    return contents


def _digest(record: FovRecord, stains: Mapping[Channel, _Stain]) -> str:
    whole = hashlib.sha256()
    for channel in CHANNELS:
        whole.update(bytes.fromhex(stains[channel].digest))
    if record.max_value not in (None, _MAX_16_BIT):
        whole.update(f"full scale {record.max_value}".encode())
    return whole.hexdigest()


def _decode_stains(record: FovRecord, stains: Mapping[Channel, _Stain]) -> _Pixels:
    """Decode one stain after the other into one array; compare sizes and types at the end."""
    kinds: dict[Channel, tuple[tuple[int, ...], np.dtype[np.integer]]] = {}
    pixels: _Pixels | None = None
    for channel in CHANNELS:
        plane = stains[channel].decode()
        if plane.dtype not in (np.uint8, np.uint16):
            raise ImageError(
                f"{record.paths[channel]}: expected 8- or 16-bit grey values, got {plane.dtype}. "
                "Convert the file."
            )
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


def _decode_file(content: bytes, channel: Channel, path: Path) -> npt.NDArray[np.integer]:
    lossy = format_of_name(path) is ImageFormat.JPEG
    return grey_plane(decode_image(content, path), channel, path, lossy=lossy)


def _file_pixel_size_um(content: bytes, path: Path) -> float | None:
    if format_of_name(path) is not ImageFormat.TIFF:
        return None
    gzipped = path.suffix.lower() == ".gz"
    return tiff_pixel_size_um(unzip(content, path) if gzipped else content)


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


def _max_value(record: FovRecord, stains: Mapping[Channel, _Stain], pixels: _Pixels) -> int:
    """Give the full scale: 8-bit files have their own, for others the record speaks first."""
    if pixels.dtype == np.uint8:
        return full_scale(8)
    told = {stain.max_value for stain in stains.values() if stain.max_value is not None}
    scale = record.max_value or max(told, default=_MAX_16_BIT)
    top = int(pixels.max())
    if top > scale:
        raise ImageError(
            f"field {record.fov_id}: expected grey values up to {scale}, the full scale of its "
            f"data set, got {top}. Give the right one: --bit-depth, or the column bit_depth."
        )
    return scale


def _pixel_size_um(record: FovRecord, stains: Mapping[Channel, _Stain]) -> float:
    own = {}
    for channel in CHANNELS:
        own_size = stains[channel].pixel_size_um()
        if own_size is not None:
            own[channel] = own_size
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

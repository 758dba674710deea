"""Bytes of one PNG, JPEG or TIFF file to an array, or an ``ImageError`` that says why not.

OpenCV decodes PNG and JPEG (fastest, LIBRARIES.md), tifffile TIFF. OpenCV's older releases give
back half a picture for a truncated file and its newer ones write to the terminal, so the
container is checked first: PNG chunk by chunk with their checksums, JPEG from its frame header to
its end mark. What that cannot see: damage inside the coded data of a JPEG, which has no checksum.

Nothing here knows stains, fields or mask ids; grey values are never rescaled.
"""

import gzip
import io
import re
import stat
import struct
import zlib
from enum import StrEnum
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from hpacells.core.errors import ImageError
from hpacells.core.location import is_remote, read_content
from hpacells.images.channel_source import check_side
from hpacells.images.tiff import decode_tiff

__all__ = [
    "ImageFormat",
    "decode_image",
    "format_of_name",
    "read_bytes",
    "read_if_there",
    "split_suffix",
    "unzip",
]

_PNG_MAGIC = b"\x89PNG\r\n\x1a\n"
_JPEG_MAGIC = b"\xff\xd8\xff"
_TIFF_MAGICS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_GZIP_MAGIC = b"\x1f\x8b"
_JPEG_END = b"\xff\xd9"
_JPEG_TAIL_BYTES = 1024
_MAX_UNZIPPED_BYTES = 1_000_000_000  # 20,000 x 20,000 pixels of 16 bits

_SUFFIX = re.compile(r"\.(png|jpe?g|(?:ome\.)?tiff?(?:\.gz)?)$", re.IGNORECASE)


class ImageFormat(StrEnum):
    """What an image file holds; the order is the order of preference."""

    PNG = "PNG"
    TIFF = "TIFF"
    JPEG = "JPEG"


def split_suffix(name: str) -> tuple[str, ImageFormat] | None:
    """Split a file name into its stem and the format that its suffix promises.

    Examples
    --------
    >>> split_suffix("a_red.tif.gz")
    ('a_red', <ImageFormat.TIFF: 'TIFF'>)
    >>> split_suffix("a_red.txt") is None
    True
    """
    found = _SUFFIX.search(name)
    if found is None:
        return None
    kind = found.group(1).lower()
    if kind == "png":
        return name[: found.start()], ImageFormat.PNG
    if kind in {"jpg", "jpeg"}:
        return name[: found.start()], ImageFormat.JPEG
    return name[: found.start()], ImageFormat.TIFF


def format_of_name(path: Path) -> ImageFormat | None:
    """Give the format that a file's suffix promises, None for a suffix that is not read."""
    parts = split_suffix(path.name)
    return None if parts is None else parts[1]


def read_bytes(path: Path) -> bytes:
    """Read a file's bytes.

    Raises
    ------
    ImageError
        When it is not there or cannot be read.
    """
    content = read_if_there(path)
    if content is None:
        raise ImageError(f"{path}: no such file. Check the path.")
    return content


def read_if_there(path: Path) -> bytes | None:
    """Read a file's bytes, None when there is no such file.

    Raises
    ------
    ImageError
        When it is there and cannot be read.
    """
    try:
        # reading a pipe would wait for ever
        if not is_remote(path) and not stat.S_ISREG(path.stat().st_mode):
            raise ImageError(f"{path}: expected a file, got a folder or a device. Replace it.")
        return read_content(path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise ImageError(
            f"{path}: cannot be read ({error.strerror}). Check the file and its rights."
        ) from error


def decode_image(
    content: bytes, path: Path
) -> npt.NDArray[np.uint8] | npt.NDArray[np.uint16] | npt.NDArray[np.integer]:
    """Decode one image.

    Parameters
    ----------
    content
        The file's bytes; a gzipped TIFF is unzipped.
    path
        Its suffix says the format that is expected; named in errors.

    Returns
    -------
    ndarray
        ``(H, W)``, or ``(H, W, 3 or 4)`` red, green, blue (alpha); uint8 or uint16 from PNG and
        JPEG, any integer type from TIFF.

    Raises
    ------
    ImageError
        Not an image, truncated, damaged, of another format than its name says, more than one
        page, floating point, or a side longer than ``channel_source.MAX_SIDE_PX``.
    """
    if content.startswith(_GZIP_MAGIC) and path.suffix.lower() == ".gz":
        content = unzip(content, path)
    found, expected = _detect(content), format_of_name(path)
    if found is None:
        raise ImageError(
            f"{path}: expected a PNG, JPEG or TIFF image, got {len(content)} bytes that are "
            "none of these. Replace the file."
        )
    if expected is not None and found is not expected:
        raise ImageError(
            f"{path}: expected a {expected.value} image by its name, got {found.value}. "
            "Rename or convert the file."
        )
    if found is ImageFormat.TIFF:
        return decode_tiff(content, path)
    if found is ImageFormat.PNG:
        _check_png(content, path)
    else:
        _check_jpeg(content, path)
    return _decode_opencv(content, path)


def _detect(content: bytes) -> ImageFormat | None:
    if content.startswith(_PNG_MAGIC):
        return ImageFormat.PNG
    if content.startswith(_JPEG_MAGIC):
        return ImageFormat.JPEG
    if content.startswith(_TIFF_MAGICS):
        return ImageFormat.TIFF
    return None


def unzip(content: bytes, path: Path, *, max_bytes: int | None = None) -> bytes:
    """Unzip a gzipped file's bytes.

    Raises
    ------
    ImageError
        Damaged, truncated, or larger than any field.
    """
    limit = _MAX_UNZIPPED_BYTES if max_bytes is None else max_bytes
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(content)) as file:
            plain = file.read(limit + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise ImageError(f"{path}: damaged or truncated gzip ({error}). Copy it anew.") from error
    if len(plain) > limit:
        raise ImageError(f"{path}: unzips to more than {limit / 1e9:g} GB.")
    return plain


def _check_png(content: bytes, path: Path) -> None:
    """Walk the chunks: sizes before decoding, checksums, and the end chunk."""
    view, at = memoryview(content), len(_PNG_MAGIC)
    while at + 12 <= len(content):
        length, kind = struct.unpack_from(">I4s", content, at)
        end = at + 12 + length
        if end > len(content):
            break
        if zlib.crc32(view[at + 4 : end - 4]) != struct.unpack_from(">I", content, end - 4)[0]:
            raise ImageError(
                f"{path}: damaged PNG (checksum of its {kind!r} part). Copy the file anew."
            )
        if kind == b"IHDR" and length == 13:
            width, height = struct.unpack_from(">II", content, at + 8)
            check_side(height, width, path)
        if kind == b"IEND":
            return
        at = end
    raise ImageError(
        f"{path}: truncated PNG, it ends after {len(content)} bytes. Copy the file anew."
    )


def _check_jpeg(content: bytes, path: Path) -> None:
    """Read the size from the frame header and look for the end mark."""
    at = 2
    while at + 9 <= len(content) and content[at] == 0xFF:
        marker = content[at + 1]
        if marker == 0xFF:  # fill byte
            at += 1
            continue
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            height, width = struct.unpack_from(">HH", content, at + 5)
            check_side(height, width, path)
            break
        at += 2 + struct.unpack_from(">H", content, at + 2)[0]
    else:
        raise ImageError(f"{path}: damaged JPEG, it has no frame header. Copy the file anew.")
    if content.rfind(_JPEG_END, max(at, len(content) - _JPEG_TAIL_BYTES)) < 0:
        raise ImageError(
            f"{path}: truncated JPEG, no end mark after {len(content)} bytes. Copy the file anew."
        )


def _decode_opencv(content: bytes, path: Path) -> npt.NDArray[np.uint8] | npt.NDArray[np.uint16]:
    try:
        image = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error as error:
        raise ImageError(f"{path}: cannot be decoded ({error.err}). Copy the file anew.") from error
    if image is None:
        raise ImageError(f"{path}: cannot be decoded, its content is damaged. Copy it anew.")
    if image.ndim == 3:
        image = image[..., [2, 1, 0, 3][: image.shape[2]]]
    return image  # type: ignore[return-value]

"""TIFF files: one grey or colour page to an array, and the size of a pixel from its metadata.

The size of a pixel counts when the file gives it in units of length: OME-XML (``PhysicalSizeX``),
or ImageJ's own description (``unit=micron`` and the resolution tag). A resolution in dots per inch
or per centimetre alone is a printing size and is ignored.

ImageJ stores a stain shown in one colour as values with a colour table that rises from black: the
values are the grey values and are taken. Any other colour table is refused.
"""

import io
import math
import re
import struct
import zlib
from pathlib import Path
from xml.etree import ElementTree as ET

import numpy as np
import numpy.typing as npt
import tifffile

from hpacells.core.errors import ImageError

__all__ = ["MAX_SIDE_PX", "check_side", "decode_tiff", "tiff_pixel_size_um"]

MAX_SIDE_PX = 20_000
"""Longest side that is read: an image above it is taken for a mistake or a decompression bomb."""

_UM_PER_UNIT = {"nm": 1e-3, "um": 1.0, "micron": 1.0, "microns": 1.0, "mm": 1e3, "cm": 1e4}

# What tifffile and its codecs raise on damaged files; nothing in hpacells runs under it.
_TIFF_ERRORS = (
    tifffile.TiffFileError,
    ArithmeticError,
    AttributeError,
    EOFError,
    LookupError,
    MemoryError,
    OSError,
    RuntimeError,
    TypeError,
    ValueError,
    struct.error,
    zlib.error,
)


def check_side(height: int, width: int, path: Path) -> None:
    """Refuse an empty image, and one too large to be a field."""
    if not (0 < height <= MAX_SIDE_PX and 0 < width <= MAX_SIDE_PX):
        raise ImageError(
            f"{path}: expected sides of 1 to {MAX_SIDE_PX} pixels, got {width}x{height}. "
            "Cut it into fields."
        )


def decode_tiff(content: bytes, path: Path) -> npt.NDArray[np.integer]:
    """Decode a TIFF of one page.

    Parameters
    ----------
    content
        The file's bytes.
    path
        Named in errors.

    Returns
    -------
    ndarray
        ``(H, W)`` or ``(H, W, 3 or 4)``, an integer type, as stored.

    Raises
    ------
    ImageError
        Damaged, several pages, floating point, inverted grey, or too large.
    """
    try:
        with tifffile.TiffFile(io.BytesIO(content)) as file:
            _check_layout(file, path)
            pixels: npt.NDArray[np.integer] = file.series[0].asarray(maxworkers=1)
    except _TIFF_ERRORS as error:
        raise ImageError(f"{path}: damaged TIFF ({error}). Copy the file anew.") from error
    return pixels


def _check_layout(file: tifffile.TiffFile, path: Path) -> None:
    """Refuse before decoding what is not one page of integer grey values or colours."""
    page, series = file.pages.first, file.series
    check_side(page.imagelength, page.imagewidth, path)
    shape, axes, dtype = series[0].shape, series[0].axes, series[0].dtype
    is_plane = axes == "YX" or (axes == "YXS" and shape[2] in {3, 4})
    if len(series) != 1 or not is_plane:
        raise ImageError(
            f"{path}: expected one grey page, got {len(series)} image(s) of shape {shape} ({axes})."
            " Save each stain as a file of its own."
        )
    if dtype.kind not in "iu":
        raise ImageError(
            f"{path}: expected integer grey values, got {dtype}. Convert to 8 or 16 bits."
        )
    if page.photometric == tifffile.PHOTOMETRIC.MINISWHITE:
        raise ImageError(f"{path}: inverted grey (white is 0). Save it with black as 0.")
    if page.colormap is not None and (np.diff(page.colormap.astype(np.int64), axis=1) < 0).any():
        raise ImageError(
            f"{path}: its values point into a colour table. Save it as 8- or 16-bit grey."
        )


def tiff_pixel_size_um(content: bytes | Path) -> float | None:
    """Read the size of a pixel from a TIFF's own metadata.

    Parameters
    ----------
    content
        A path, of which only the headers are read, or the file's bytes.

    Returns
    -------
    float or None
        µm per pixel; None when the file gives none, or none above 0, in units of length.

    Raises
    ------
    ImageError
        The file is no readable TIFF, or its pixels are not square (1 % apart).
    """
    source = content if isinstance(content, Path) else io.BytesIO(content)
    where = content if isinstance(content, Path) else "TIFF"
    try:
        with tifffile.TiffFile(source) as file:
            size = _ome_size(file) or _imagej_size(file)
    except (*_TIFF_ERRORS, ET.ParseError) as error:
        raise ImageError(f"{where}: damaged TIFF ({error}). Copy the file anew.") from error
    if size is None:
        return None
    across, down = size
    if not (math.isfinite(across) and math.isfinite(down) and min(size) > 0):
        return None
    if abs(across - down) > 0.01 * max(across, down):
        raise ImageError(
            f"{where}: expected square pixels, got {across:g} x {down:g} µm. Resample the image."
        )
    return across


def _ome_size(file: tifffile.TiffFile) -> tuple[float, float] | None:
    if not file.is_ome or not file.ome_metadata:
        return None
    root = ET.fromstring(file.ome_metadata)
    for pixels in root.iter():
        if not pixels.tag.endswith("}Pixels") and pixels.tag != "Pixels":
            continue
        sizes = []
        for axis in ("X", "Y"):
            value = pixels.get(f"PhysicalSize{axis}")
            per_unit = _um_per_unit(pixels.get(f"PhysicalSize{axis}Unit", "µm"))
            if value is None or per_unit is None:
                return None
            sizes.append(float(value) * per_unit)
        return sizes[0], sizes[1]
    return None


def _imagej_size(file: tifffile.TiffFile) -> tuple[float, float] | None:
    metadata = file.imagej_metadata
    per_unit = _um_per_unit(str((metadata or {}).get("unit", "")))
    if per_unit is None:
        return None
    tags = file.pages.first.tags
    sizes = []
    for name in ("XResolution", "YResolution"):
        if name not in tags:
            return None
        pixels, units = tags[name].value
        if not pixels or not units:
            return None
        sizes.append(units / pixels * per_unit)
    return sizes[0], sizes[1]


def _um_per_unit(unit: str) -> float | None:
    word = re.sub(r"\\u00[bB]5|[µμ]", "u", unit.strip()).lower()
    return _UM_PER_UNIT.get(word)

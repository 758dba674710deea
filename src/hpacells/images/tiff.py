"""TIFF files: one grey or colour page to an array, and the size of a pixel from its metadata.

The size of a pixel counts when the file gives it in units of length: OME-XML (``PhysicalSizeX``),
or ImageJ's own description (``unit=micron`` and the resolution tag). A resolution in dots per inch
or per centimetre alone is a printing size and is ignored.

ImageJ stores a stain shown in one colour as values with a colour table that rises from black: the
values are the grey values and are taken. Any other colour table is refused.
"""

import io
import math
import struct
import zlib
from pathlib import Path

import numpy as np
import numpy.typing as npt
import tifffile

from hpacells.core.errors import ImageError
from hpacells.images.channel_source import check_side, check_square
from hpacells.images.ome_xml import OmeImage, read_ome, um_per_unit

__all__ = [
    "TIFF_ERRORS",
    "decode_tiff",
    "imagej_size",
    "ome_images",
    "tiff_pixel_size_um",
]

TIFF_ERRORS = (
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
"""What tifffile and its codecs raise on damaged files; little else may run under it."""


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
    except TIFF_ERRORS as error:
        raise ImageError(f"{path}: damaged TIFF ({error}). Copy the file anew.") from error
    return pixels


def _check_layout(file: tifffile.TiffFile, path: Path) -> None:
    """Refuse before decoding what is not one page of integer grey values or colours."""
    ome_images(file, path)
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
            images = ome_images(file, where)
            size = images[0].pixel_size_um if images else imagej_size(file)
    except TIFF_ERRORS as error:
        raise ImageError(f"{where}: damaged TIFF ({error}). Copy the file anew.") from error
    if size is None:
        return None
    across, down = size
    if not (math.isfinite(across) and math.isfinite(down) and min(size) > 0):
        return None
    return check_square(across, down, where)


def ome_images(file: tifffile.TiffFile, path: Path | str) -> list[OmeImage]:
    """Read the OME-XML of an open TIFF before anything else does; empty without any.

    Raises
    ------
    ImageError
        As ``ome_xml.read_ome``.
    """
    return read_ome(file.ome_metadata, path) if file.is_ome and file.ome_metadata else []


def imagej_size(file: tifffile.TiffFile) -> tuple[float, float] | None:
    """Give ImageJ's size of a pixel in µm, across and down; None when it is not given."""
    metadata = file.imagej_metadata
    per_unit = um_per_unit(str((metadata or {}).get("unit", "")))
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

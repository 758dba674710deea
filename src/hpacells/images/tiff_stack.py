"""A TIFF of several channels: OME-TIFF, ImageJ hyperstack, plain pages or samples.

A series is one image; its channels are the steps of its axis C, or of S (samples), or of pages that
say nothing of themselves. Depth and time of one step are passed over, of more refused. Names come
from OME-XML or ImageJ's labels of slices.
"""

import io
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import cache
from pathlib import Path

import numpy as np
import numpy.typing as npt
import tifffile

from hpacells.core.errors import ImageError
from hpacells.core.fov import BIT_DEPTHS, full_scale
from hpacells.core.location import is_remote
from hpacells.core.provenance import sha256_file
from hpacells.images.channel_source import ChannelSource, check_size, check_square
from hpacells.images.decode import read_bytes, unzip
from hpacells.images.ome_xml import OmeImage
from hpacells.images.tiff import TIFF_ERRORS, imagej_size, ome_images

__all__ = ["count_series", "open_tiff_stack"]


def count_series(path: Path) -> int:
    """Count the images in a TIFF; of a plain file only its headers are read.

    Raises
    ------
    ImageError
        It is no readable TIFF.
    """
    with _open_file(path) as file, _named_errors(path):
        return len(file.series)


@contextmanager
def open_tiff_stack(path: Path, scene: int) -> Iterator[ChannelSource]:
    """Open one image of a TIFF.

    Parameters
    ----------
    path
        The file, gzipped or not.
    scene
        Which of its images, from 1.

    Yields
    ------
    ChannelSource
        Its channels; all are decoded when the first is read.

    Raises
    ------
    ImageError
        Damaged, too large, or with more axes than channels, rows and columns.
    """
    with _open_file(path) as file:
        with _named_errors(path):
            source = _describe(file, path, scene)
        yield source


@contextmanager
def _open_file(path: Path) -> Iterator[tifffile.TiffFile]:
    if not path.is_file():  # a pipe would make it wait for ever
        raise ImageError(f"{path}: expected a file, got a folder or a device. Replace it.")
    with ExitStack() as stack:
        with _named_errors(path):
            source: Path | io.BytesIO = path
            if path.suffix.lower() == ".gz":
                source = io.BytesIO(unzip(read_bytes(path), path))
            elif is_remote(path):
                source = io.BytesIO(read_bytes(path))
            file = stack.enter_context(tifffile.TiffFile(source))
            ome_images(file, path)  # refuses hostile metadata before tifffile reads them
            if not file.series:
                raise ImageError(f"{path}: damaged TIFF, no image in it. Copy the file anew.")
        yield file


@contextmanager
def _named_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except TIFF_ERRORS as error:
        raise ImageError(f"{path}: damaged TIFF ({error}). Copy the file anew.") from error


def _describe(file: tifffile.TiffFile, path: Path, scene: int) -> ChannelSource:
    series = _series(file, path, scene)
    n = _count_channels(series, path)
    images = ome_images(file, path)
    ome = images[scene - 1] if len(images) >= scene else OmeImage(None, (), None)
    size = ome.pixel_size_um or imagej_size(file)
    names = ome.names if len(ome.names) == n else _imagej_labels(file, n)
    bits = ome.significant_bits

    @cache
    def stack() -> npt.NDArray[np.integer]:
        with _named_errors(path):
            return _read(series)

    return ChannelSource(
        path,
        names,
        None if size is None else check_square(*size, path),
        full_scale(bits) if bits is not None and bits in BIT_DEPTHS else None,
        series.dtype,
        lambda place: stack()[place],
        lambda: sha256_file(path),
    )


def _series(file: tifffile.TiffFile, path: Path, scene: int) -> tifffile.TiffPageSeries:
    if not 1 <= scene <= len(file.series):
        raise ImageError(
            f"{path}: expected an image number {scene}, the file has {len(file.series)}. "
            "Correct the manifest's column scene."
        )
    return file.series[scene - 1]


def _count_channels(series: tifffile.TiffPageSeries, path: Path) -> int:
    sizes = dict(zip(series.axes, series.shape, strict=True))
    n = check_size(sizes, series.dtype, path, channel_axes="CSQI")  # Q, I: pages, not said of what
    if series.keyframe.photometric == tifffile.PHOTOMETRIC.MINISWHITE:
        raise ImageError(f"{path}: inverted grey (white is 0). Save it with black as 0.")
    return n


def _read(series: tifffile.TiffPageSeries) -> npt.NDArray[np.integer]:
    """Decode to ``(C, H, W)``."""
    pixels: npt.NDArray[np.integer] = series.asarray(maxworkers=1)
    row, column = series.axes.index("Y"), series.axes.index("X")
    pixels = np.moveaxis(pixels, (row, column), (-2, -1))
    return pixels.reshape(-1, *pixels.shape[-2:])


def _imagej_labels(file: tifffile.TiffFile, n: int) -> tuple[str, ...]:
    labels = (file.imagej_metadata or {}).get("Labels")
    if isinstance(labels, list | tuple) and len(labels) == n:
        return tuple(str(label).strip() for label in labels)
    return ("",) * n

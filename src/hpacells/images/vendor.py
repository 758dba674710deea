"""Files of microscopes' makers, read by bioio: Zeiss CZI, Leica LIF, Nikon ND2.

``pip install 'hpacells[vendor]'`` brings bioio with its readers of LIF and ND2. The reader of CZI,
bioio-czi, is under the GPL: it is never installed with hpacells; who accepts that licence runs
``pip install bioio-czi``. A file of several scenes or positions gives one field per scene.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from hpacells.core.errors import ImageError, MissingExtraError
from hpacells.core.provenance import sha256_file
from hpacells.images.channel_source import ChannelSource, check_size, check_square

__all__ = ["VENDOR_SUFFIXES", "count_scenes", "open_vendor"]

VENDOR_SUFFIXES = (".czi", ".lif", ".nd2")
_READ_ERRORS = (
    ArithmeticError,
    AttributeError,
    LookupError,
    MemoryError,
    OSError,
    RuntimeError,
    SyntaxError,  # of the XML in them
    TypeError,
    ValueError,
)
_LIF_MAGIC = b"\x70\0\0\0"
_HOW = {
    ".czi": "Reading CZI needs bioio and bioio-czi, which is under the GPL-3 and therefore not "
    "part of hpacells: pip install 'hpacells[vendor]' bioio-czi",
    ".lif": "Reading LIF needs bioio: pip install 'hpacells[vendor]'",
    ".nd2": "Reading ND2 needs bioio: pip install 'hpacells[vendor]'",
}


def count_scenes(path: Path) -> int:
    """Count the images in a file.

    Raises
    ------
    ImageError
        It cannot be read.
    MissingExtraError
        bioio or its reader of this format is not installed.
    """
    return len(_open(path).scenes)


@contextmanager
def open_vendor(path: Path, scene: int) -> Iterator[ChannelSource]:
    """Open one image of a file.

    Parameters
    ----------
    path
        The file.
    scene
        Which of its images, from 1.

    Yields
    ------
    ChannelSource
        Its channels, decoded when they are read.

    Raises
    ------
    ImageError
        It cannot be read, or has depth or time.
    MissingExtraError
        bioio or its reader of this format is not installed.
    """
    image = _open(path)
    try:
        if not 1 <= scene <= len(image.scenes):
            raise ImageError(
                f"{path}: expected an image number {scene}, the file has {len(image.scenes)}. "
                "Correct the manifest's column scene."
            )
        if image.current_scene_index != scene - 1:
            image.set_scene(scene - 1)
        sizes = {axis: int(getattr(image.dims, axis)) for axis in image.dims.order}
        dtype, size = np.dtype(image.dtype), image.physical_pixel_sizes
        names = [str(name) for name in image.channel_names or ()]
    except _READ_ERRORS as error:
        raise ImageError(f"{path}: cannot be read ({error}). Copy the file anew.") from error
    n = check_size(sizes, dtype, path)
    across, down = (getattr(size, axis, None) or 0.0 for axis in "XY")
    yield ChannelSource(
        path,
        tuple(names) if len(names) == n else ("",) * n,
        check_square(float(across), float(down), path) if min(across, down) > 0 else None,
        None,
        dtype,
        lambda channel: _read(image, channel, path),
        lambda: sha256_file(path),
    )


def _open(path: Path) -> Any:
    try:
        from bioio import BioImage  # noqa: PLC0415  an optional package
        from bioio_base.exceptions import UnsupportedFileFormatError  # noqa: PLC0415
    except ImportError as error:
        raise MissingExtraError(f"{path}: {_HOW[path.suffix.lower()]}") from error
    if not path.is_file():
        raise ImageError(f"{path}: no such file. Check the path.")
    if path.suffix.lower() == ".lif":
        _check_lif(path)
    try:
        return BioImage(path)
    except UnsupportedFileFormatError as error:
        raise MissingExtraError(
            f"{path}: no installed reader takes it: {error}. {_HOW[path.suffix.lower()]}. If that "
            "is installed, the file is damaged."
        ) from error
    except _READ_ERRORS as error:
        raise ImageError(f"{path}: cannot be read ({error}). Copy the file anew.") from error


def _check_lif(path: Path) -> None:
    """Refuse what is no LIF: the reader takes Leica's other formats too, which name other files."""
    with path.open("rb") as file:
        if file.read(len(_LIF_MAGIC)) != _LIF_MAGIC:
            raise ImageError(f"{path}: expected a Leica LIF, got something else. Copy it anew.")


def _read(image: Any, channel: int, path: Path) -> npt.NDArray[np.integer]:
    try:
        plane: npt.NDArray[np.integer] = image.get_image_data("YX", T=0, C=channel, Z=0)
    except _READ_ERRORS as error:
        raise ImageError(f"{path}: cannot be decoded ({error}). Copy the file anew.") from error
    return plane

"""Files that hold several stains: one way to ask for their channels, whatever the format.

TIFF and OME-TIFF (``tiff_stack``), OME-Zarr (``ome_zarr``), CZI, LIF and ND2 (``vendor``), and the
colour planes of a PNG. Depth and time must have one step each: which of several would be a guess.
A file that holds several images (series, scenes, wells) gives one field per image.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hpacells.core.channels import CHANNELS, Channel
from hpacells.core.errors import ImageError, InputError
from hpacells.core.fov import FovRecord
from hpacells.core.location import is_remote
from hpacells.core.provenance import sha256_bytes
from hpacells.images.channel_source import ChannelSource
from hpacells.images.decode import ImageFormat, decode_image, format_of_name, read_bytes
from hpacells.images.ome_zarr import is_zarr, list_zarr_images, open_zarr
from hpacells.images.stain_channels import BY_FILE, find_channels
from hpacells.images.tiff_stack import count_series, open_tiff_stack
from hpacells.images.vendor import VENDOR_SUFFIXES, count_scenes, open_vendor

__all__ = [
    "InnerImage",
    "is_multichannel",
    "list_images",
    "list_multichannel",
    "multichannel_stem",
    "open_channels",
    "stains_by_file",
]

_TIFF_ENDINGS = (".ome.tiff", ".ome.tif", ".tiff.gz", ".tif.gz", ".tiff", ".tif")
_ENDINGS = (".ome.zarr", ".zarr", *(f".ome{e}" for e in _TIFF_ENDINGS[2:4]), *_TIFF_ENDINGS)


@dataclass(frozen=True)
class InnerImage:
    """One image in a file: where it lies, and what is added to the file's stem to name it."""

    path: Path
    scene: int = 1
    suffix: str = ""
    well: str | None = None


def is_multichannel(path: Path) -> bool:
    """Say whether a file or folder may hold several stains, by its name and kind alone."""
    if path.is_dir():
        return is_zarr(path)
    return path.suffix.lower() in VENDOR_SUFFIXES or format_of_name(path) is ImageFormat.TIFF


def multichannel_stem(path: Path) -> str:
    """Give a file's name without its ending.

    Examples
    --------
    >>> multichannel_stem(Path("a/b.1.ome.tif")), multichannel_stem(Path("c.ome.zarr"))
    ('b.1', 'c')
    """
    name = path.resolve().name
    for ending in (*_ENDINGS, *VENDOR_SUFFIXES):
        if name.lower().endswith(ending):
            return name[: -len(ending)]
    return name


def list_images(path: Path) -> list[InnerImage]:
    """List the images that a file holds, in its order.

    Raises
    ------
    ImageError
        The file cannot be read.
    MissingExtraError
        A package for its format is not installed.
    """
    _check_local(path)
    if path.is_dir():
        return [InnerImage(i.path, 1, i.suffix, i.well) for i in list_zarr_images(path)]
    n = count_scenes(path) if path.suffix.lower() in VENDOR_SUFFIXES else count_series(path)
    if n == 1:
        return [InnerImage(path)]
    return [InnerImage(path, scene, f"_{scene}") for scene in range(1, n + 1)]


def list_multichannel(
    files: Sequence[Path], wanted: Mapping[Channel, str] | None
) -> list[FovRecord]:
    """Give a record for every image of some files.

    Parameters
    ----------
    files
        Files and stores of several stains.
    wanted
        Stain to channel as the user declares it; None: as the files name them.

    Returns
    -------
    list of FovRecord
        In the order of the files. A file that cannot be read stays as one record, which fails
        when it is read.

    Raises
    ------
    InputError
        Two files make one field id, or not one of the files can be read as declared; that of the
        first says why.
    MissingExtraError
        A package for a format is not installed.
    """
    planes = BY_FILE if wanted is None else wanted
    records: dict[str, FovRecord] = {}
    problems: list[ImageError] = []
    for path in files:
        try:
            images = list_images(path)
        except ImageError as error:  # reading the field will say so too
            problems.append(error)
            images = [InnerImage(path)]
        for image in images:
            fov_id = multichannel_stem(path) + image.suffix
            if fov_id in records:
                raise InputError(
                    f"{path}: makes the field {fov_id}, as "
                    f"{records[fov_id].paths[CHANNELS[0]]} does. Rename or remove one."
                )
            paths = dict.fromkeys(CHANNELS, image.path)
            records[fov_id] = FovRecord(
                fov_id, paths, well=image.well, planes=planes, scene=image.scene
            )
    _check_one_can_be_read(list(records.values()), problems)
    return list(records.values())


def _check_one_can_be_read(records: Sequence[FovRecord], problems: list[ImageError]) -> None:
    for record in records:
        try:
            for path, wanted in stains_by_file(record).items():
                with open_channels(path, record.scene) as source:
                    find_channels(source.names, wanted, path)
        except ImageError as error:
            problems.append(error)
        else:
            return
    if problems:
        raise InputError(str(problems[0]))


def stains_by_file(record: FovRecord) -> dict[Path, dict[Channel, str]]:
    """Give the files of several stains that a field has, each with its stains as declared."""
    files: dict[Path, dict[Channel, str]] = {}
    for channel in CHANNELS:
        if channel in record.planes:
            files.setdefault(record.paths[channel], {})[channel] = record.planes[channel]
    return files


def open_channels(path: Path, scene: int = 1) -> AbstractContextManager[ChannelSource]:
    """Open an image of several channels.

    Parameters
    ----------
    path
        A TIFF, a PNG, a folder of an OME-Zarr image, or a file of a microscope's maker.
    scene
        Which image of the file, counted from 1.

    Returns
    -------
    context manager
        Of a ``ChannelSource``, to read from while the block lasts. Entering it raises
        ``ImageError`` where there is no readable image of channels, rows and columns, and
        ``MissingExtraError`` where a package for the format is not installed.
    """
    if not path.exists():
        raise ImageError(f"{path}: no such file. Check the path.")
    _check_local(path)
    if path.is_dir():
        return open_zarr(path)
    if path.suffix.lower() in VENDOR_SUFFIXES:
        return open_vendor(path, scene)
    if format_of_name(path) is ImageFormat.TIFF:
        return open_tiff_stack(path, scene)
    return _open_colours(path)


def _check_local(path: Path) -> None:
    if is_remote(path) and (path.is_dir() or path.suffix.lower() in VENDOR_SUFFIXES):
        raise ImageError(
            f"{path}: OME-Zarr, CZI, LIF and ND2 are read from this machine's disks. Copy it."
        )


@contextmanager
def _open_colours(path: Path) -> Iterator[ChannelSource]:
    """Take the planes of a colour image for channels without names."""
    if format_of_name(path) is not ImageFormat.PNG:
        raise ImageError(
            f"{path}: expected a TIFF, PNG, OME-Zarr, CZI, LIF or ND2 of several channels; a JPEG "
            "mixes its colours. Save each stain as a file of its own."
        )
    content = read_bytes(path)
    planes = np.atleast_3d(decode_image(content, path))
    yield ChannelSource(
        path,
        ("",) * planes.shape[2],
        None,
        None,
        planes.dtype,
        lambda place: planes[..., place],
        lambda: sha256_bytes(content),
    )

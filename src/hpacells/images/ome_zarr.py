"""OME-Zarr (NGFF 0.4 and 0.5) of the local disk: one image, several in one store, or a plate.

The full-resolution array of an image's first multiscale is read; its scale gives the size of a
pixel, ``omero`` the names of the channels. Labels beside an image are not looked at. Everything in
the metadata may be hostile: paths stay inside the store, sizes are checked before decoding.
"""

import hashlib
import json
import re
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from hpacells.core.errors import ImageError
from hpacells.images.channel_source import MAX_SIDE_PX, ChannelSource, check_size, check_square

__all__ = ["ZarrImage", "is_zarr", "list_zarr_images", "open_zarr", "read_zarr_plane"]

_UM_PER_UNIT = {"nanometer": 1e-3, "micrometer": 1.0, "millimeter": 1e3, "angstrom": 1e-4}
_METADATA = ("zarr.json", ".zattrs", ".zgroup", ".zarray")
_AXES = "TCZYX"
_MAX_METADATA_BYTES = 20_000_000
_PLAIN_STEP = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ._-]*")
# What zarr and its codecs raise on damaged stores; little else may run under it.
_ZARR_ERRORS = (
    ArithmeticError,
    AttributeError,
    LookupError,
    MemoryError,
    OSError,
    RuntimeError,
    TypeError,
    ValueError,
    zlib.error,
)


@dataclass(frozen=True)
class ZarrImage:
    """Where an image lies in a store, what names it beside the store's stem, and its well."""

    path: Path
    suffix: str = ""
    well: str | None = None


def is_zarr(folder: Path) -> bool:
    """Say whether a folder is a Zarr store or a group in one."""
    return folder.suffix.lower() == ".zarr" or any((folder / n).is_file() for n in _METADATA)


def list_zarr_images(folder: Path) -> list[ZarrImage]:
    """List the images of a store: itself, those of its plate, or its numbered groups.

    Parameters
    ----------
    folder
        The store, or a group in it.

    Returns
    -------
    list of ZarrImage
        In the order of the metadata.

    Raises
    ------
    ImageError
        The metadata cannot be read, lead outside the store, or describe no image.
    """
    metadata = _ngff(folder)
    if "multiscales" in metadata:
        return [ZarrImage(folder)]
    try:
        if "plate" in metadata:
            return list(_plate_images(folder, metadata["plate"]))
    except (KeyError, TypeError, AttributeError) as error:
        raise ImageError(f"{folder}: its plate metadata lack {error}. Export it anew.") from error
    numbers = sorted(int(p.name) for p in folder.iterdir() if p.name.isdecimal() and is_zarr(p))
    if not numbers:
        raise ImageError(
            f"{folder}: expected OME-Zarr metadata (multiscales of NGFF 0.4 or 0.5), there are "
            "none. Give the folder of an image or a plate."
        )
    return [ZarrImage(folder / str(n), f"_{n}" if len(numbers) > 1 else "") for n in numbers]


def _plate_images(folder: Path, plate: Mapping[str, Any]) -> Iterator[ZarrImage]:
    for entry in plate["wells"]:
        place = _inside(folder, entry["path"])
        well = "".join(str(entry["path"]).split("/"))
        for image in _ngff(place)["well"]["images"]:
            name = str(image["path"]).replace("/", "_")
            yield ZarrImage(_inside(place, image["path"]), f"_{well}_{name}", well)


@contextmanager
def open_zarr(folder: Path) -> Iterator[ChannelSource]:
    """Open an image's full-resolution array.

    Parameters
    ----------
    folder
        The image's group.

    Yields
    ------
    ChannelSource
        Its channels, decoded when they are read.

    Raises
    ------
    ImageError
        Damaged, too large, with depth or time, or with metadata that are not NGFF 0.4 or 0.5.
    """
    metadata = _ngff(folder)
    try:
        multiscale = metadata["multiscales"][0]
        axes = [str(axis["name"]).upper() for axis in multiscale["axes"]]
        dataset = multiscale["datasets"][0]
        place = _inside(folder, dataset["path"])
        size = _pixel_size(multiscale, dataset, axes)
        labels = [str(c.get("label", "")) for c in metadata.get("omero", {}).get("channels", [])]
    except (KeyError, IndexError, TypeError, AttributeError, ValueError) as error:
        raise ImageError(
            f"{folder}: expected metadata of an image as in NGFF 0.4 or 0.5 (axes, datasets, "
            f"scale), they lack or misuse {error}. Export it anew."
        ) from error
    array = _open_array(place)
    if len(axes) != array.ndim or len(set(axes)) != len(axes):
        raise ImageError(f"{folder}: it has {array.ndim} axes, its metadata name {axes}.")
    n = check_size(dict(zip(axes, array.shape, strict=True)), array.dtype, folder)
    yield ChannelSource(
        folder,
        tuple(labels) if len(labels) == n else ("",) * n,
        None if size is None else check_square(*size, folder),
        None,
        array.dtype,
        lambda channel: _read_channel(array, axes, channel, place),
        lambda: _digest(place),
    )


def read_zarr_plane(place: Path) -> npt.NDArray[np.integer]:
    """Read an array of one plane, such as a level of labels.

    Parameters
    ----------
    place
        The array; axes of one step may stand before rows and columns.

    Returns
    -------
    ndarray
        ``(H, W)``, any integer type.

    Raises
    ------
    ImageError
        No such array, damaged, too large, or of more than one plane.
    """
    array = _open_array(place)
    if not 2 <= array.ndim <= len(_AXES):
        raise ImageError(f"{place}: expected rows and columns, it has {array.ndim} axes.")
    axes = list(_AXES[-array.ndim :])
    check_size(dict(zip(axes, array.shape, strict=True)), array.dtype, place, channel_axes="")
    plane: npt.NDArray[np.integer] = _read_channel(array, axes, 0, place)
    return plane


def _ngff(folder: Path) -> Mapping[str, Any]:
    """Read a group's NGFF metadata: Zarr 3 keeps them under ``ome``, Zarr 2 in ``.zattrs``."""
    for name in ("zarr.json", ".zattrs"):
        path = folder / name
        if not path.is_file():
            continue
        if path.stat().st_size > _MAX_METADATA_BYTES:
            raise ImageError(f"{path}: more than {_MAX_METADATA_BYTES / 1e6:.0f} MB of metadata.")
        try:
            found = json.loads(path.read_bytes())
            if name == "zarr.json":
                found = found.get("attributes", {}).get("ome", {})
        except (OSError, ValueError, AttributeError, RecursionError) as error:
            raise ImageError(f"{path}: cannot be read as metadata ({error}).") from error
        if isinstance(found, dict):
            return found
    return {}


def _inside(folder: Path, steps: Any) -> Path:
    """Follow a path of the metadata; it must stay in the store, by name and by links."""
    path = folder
    for step in str(steps).split("/"):
        if not _PLAIN_STEP.fullmatch(step):
            raise ImageError(f"{folder}: its metadata lead outside the store ({steps!r}).")
        path /= step
    if not path.resolve().is_relative_to(folder.resolve()):
        raise ImageError(f"{folder}: its {steps!r} is a link to the outside of the store.")
    return path


def _pixel_size(
    multiscale: Mapping[str, Any], dataset: Mapping[str, Any], axes: list[str]
) -> tuple[float, float] | None:
    """Multiply the scales of the dataset and of all datasets, in µm, across and down."""
    scale = {"X": 1.0, "Y": 1.0}
    told = False
    for transformations in (
        dataset.get("coordinateTransformations", []),
        multiscale.get("coordinateTransformations", []),
    ):
        for one in transformations:
            if one["type"] == "scale":
                told = True
                for axis in scale:
                    scale[axis] *= float(one["scale"][axes.index(axis)])
    units = {str(axis["name"]).upper(): axis.get("unit") for axis in multiscale["axes"]}
    if not told or any(units[axis] not in _UM_PER_UNIT for axis in scale):
        return None
    across, down = (scale[axis] * _UM_PER_UNIT[units[axis]] for axis in ("X", "Y"))
    return (across, down) if min(across, down) > 0 and np.isfinite(across + down) else None


def _open_array(place: Path) -> Any:
    import zarr  # noqa: PLC0415  takes a second: only where an OME-Zarr is read

    try:
        array = zarr.open_array(str(place), mode="r")
        chunk = np.prod(array.chunks, dtype=np.float64)
    except _ZARR_ERRORS as error:
        raise ImageError(f"{place}: damaged or no Zarr array ({error}). Copy it anew.") from error
    if chunk > MAX_SIDE_PX**2:
        raise ImageError(f"{place}: its chunks have {chunk:.0f} pixels, more than any field.")
    return array


def _read_channel(array: Any, axes: list[str], channel: int, place: Path) -> npt.NDArray[Any]:
    index = tuple(slice(None) if axis in "YX" else (channel if axis == "C" else 0) for axis in axes)
    try:
        plane = np.asarray(array[index])
    except _ZARR_ERRORS as error:
        raise ImageError(f"{place}: damaged Zarr array ({error}). Copy it anew.") from error
    return plane.T if axes.index("Y") > axes.index("X") else plane


def _digest(place: Path) -> str:
    """Hash the array's metadata and chunks, by their names in the array."""
    whole = hashlib.sha256()
    for path in sorted(p for p in place.rglob("*") if p.is_file()):
        with path.open("rb") as file:
            content = hashlib.file_digest(file, "sha256").hexdigest()
        whole.update(f"{path.relative_to(place).as_posix()} {content}\n".encode())
    return whole.hexdigest()

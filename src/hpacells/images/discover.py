"""Which fields there are: a folder, a file of several stains or a manifest to records.

A stain is known by the colour in its file's name (``<fov_id>_red.png``), by its column in the
manifest, or by the declared channel of a file of several stains (``images.stain_channels``), never
by order. Names, tables and, where the size of a pixel or the depth of 16-bit files is asked,
headers and a few fields are read. A field with a missing stain stays in the list with a path that
does not exist; reading it raises ``ImageError``, so that it fails alone.

Files of several stains (TIFF, OME-Zarr, CZI, LIF, ND2) are looked for in a folder without any
quadruplet.

Two files for one stain of a field (``a_red.png`` and ``a_red.tif``): the format in which all four
stains are there is taken, PNG before TIFF before JPEG; where none is whole, each stain takes its
best in that order, and equal ones the first by name. The choice is logged. Hidden files and
subfolders are not looked at. Plate, well and sample are known by an atlas name where no table says
them.
"""

import logging
import os
import re
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path

from hpacells.core.channels import CHANNELS, Channel
from hpacells.core.errors import ConfigError, InputError
from hpacells.core.fov import FovRecord
from hpacells.core.location import is_remote, list_remote_files
from hpacells.images.decode import ImageFormat, split_suffix
from hpacells.images.full_scale import check_bit_depth_option, resolve_full_scales
from hpacells.images.labels import add_labels, read_labels
from hpacells.images.manifest import read_manifest
from hpacells.images.multichannel import is_multichannel, list_multichannel
from hpacells.images.pixel_size import check_pixel_size_option, resolve_pixel_sizes
from hpacells.images.stain_channels import parse_channels

__all__ = ["discover_fields", "find_train_csv"]

_log = logging.getLogger(__name__)

_EXPECTED = (
    "expected files <ID>_red, <ID>_green, <ID>_blue, <ID>_yellow (.png, .tif or .jpg), "
    "a dataset folder with train/, files of several stains (OME-TIFF, OME-Zarr, CZI, LIF, ND2), "
    "or a CSV manifest"
)
_STAIN = re.compile(
    rf"^(.+)_({'|'.join(channel.value for channel in CHANNELS)})$", re.IGNORECASE | re.DOTALL
)
_ATLAS_NAME = re.compile(
    r"([0-9]+)_([A-P][0-9]{1,2})_([0-9]+)(?:_cr[0-9a-f]+)?"
)  # plate, well, sample
_FORMATS = list(ImageFormat)

_Candidates = dict[Channel, list[tuple[ImageFormat, str]]]
"""Per stain the files that could be it: format and name."""


def discover_fields(
    images: Path,
    *,
    pixel_size_um: float | None = None,
    channels: str | None = None,
    bit_depth: int | None = None,
) -> list[FovRecord]:
    """List the fields of a folder or manifest.

    Parameters
    ----------
    images
        A folder of quadruplets or of files of several stains; a dataset folder (with ``train/``
        and perhaps ``train.csv``) or its ``train/``; one file of several stains; or a CSV manifest.
    pixel_size_um
        µm per pixel as the user says; wins over what tables and files say.
    channels
        Which channel is which stain in files of several, as in ``stain_channels.parse_channels``;
        None: as the files name them.
    bit_depth
        Bits of the grey values in 16-bit files as the user says; None: see ``full_scale``.

    Returns
    -------
    list of FovRecord
        Sorted by ``fov_id``, with labels and metadata where a table names the field, and the
        pixel size; that is None only for a field that cannot be read anyway.

    Raises
    ------
    InputError
        No such folder or file, or no fields in it.
    TableError
        ``train.csv`` or the manifest is malformed.
    PixelSizeError
        The size of a pixel cannot be known (see ``images.pixel_size``).
    ConfigError
        An option is impossible, or has nothing to act on.
    MissingExtraError
        A package for the files' format is not installed.
    """
    check_pixel_size_option(pixel_size_um)
    check_bit_depth_option(bit_depth)
    wanted = None if channels is None else parse_channels(channels)
    if not images.exists():
        raise InputError(f"{images}: no such file or folder; {_EXPECTED}. Check the path.")
    records = _from_folder(images, wanted) if images.is_dir() else _from_file(images, wanted)
    records = resolve_pixel_sizes(records, pixel_size_um)
    records.sort(key=lambda record: record.fov_id)
    return resolve_full_scales(records, bit_depth)


def find_train_csv(images: Path) -> Path | None:
    """Give the ``train.csv`` that goes with a dataset folder or its ``train/``, if there is one."""
    folder = images.resolve()
    for beside in (folder / "train", folder):
        path = beside.parent / "train.csv"
        if beside.name == "train" and beside.is_dir() and path.is_file():
            return path
    return None


def _from_file(path: Path, wanted: Mapping[Channel, str] | None) -> list[FovRecord]:
    if path.suffix.lower() == ".csv":
        if wanted is not None:
            raise ConfigError(
                f"--channels: {path} is a manifest; its columns red_channel, green_channel, "
                "blue_channel, yellow_channel say which channel is which stain."
            )
        return read_manifest(path)
    if is_multichannel(path):
        return list_multichannel([path], wanted)
    raise InputError(f"{path}: not a file that can be read; {_EXPECTED}.")


def _from_folder(folder: Path, wanted: Mapping[Channel, str] | None) -> list[FovRecord]:
    if is_multichannel(folder):
        return list_multichannel([folder], wanted)
    found = _scan(folder)
    inner = folder / "train"
    if inner.is_dir():
        inner_found = _scan(inner)
        if found and inner_found:
            raise InputError(
                f"{folder}: fields lie here and in {inner}. Give one folder of the two: "
                f"{inner}, or a folder without train/."
            )
        if inner_found or not found:
            folder, found = inner, inner_found
    files = [] if found else [path for path in sorted(folder.iterdir()) if _is_image(path)]
    if not found and not files:
        raise InputError(f"{folder}: no fields in it; {_EXPECTED}. Check the path and the names.")
    if found and wanted is not None:
        raise ConfigError(
            f"--channels: {folder} has files of one stain each, named by colour. Leave it out."
        )
    records = [_record(folder, fov_id, stains) for fov_id, stains in found.items()]
    train_csv = find_train_csv(folder)
    labels = {} if train_csv is None else read_labels(train_csv)
    records += list_multichannel(files, wanted)
    return [add_labels(record, labels.get(record.fov_id)) for record in records]


def _is_image(path: Path) -> bool:
    if path.name.startswith(".") or not _is_text(path.name):
        return False
    try:
        return is_multichannel(path) and path.exists()
    except OSError:  # a link that leads in a circle
        return False


def _scan(folder: Path) -> dict[str, _Candidates]:
    """Group a folder's image files by field and stain."""
    found: dict[str, _Candidates] = defaultdict(dict)
    names = [name for name in _list_files(folder) if not name.startswith(".")]
    unwritable = [name for name in names if not _is_text(name)]
    if unwritable:
        raise InputError(
            f"{folder}: expected file names in UTF-8, got {unwritable[0]!r}. Rename the file(s)."
        )
    for name in names:
        parts = split_suffix(name)
        stain = None if parts is None else _STAIN.match(parts[0])
        if parts is not None and stain is not None:
            channel = Channel(stain.group(2).lower())
            found[stain.group(1)].setdefault(channel, []).append((parts[1], name))
    return dict(found)


def _list_files(folder: Path) -> list[str]:
    if is_remote(folder):
        return list_remote_files(folder)
    with os.scandir(folder) as entries:
        return sorted(entry.name for entry in entries if _is_file(entry))


def _is_file(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_file()
    except OSError:  # a link that leads in a circle is as good as missing
        return False


def _is_text(name: str) -> bool:
    """Say whether a name can be written to a table (names in other encodings cannot)."""
    return not any("\ud800" <= letter <= "\udfff" for letter in name)


def _record(folder: Path, fov_id: str, stains: _Candidates) -> FovRecord:
    offers = [{kind for kind, _ in stains.get(channel, ())} for channel in CHANNELS]
    whole = [kind for kind in _FORMATS if all(kind in offer for offer in offers)]

    def rank(candidate: tuple[ImageFormat, str]) -> tuple[bool, int, str]:
        kind, name = candidate
        return (kind not in whole[:1], _FORMATS.index(kind), name)

    chosen = {channel: min(candidates, key=rank)[1] for channel, candidates in stains.items()}
    for channel, candidates in stains.items():
        if len(candidates) > 1:
            others = ", ".join(name for _, name in candidates)
            _log.warning("field %s: %s taken of %s", fov_id, chosen[channel], others)
    some_channel, some_name = next(iter(chosen.items()))
    suffix = some_name[len(f"{fov_id}_{some_channel.value}") :]
    paths = {
        channel: folder / chosen.get(channel, f"{fov_id}_{channel.value}{suffix}")
        for channel in CHANNELS
    }
    atlas = _ATLAS_NAME.fullmatch(fov_id)
    if atlas is None:
        return FovRecord(fov_id, paths)
    return FovRecord(fov_id, paths, plate=atlas[1], well=atlas[2], sample=atlas[3])

"""Which grey value is full scale in 16-bit files: decided once for a data set, never per image.

A camera of 12 bits stores 0 to 4095 in 16-bit files, and read as 16 bits such fields are nearly
black. Read field by field, a dim field of true 16 bits would be taken for 12. So, in this order:

1. the user's ``--bit-depth``;
2. the column ``bit_depth`` of the manifest or ``train.csv``, row by row;
3. the file's own word: ``SignificantBits`` of OME-XML;
4. a look at up to eight 16-bit fields, spread over the sorted data set: when none of their grey
   values is above 4095, 12 bits for all, else 16.

A field that then turns out brighter than its full scale is refused when it is read. 8-bit files
always have 255.
"""

import logging
import struct
from collections.abc import Sequence
from dataclasses import replace

import tifffile

from hpacells.core.channels import CHANNELS, Channel
from hpacells.core.errors import ConfigError, ImageError, MissingExtraError, PixelSizeError
from hpacells.core.fov import BIT_DEPTHS, FovRecord, full_scale
from hpacells.core.location import is_remote
from hpacells.images.decode import ImageFormat, format_of_name
from hpacells.images.multichannel import open_channels, stains_by_file
from hpacells.images.read import read_field
from hpacells.images.tiff import TIFF_ERRORS

__all__ = ["check_bit_depth_option", "resolve_full_scales"]

_log = logging.getLogger(__name__)

_LOOKED_AT = 8
_ASKED = 64
_DIM = full_scale(12)
_UNREADABLE = (ImageError, MissingExtraError, PixelSizeError, OSError)


def check_bit_depth_option(bit_depth: int | None) -> None:
    """Refuse an impossible ``--bit-depth``."""
    if bit_depth is not None and bit_depth not in BIT_DEPTHS:
        raise ConfigError(
            f"--bit-depth: expected {BIT_DEPTHS[0]} to {BIT_DEPTHS[-1]}, got {bit_depth}."
        )


def resolve_full_scales(records: Sequence[FovRecord], bit_depth: int | None) -> list[FovRecord]:
    """Give every record the full scale of its 16-bit files.

    Parameters
    ----------
    records
        Sorted, with the full scale that their table gives, else None.
    bit_depth
        The user's option, None when not given.

    Returns
    -------
    list of FovRecord
        In the same order. Without a 16-bit field among those looked at, nothing is added.

    Raises
    ------
    ConfigError
        The option is impossible.
    """
    check_bit_depth_option(bit_depth)
    if bit_depth is not None:
        return [replace(record, max_value=full_scale(bit_depth)) for record in records]
    told = [_ask_file(record) for record in records]
    open_ones = [record for record in told if record.max_value is None]
    tops = _look(open_ones)
    if not tops:
        return told
    found = _DIM if max(tops) <= _DIM else full_scale(16)
    if found == _DIM:
        _log.warning(
            "16-bit files taken for 12 bits (full scale %d): no grey value of %d field(s) looked "
            "at is above %d. If that is wrong, give --bit-depth 16.",
            _DIM,
            len(tops),
            max(tops),
        )
    return [r if r.max_value is not None else replace(r, max_value=found) for r in told]


def _ask_file(record: FovRecord) -> FovRecord:
    """Take the file's own word, which only files of several stains give."""
    if record.max_value is not None:
        return record
    for path in stains_by_file(record):
        try:
            with open_channels(path, record.scene) as source:
                if source.max_value is not None:
                    return replace(record, max_value=source.max_value)
        except _UNREADABLE:  # reading the field will say what is wrong
            continue
    return record


def _look(records: Sequence[FovRecord]) -> list[int]:
    """Give the largest grey values of up to eight 16-bit fields, spread over the data set."""
    step = max(1, -(-len(records) // _ASKED))
    deep = [record for record in records[::step] if _is_deep(record)]
    tops = []
    for record in deep[:: max(1, -(-len(deep) // _LOOKED_AT))]:
        try:
            field = read_field(replace(record, max_value=full_scale(16)))
        except _UNREADABLE:
            continue
        if field.pixels.dtype.itemsize > 1:
            tops.append(int(field.pixels.max()))
    return tops


def _is_deep(record: FovRecord) -> bool:
    """Say whether a field has 16-bit files, by the header of one of them."""
    channel: Channel = next(iter(record.planes), CHANNELS[0])
    path = record.paths[channel]
    try:
        if record.planes:
            with open_channels(path, record.scene) as source:
                return source.dtype.itemsize > 1
        if not path.is_file():  # nor is a pipe opened: that would wait for ever
            return False
        if format_of_name(path) is ImageFormat.PNG:
            with path.open("rb") as file:
                return file.read(25)[24:] == struct.pack("B", 16)
        if format_of_name(path) is ImageFormat.TIFF and not (
            path.suffix.lower() == ".gz" or is_remote(path)
        ):
            with tifffile.TiffFile(path) as tiff:
                return int(tiff.pages.first.bitspersample) > 8
        return format_of_name(path) is ImageFormat.TIFF  # known when it is read
    except (*_UNREADABLE, *TIFF_ERRORS):
        return False

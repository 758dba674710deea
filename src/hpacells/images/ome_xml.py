"""OME-XML of a TIFF: sizes of a pixel, names of channels, bits that are used.

The text comes from a file that anybody may have written: entities are never expanded, and an image
whose pixels lie in other files is refused, for a reader would follow any path that stands there.
"""

import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import ParseError

from defusedxml import DefusedXmlException
from defusedxml.ElementTree import fromstring

from hpacells.core.errors import ImageError

__all__ = ["OmeImage", "read_ome", "um_per_unit"]

_UM_PER_UNIT = {"nm": 1e-3, "um": 1.0, "micron": 1.0, "microns": 1.0, "mm": 1e3, "cm": 1e4}


@dataclass(frozen=True)
class OmeImage:
    """What OME-XML says of one image.

    Parameters
    ----------
    pixel_size_um
        Across and down; None when one is not given, or not above 0.
    names
        Of its channels in their order, empty where one has none.
    significant_bits
        Bits of the grey values that are used, None when not given.
    """

    pixel_size_um: tuple[float, float] | None
    names: tuple[str, ...]
    significant_bits: int | None


def um_per_unit(unit: str) -> float | None:
    """Give the µm of a unit of length, None for any other word."""
    word = re.sub(r"\\u00[bB]5|[µμ]", "u", unit.strip()).lower()
    return _UM_PER_UNIT.get(word)


def read_ome(xml: str, path: Path | str) -> list[OmeImage]:
    """Read OME-XML.

    Parameters
    ----------
    xml
        The text.
    path
        Named in errors.

    Returns
    -------
    list of OmeImage
        One per image, in the order of the file.

    Raises
    ------
    ImageError
        Malformed, with entities (an XML bomb), or with pixels in other files.
    """
    try:
        root = fromstring(xml, forbid_dtd=True)
    except DefusedXmlException as error:
        raise ImageError(
            f"{path}: its OME-XML has entities of its own ({error}), which a microscope never "
            "writes. Do not trust this file."
        ) from error
    except (ParseError, ValueError) as error:
        raise ImageError(f"{path}: damaged OME-XML ({error}). Export the image again.") from error
    own = root.get("UUID")
    for element in root.iter():
        if _kind(element) == "UUID" and (element.text or "").strip() != (own or "").strip():
            raise ImageError(
                f"{path}: its OME-XML places pixels in other files "
                f"({element.get('FileName', 'without a name')!r}). Save the image as one file."
            )
    return [_read_pixels(element) for element in root.iter() if _kind(element) == "Pixels"]


def _kind(element: Any) -> str:
    return str(element.tag).rpartition("}")[2]


def _read_pixels(pixels: Any) -> OmeImage:
    names = tuple(
        (child.get("Name") or "").strip() for child in pixels if _kind(child) == "Channel"
    )
    bits = pixels.get("SignificantBits", "")
    return OmeImage(_size(pixels), names, int(bits) if re.fullmatch(r"[0-9]{1,2}", bits) else None)


def _size(pixels: Any) -> tuple[float, float] | None:
    sizes = []
    for axis in ("X", "Y"):
        try:
            size = float(pixels.get(f"PhysicalSize{axis}", "nan"))
        except ValueError:
            return None
        size *= um_per_unit(pixels.get(f"PhysicalSize{axis}Unit", "µm")) or math.nan
        if not (math.isfinite(size) and size > 0):
            return None
        sizes.append(size)
    return sizes[0], sizes[1]

"""A gene's entry (XML) to the list of its images, with what the atlas says of each.

``entry/antibody/cellExpression/subAssay[@type='human']``: ``verification`` (reliability of the
antibody), then per cell line a ``data`` with ``cellLine``, ``location``s and
``assayImage/image/imageUrl``s. The locations hold for all images of that ``data``. Image addresses
are of composites (``…_blue_red_green.jpg``); what stands before the colours is the stem of the four
stains' files. Entities are never expanded, and no name or address of the text is used as it stands.
"""

import io
import re
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit
from xml.etree.ElementTree import ParseError

from defusedxml import DefusedXmlException
from defusedxml.ElementTree import iterparse

from hpacells.core.errors import InputError
from hpacells.images.download.site import Site

__all__ = ["AtlasEntry", "AtlasImage", "parse_entry"]

_IMAGE_PATH = re.compile(
    r"(?:/[A-Za-z0-9_-]+)*?/([0-9]{1,7})/([A-Za-z0-9]+(?:_[A-Za-z0-9]+){2,5}?)"
    r"(?:_(?:blue|red|green|yellow)){1,4}\.jpg"
)
_ANTIBODY = re.compile(r"[A-Z]{2,4}[0-9]{1,8}")
_NOT_READ = frozenset({"tissueExpression", "rnaExpression", "cellTypeExpression", "patient"})


@dataclass(frozen=True)
class AtlasImage:
    """One field of the atlas.

    Parameters
    ----------
    stem
        ``<plate>_<well>_<sample>``, perhaps with more; the field's id.
    number
        Of its antibody, as in its address.
    gene, gene_name, antibody, cell_line, reliability
        As the atlas has them; empty where it says nothing.
    terms
        The atlas's terms for its locations.
    """

    stem: str
    number: str
    gene: str
    gene_name: str
    antibody: str
    cell_line: str
    reliability: str
    terms: tuple[str, ...]


@dataclass(frozen=True)
class AtlasEntry:
    """The images of a gene, and the addresses that were refused."""

    gene: str
    images: tuple[AtlasImage, ...]
    refused: tuple[str, ...]


def parse_entry(content: bytes, gene: str, site: Site) -> AtlasEntry:
    """Read a gene's entry.

    Parameters
    ----------
    content
        The XML.
    gene
        Its Ensembl id; the entry has to be of this gene.
    site
        Whose image addresses count.

    Returns
    -------
    AtlasEntry
        Images in the order of the entry, each once.

    Raises
    ------
    InputError
        No XML, hostile XML, or the entry of another gene.
    """
    root = None
    try:
        for _, element in iterparse(io.BytesIO(content), events=("end",)):
            root = element
            if element.tag in _NOT_READ:
                element.clear()  # nearly all of the text, and not asked for
    except DefusedXmlException as error:
        raise InputError(f"{gene}.xml: has entities of its own ({error}); not read.") from error
    except (ParseError, ValueError, LookupError) as error:
        raise InputError(f"{gene}.xml: expected XML, got something else ({error}).") from error
    entry = root if root is not None and root.tag == "entry" else _find(root, "entry")
    found = _find(entry, "identifier")
    if entry is None or found is None or found.get("id") != gene:
        raise InputError(f"{gene}.xml: expected the entry of {gene}, got another.")
    images: dict[tuple[str, str], AtlasImage] = {}
    refused: list[str] = []
    for antibody in entry.findall("antibody"):
        for data, reliability in _cell_line_data(antibody):
            for url in (_text(found) for found in data.findall("assayImage/image/imageUrl")):
                place = _place(url, site)
                if place is None:
                    refused.append(url)
                    continue
                images.setdefault(place, _image(place, entry, antibody, data, reliability))
    return AtlasEntry(gene, tuple(images.values()), tuple(refused))


def _cell_line_data(antibody: Any) -> list[tuple[Any, str]]:
    """Give the data of human cell lines with the reliability that the assay states."""
    return [
        (data, _text(assay.find("verification")))
        for assay in antibody.findall("cellExpression/subAssay")
        if assay.get("type", "human") == "human"
        and "cell lines" in assay.get("subtype", "human cell lines")
        for data in assay.findall("data")
    ]


def _image(
    place: tuple[str, str], entry: Any, antibody: Any, data: Any, reliability: str
) -> AtlasImage:
    number, stem = place
    antibody_id = antibody.get("id", "")
    return AtlasImage(
        stem=stem,
        number=number,
        gene=entry.find("identifier").get("id"),
        gene_name=_text(entry.find("name")),
        antibody=antibody_id if _ANTIBODY.fullmatch(antibody_id) else "",
        cell_line=_text(data.find("cellLine")),
        reliability=reliability.lower(),
        terms=tuple(dict.fromkeys(filter(None, map(_text, data.findall("location"))))),
    )


def _place(url: str, site: Site) -> tuple[str, str] | None:
    """Give antibody number and stem of an image address; None for any other address."""
    if not site.names_image(url):
        return None
    found = _IMAGE_PATH.fullmatch(urlsplit(url).path)
    return None if found is None else (found.group(1), found.group(2))


def _find(element: Any, tag: str) -> Any:
    return None if element is None else element.find(tag)


def _text(element: Any) -> str:
    """Give an element's text as one line without control characters."""
    text = "" if element is None else (element.text or "")
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())

"""Fields of the atlas and their labels: which are taken, and ``train.csv``.

Atlas terms become class ids by ``core.atlas_terms``; a field without any class is passed over. A
field that stands under several genes (an antibody may have several) is one row with all of them.
"""

import csv
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path

from hpacells.core.atlas_terms import LOCATION_OF_TERM, TERMS_WITHOUT_LOCATION
from hpacells.core.channels import CHANNELS
from hpacells.core.fov import DEFAULT_PIXEL_SIZE_UM
from hpacells.core.locations import format_class_ids
from hpacells.core.storage import atomic_path
from hpacells.images.download.entry import AtlasImage

__all__ = ["FieldTable"]

_CLASS_OF = {term.casefold(): class_id for term, class_id in LOCATION_OF_TERM.items()}
_DROPPED = {term.casefold() for term in TERMS_WITHOUT_LOCATION}
_COLUMNS = (
    "ID",
    "Label",
    "gene",
    "gene_name",
    "antibody",
    "cell_line",
    "plate",
    "well",
    "sample",
    "reliability",
    "atlas_locations",
    "pixel_size_um",
)


class FieldTable:
    """The fields that are taken, in order.

    Parameters
    ----------
    antibodies
        Only fields of these; empty: all.
    limit
        At most so many fields; None: all.
    """

    def __init__(self, antibodies: frozenset[str], limit: int | None) -> None:
        self._antibodies = antibodies
        self._limit = limit
        self._images: dict[str, AtlasImage] = {}
        self._passed_over: set[str] = set()
        self._n_files: Counter[str] = Counter()
        self.unknown_terms: set[str] = set()
        self.conflicts: list[str] = []

    @property
    def is_full(self) -> bool:
        """Whether the limit is reached."""
        return self._limit is not None and len(self._images) >= self._limit

    @property
    def without_location(self) -> int:
        """How many fields were passed over because none of their terms has a class."""
        return len(self._passed_over)

    def images(self) -> Iterable[AtlasImage]:
        """Give the fields that are taken."""
        return self._images.values()

    def add(self, images: Iterable[AtlasImage]) -> None:
        """Take an entry's fields, as far as they are wanted and have a label."""
        for image in images:
            if self._antibodies and image.antibody.upper() not in self._antibodies:
                continue
            words = {term.casefold(): term for term in image.terms}
            self.unknown_terms |= {words[w] for w in words.keys() - _CLASS_OF.keys() - _DROPPED}
            if not words.keys() & _CLASS_OF.keys():
                self._passed_over.add(image.stem)
                continue
            known = self._images.get(image.stem)
            if known is not None and known.number != image.number:
                self.conflicts.append(f"{image.stem} under {known.number} and {image.number}")
            elif known is not None:
                self._images[image.stem] = _join(known, image)
            elif not self.is_full:
                self._images[image.stem] = image

    def note_file(self, name: str) -> None:
        """Note a file ``<stem>_<colour>`` that is there."""
        self._n_files[name.rpartition("_")[0]] += 1

    def write(self, path: Path) -> tuple[int, int]:
        """Write the complete fields; rows of other fields that stand there already are kept.

        Returns
        -------
        tuple of int
            How many fields are taken, and how many of them are complete.
        """
        rows: dict[str, Mapping[str, str]] = {}
        if path.is_file():
            with path.open(encoding="utf-8", newline="") as file:
                rows = {row["ID"]: row for row in csv.DictReader(file)}
        for stem in self._images:
            rows.pop(stem, None)
        complete = [s for s in self._images if self._n_files[s] == len(CHANNELS)]
        rows |= {stem: _row(self._images[stem]) for stem in complete}
        with (
            atomic_path(path) as temporary,
            temporary.open("w", encoding="utf-8", newline="") as file,
        ):
            writer = csv.DictWriter(file, _COLUMNS, lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows[stem] for stem in sorted(rows))
        return len(self._images), len(complete)


def _join(known: AtlasImage, image: AtlasImage) -> AtlasImage:
    """Add the gene and terms of another entry to a field."""
    return replace(
        known,
        gene=_both(known.gene, image.gene),
        gene_name=_both(known.gene_name, image.gene_name),
        terms=tuple(dict.fromkeys((*known.terms, *image.terms))),
    )


def _both(known: str, other: str) -> str:
    names = known.split(";")
    return known if other in names else ";".join([*names, other])


def _row(image: AtlasImage) -> dict[str, str]:
    plate, well, sample = image.stem.split("_")[:3]
    words = {term.casefold() for term in image.terms}
    values = (
        image.stem,
        format_class_ids(_CLASS_OF[word] for word in words & _CLASS_OF.keys()),
        image.gene,
        image.gene_name,
        image.antibody,
        image.cell_line,
        plate,
        well,
        sample,
        image.reliability,
        ";".join(image.terms),
        str(DEFAULT_PIXEL_SIZE_UM),
    )
    return dict(zip(_COLUMNS, map(_unarmed, values), strict=True))


def _unarmed(text: str) -> str:
    """Keep a cell from being a formula where a spreadsheet opens the table."""
    return f"'{text}" if text[:1] in {"=", "+", "-", "@"} else text

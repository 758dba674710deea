"""Whose the images are, written beside them."""

from pathlib import Path

from hpacells.core.storage import atomic_path

__all__ = ["NOTICE_FILE", "write_notice"]

NOTICE_FILE = "ATTRIBUTION.md"

_TEXT = """# Where these images come from

Images and annotations: Human Protein Atlas, https://www.proteinatlas.org.

Licence: Creative Commons Attribution-ShareAlike (CC BY-SA). The version in force and how to cite
are at https://www.proteinatlas.org/about/licence.

Who shows or passes on these images, or something made of them, names the Human Protein Atlas as
their source, links to the page of the gene (https://www.proteinatlas.org/<gene>, the column `gene`
of `train.csv`), says what was changed, and keeps the same licence.

The subcellular section is described in: Thul PJ et al., A subcellular map of the human proteome.
Science 2017;356:eaal3321, doi:10.1126/science.aal3321.

What hpacells added: `train.csv` (the atlas's terms merged into 19 classes; pixel_size_um is 0.08,
the atlas's full resolution, taken for granted and not read from the files), `SHA256SUMS` and
`atlas/`. The images are as they were fetched.
"""


def write_notice(out: Path) -> None:
    """Write licence and attribution into a dataset folder."""
    with atomic_path(out / NOTICE_FILE) as temporary:
        temporary.write_text(_TEXT, encoding="utf-8")

"""Which genes are wanted: ids or names, the atlas's own table, or antibodies."""

import csv
import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path

from hpacells.core.errors import ConfigError, InputError, TableError
from hpacells.images.download.client import AtlasClient, FetchError

__all__ = ["find_genes", "is_gene_id", "read_gene_table", "split_words"]

_GENE_ID = re.compile(r"ENSG[0-9]{11}")
_WORD = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,40}")
_MAX_SEARCH_BYTES = 20_000_000


def is_gene_id(word: str) -> bool:
    """Say whether a word is an Ensembl id of a human gene."""
    return _GENE_ID.fullmatch(word) is not None


def split_words(given: Sequence[str], option: str) -> list[str]:
    """Split what an option was given at commas; a file's name stands for the words in it.

    Raises
    ------
    ConfigError
        A word can be no gene or antibody, or there is none.
    """
    words: list[str] = []
    for text in given:
        path = Path(text)
        if "," not in text and path.suffix and path.is_file():
            text = path.read_text(encoding="utf-8-sig")  # noqa: PLW2901
        words += [word for word in re.split(r"[,\s]+", text) if word]
    strange = [word for word in words if not _WORD.fullmatch(word)]
    if strange or not words:
        raise ConfigError(
            f"{option}: expected ids or names separated by commas, or a file with one per line, "
            f"got {strange[0] if strange else 'nothing'!r}."
        )
    return list(dict.fromkeys(words))


def read_gene_table(path: Path) -> list[str]:
    """Read the genes of the atlas's ``subcellular_location.tsv``.

    Parameters
    ----------
    path
        Tab-separated, with a column ``Gene`` of Ensembl ids.

    Returns
    -------
    list of str
        Ids in the order of the file, each once.

    Raises
    ------
    InputError
        It cannot be read.
    TableError
        It has no such column, or other words in it.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, delimiter="\t")
            if "Gene" not in (reader.fieldnames or ()):
                raise TableError(
                    f"{path}: expected the atlas's tab-separated table with a column Gene, got "
                    f"{', '.join(reader.fieldnames or ()) or 'no header'}."
                )
            genes = [(row["Gene"] or "").strip() for row in reader]
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}). Check the path.") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise TableError(f"{path}: expected a table of text ({error}).") from error
    strange = [number for number, gene in enumerate(genes, 2) if not is_gene_id(gene)]
    if strange or not genes:
        where = f"row {strange[0]}" if strange else "no rows"
        raise TableError(f"{path}: expected Ensembl ids (ENSG…) in its column Gene; {where}.")
    return list(dict.fromkeys(genes))


def find_genes(words: Sequence[str], client: AtlasClient) -> tuple[list[str], dict[str, str]]:
    """Find the Ensembl ids of gene ids, gene names or antibodies.

    Parameters
    ----------
    words
        As given.
    client
        Asked for what is no id already.

    Returns
    -------
    tuple
        Ids, each once; and the words that the atlas does not know or did not answer, with why.
    """
    genes: list[str] = []
    unknown: dict[str, str] = {}
    for word in words:
        try:
            found = [word] if is_gene_id(word) else _search(word, client)
        except FetchError as error:
            unknown[word] = str(error)
            continue
        if not found:
            unknown[word] = "the atlas has no such gene or antibody"
        genes += found
    return list(dict.fromkeys(genes)), unknown


def _search(word: str, client: AtlasClient) -> list[str]:
    url = client.site.search_url(word)
    content = client.fetch(url, max_bytes=_MAX_SEARCH_BYTES, check=_is_list(word))
    rows = [row for row in json.loads(content) if isinstance(row, dict)]
    key = word.casefold()
    found = [row.get("Ensembl") for row in rows if key in _names(row)]
    return [gene for gene in found if isinstance(gene, str) and is_gene_id(gene)]


def _names(row: dict[str, object]) -> set[str]:
    antibodies = row.get("Antibody") or ()
    several = antibodies if isinstance(antibodies, list) else str(antibodies).split(",")
    return {str(name).strip().casefold() for name in (row.get("Gene"), *several)}


def _is_list(word: str) -> Callable[[bytes], None]:
    def check(content: bytes) -> None:
        try:
            rows = json.loads(content or b"[]")
        except (ValueError, RecursionError) as error:
            raise InputError(f"search for {word}: expected JSON ({error})") from error
        if not isinstance(rows, list):
            raise InputError(f"search for {word}: expected a list")

    return check

"""The run's genes beside the atlas's own flags of single-cell variation.

Enters: ``variation.parquet`` with rows of genes, and the atlas's table of subcellular locations
(``subcellular_location.tsv``, plain or gzipped). A gene of the run is found there by its Ensembl id
or by its name. Spatial and intensity flags are compared apart: the atlas sets the first about
twenty times as rarely.
"""

import csv
import gzip
from dataclasses import dataclass
from io import StringIO
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from scipy.stats import mannwhitneyu

from hpacells.core.errors import InputError
from hpacells.core.storage import atomic_path
from hpacells.variation.null import KINDS

__all__ = ["ATLAS_FILE", "ATLAS_SCHEMA", "Agreement", "compare_with_atlas", "read_flags"]

ATLAS_FILE = "variation_atlas.parquet"
ATLAS_SCHEMA = pa.schema(
    [
        pa.field("gene", pa.string(), nullable=False),
        pa.field("kind", pa.string(), nullable=False),
        pa.field("flagged", pa.bool_(), nullable=False),
        pa.field("flag", pa.string()),
        *[pa.field(name, pa.float64()) for name in ("score", "effect", "p", "q")],
    ]
)
"""One row a gene that the atlas knows and kind; ``flag``: the atlas's own words."""

_GENE, _NAME = "Gene", "Gene name"
_FLAG = {kind: f"Single-cell variation {kind}" for kind in KINDS}
_FOUND_Q = 0.05


@dataclass(frozen=True)
class Agreement:
    """How one kind compares.

    Parameters
    ----------
    kind
        ``spatial`` or ``intensity``.
    n, n_flagged
        Genes in both tables with a score, and those that the atlas flags.
    auc
        Chance that a flagged gene ranks above one that is not, by effect, or by score where the
        run has no effects; None where all or none are flagged.
    n_found, n_found_flagged
        Genes with q < 0.05, and those of them that are flagged.
    """

    kind: str
    n: int
    n_flagged: int
    auc: float | None
    n_found: int
    n_found_flagged: int


def compare_with_atlas(run_folder: Path, variation: pa.Table, atlas: Path) -> list[Agreement]:
    """Compare a run's genes with the atlas and write ``variation_atlas.parquet``.

    Parameters
    ----------
    run_folder
        Where the table goes.
    variation
        Of the run.
    atlas
        The atlas's table.

    Returns
    -------
    list of Agreement
        Spatial and intensity.

    Raises
    ------
    InputError
        When the atlas's table is missing, cannot be read or lacks a column, or no gene of the run
        is in it.
    """
    flags = read_flags(atlas)
    genes = [row for row in variation.to_pylist() if row["level"] == "gene"]
    known = [row for row in genes if row["id"] in flags]
    if not known:
        have = f"{len(genes)} genes, none of them is there" if genes else "no gene names"
        raise InputError(
            f"{atlas}: expected genes of the run, which has {have}. Give each field its gene "
            "(Ensembl id or name) in the column 'gene' of train.csv or the manifest."
        )
    rows = [
        {
            "gene": row["id"],
            "kind": kind,
            "flagged": bool(flags[row["id"]][kind]),
            "flag": flags[row["id"]][kind] or None,
            **{name: row[f"{kind}_{name}"] for name in ("score", "effect", "p", "q")},
        }
        for row in known
        for kind in KINDS
    ]
    with atomic_path(run_folder / ATLAS_FILE) as temporary:
        pq.write_table(pa.Table.from_pylist(rows, schema=ATLAS_SCHEMA), temporary)
    return [_agree(kind, [row for row in rows if row["kind"] == kind]) for kind in KINDS]


def read_flags(atlas: Path) -> dict[str, dict[str, str]]:
    """Read the atlas's flags by Ensembl id and by gene name: kind → its words, empty for none.

    Raises
    ------
    InputError
        When the table is missing, cannot be read or lacks a column.
    """
    if not atlas.is_file():
        raise InputError(f"{atlas}: expected the atlas's subcellular_location.tsv, found none.")
    try:
        content = atlas.read_bytes()
        text = (gzip.decompress(content) if atlas.suffix == ".gz" else content).decode("utf-8")
    except (gzip.BadGzipFile, EOFError, UnicodeDecodeError) as error:
        raise InputError(f"{atlas}: cannot be read ({error}). Download it again.") from error
    reader = csv.DictReader(StringIO(text), delimiter="\t")
    missing = [c for c in (_GENE, _NAME, *_FLAG.values()) if c not in (reader.fieldnames or ())]
    if missing:
        raise InputError(
            f"{atlas}: expected tab-separated columns of the atlas, {', '.join(missing)} missing. "
            "Is it subcellular_location.tsv?"
        )
    found: dict[str, dict[str, str]] = {}
    for row in reader:
        told = {kind: (row[column] or "").strip() for kind, column in _FLAG.items()}
        found |= {row[name]: told for name in (_NAME, _GENE) if row[name]}
    return found


def _agree(kind: str, rows: list[dict[str, object]]) -> Agreement:
    by = "score" if all(row["effect"] is None for row in rows) else "effect"
    scored = [row for row in rows if row[by] is not None]
    flagged = np.array([row["flagged"] for row in scored], np.bool_)
    values = np.array([row[by] for row in scored], np.float64)
    auc = None
    if flagged.any() and not flagged.all():
        above = mannwhitneyu(values[flagged], values[~flagged]).statistic
        auc = float(above / (flagged.sum() * (~flagged).sum()))
    q = np.array([np.nan if row["q"] is None else row["q"] for row in scored], np.float64)
    found = q < _FOUND_Q
    counts = int(found.sum()), int((found & flagged).sum())
    return Agreement(kind, len(scored), int(flagged.sum()), auc, *counts)

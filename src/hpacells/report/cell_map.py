"""Embeddings to a map: cells that look alike to the model lie close to each other.

Two ways: PCA, which is fast and keeps distances as far as a plane can; UMAP, which shows groups and
whose distances between groups mean little. Which cells are on the map is the caller's choice.
"""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from scipy.linalg import eigh

from hpacells.core.cell_table import EMBEDDING_SCHEMA
from hpacells.core.errors import MissingExtraError
from hpacells.core.run_tables import open_table

__all__ = ["CellMap", "draw_map", "read_embeddings"]

_FEWEST = {"pca": 3, "umap": 10}
_NEIGHBOURS = 15


@dataclass(frozen=True)
class CellMap:
    """A map of cells; ``places`` ``(N, 2)`` float64, or None, for which ``note`` gives a reason."""

    places: npt.NDArray[np.float64] | None
    note: str


def read_embeddings(
    run_folder: Path, fov_ids: Sequence[str]
) -> dict[tuple[str, int], npt.NDArray[np.float32]]:
    """Read the embeddings of some fields.

    Returns
    -------
    dict
        (fov_id, cell_id) → ``(D,)``; empty where the run has no ``embeddings.parquet``.

    Raises
    ------
    InputError
        When the table is damaged or lacks a column.
    """
    path = run_folder / "embeddings.parquet"
    if not path.is_file():
        return {}
    open_table(path, EMBEDDING_SCHEMA.names).close()
    wanted = pc.field("fov_id").isin(pa.array(fov_ids, pa.string()))
    with path.open("rb") as file:
        table = pq.read_table(file, columns=EMBEDDING_SCHEMA.names, filters=wanted)
    keys = zip(table["fov_id"].to_pylist(), table["cell_id"].to_pylist(), strict=True)
    if not table.num_rows:
        return {}
    vectors = table["embedding"].combine_chunks().flatten().to_numpy().reshape(table.num_rows, -1)
    return dict(zip(keys, vectors, strict=True))


def draw_map(embeddings: npt.NDArray[np.float32], method: Literal["pca", "umap"]) -> CellMap:
    """Place cells in a plane.

    Parameters
    ----------
    embeddings
        ``(N, D)``, one row per cell.
    method
        How.

    Returns
    -------
    CellMap
        The same for the same embeddings. Too few cells give no places.

    Raises
    ------
    MissingExtraError
        When UMAP is asked for and umap-learn is not installed.

    Notes
    -----
    A component's sign is chosen so that its largest weight is positive.
    """
    few = _FEWEST[method]
    if len(embeddings) < few:
        return CellMap(
            None, f"A map needs the embeddings of {few} cells; {len(embeddings)} are here."
        )
    return _umap(embeddings) if method == "umap" else _pca(embeddings)


def _pca(embeddings: npt.NDArray[np.float32]) -> CellMap:
    centred = embeddings.astype(np.float64) - embeddings.mean(axis=0, dtype=np.float64)
    _, size = centred.shape
    variance = centred.T @ centred
    total = float(np.trace(variance))
    first = max(size - 2, 0)
    values, vectors = eigh(variance, subset_by_index=[first, size - 1])
    largest = vectors[np.abs(vectors).argmax(axis=0), np.arange(vectors.shape[1])]
    places = np.zeros((len(centred), 2))
    places[:, : size - first] = (centred @ (vectors * np.where(largest < 0, -1, 1)))[:, ::-1]
    shares = " and ".join(f"{max(value, 0) / total if total else 0:.0%}" for value in values[::-1])
    return CellMap(
        places,
        f"PCA of the model's embeddings: the axes hold {shares} of their variance.",
    )


def _umap(embeddings: npt.NDArray[np.float32]) -> CellMap:
    try:
        from umap import UMAP  # noqa: PLC0415  optional, and slow to import
    except ImportError as error:
        raise MissingExtraError(
            "--map umap needs umap-learn, which is not installed. Install it with "
            "pip install 'hpacells[umap]', or leave --map away for PCA."
        ) from error
    neighbours = min(_NEIGHBOURS, len(embeddings) - 1)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="n_jobs value")  # one job: it says so itself
        places = UMAP(n_neighbors=neighbours, random_state=0, n_jobs=1).fit_transform(embeddings)
    return CellMap(
        np.asarray(places, np.float64),
        f"UMAP of the model's embeddings, {neighbours} neighbours: groups mean something, the "
        "distances between them little.",
    )

"""The atlas terms that a model tells apart beyond the 19 locations, from a cell's embedding.

``terms.onnx`` of a model folder takes ``embedding`` float32 ``(N, D)`` and gives ``terms`` float32
``(N, T)``, probabilities in the order of ``model.json``'s ``terms``.
"""

from functools import lru_cache
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnxruntime as ort
import pyarrow as pa

from hpacells.core.errors import ModelError
from hpacells.runtime.graph import open_graph
from hpacells.runtime.model_folder import ModelFolder

__all__ = ["TERM_PREFIX", "score_terms", "term_columns"]

TERM_PREFIX = "term_"
"""Begins the names of the columns; the rest is the term in lower case, words joined by ``_``."""


def term_columns(terms: tuple[str, ...]) -> list[str]:
    """Name the columns of a model's terms.

    Examples
    --------
    >>> term_columns(("Cell Junctions",))
    ['term_cell_junctions']
    """
    return [TERM_PREFIX + "_".join(term.lower().split()) for term in terms]


def score_terms(model: ModelFolder, embedding: npt.NDArray[np.float32]) -> pa.Table | None:
    """Score the terms of cells.

    Parameters
    ----------
    model
        Its ``terms.onnx`` is opened once for a process.
    embedding
        ``(N, D)`` float32, as the model gives it; N may be 0.

    Returns
    -------
    pyarrow.Table or None
        A float32 column per term, N rows, in [0, 1]; None where the model has no terms.

    Raises
    ------
    ModelError
        When the graph does not give a probability for each term.
    """
    if model.terms_path is None:
        return None
    names = term_columns(model.spec.terms)
    scores = np.zeros((0, len(names)), np.float32)
    if len(embedding):
        scores = _open(model.terms_path).run(["terms"], {"embedding": embedding})[0]
    if scores.shape != (len(embedding), len(names)) or not ((scores >= 0) & (scores <= 1)).all():
        raise ModelError(
            f"{model.terms_path}: expected probabilities {(len(embedding), len(names))}, got an "
            f"array of shape {scores.shape}. Install the model again."
        )
    return pa.table({name: pa.array(scores[:, i]) for i, name in enumerate(names)})


@lru_cache(maxsize=2)
def _open(path: Path) -> ort.InferenceSession:
    return open_graph(path, input_sizes="differ")

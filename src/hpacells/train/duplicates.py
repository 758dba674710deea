"""Near copies of a field: found by its cells where a table names neither antibody nor gene.

The competition's images hold the same field more than once: exported twice, at another brightness
or compression, or photographed again with the stage hardly moved. Such copies must not stand on
both sides of a split. Copies show the *same cells*, so cells are compared, by the stains that do
not depend on the protein; other fields of the same well share their style and no cell, and are not
found: only a table that names antibody or gene keeps those together. Where it names them for some
fields, both kinds of links are joined.
"""

from dataclasses import replace

import cv2
import numpy as np
import numpy.typing as npt
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial import KDTree
from sklearn.decomposition import PCA

from hpacells.core.channels import CHANNELS, Channel
from hpacells.train.data import MIXED, TrainingData

__all__ = ["NEAR_DUPLICATES", "group_near_duplicates", "wants_near_duplicates"]

NEAR_DUPLICATES = "near_duplicates"
"""What ``TrainingData.group_kind`` becomes where no field has antibody or gene."""

_STAINS = [i for i, channel in enumerate(CHANNELS) if channel != Channel.PROTEIN]
_GRID = 8
_CELLS_PER_FIELD = 8
"""The largest cells of a field stand for it: a second segmentation finds them again."""
_CLOSE = 0.25
"""Cells closer than this are one cell. Simulated cells, 0.25 µm per pixel: a copy at 0.8 of the
brightness, with noise, JPEG quality 80 and a pixel's shift is at 0.13 (99 %: 0.23); the nearest
cell of 240 other fields never under 0.33."""
_SHARE = 0.5
"""Fields of which so many compared cells are close are near copies."""
_DIMENSIONS = 24


def wants_near_duplicates(data: TrainingData) -> bool:
    """Say whether some field has neither antibody nor gene: its copies must be looked for."""
    return data.group_kind in ("fov_id", MIXED)


def group_near_duplicates(data: TrainingData) -> TrainingData:
    """Join a data set's groups by near copies; each is named by its first field's group.

    Parameters
    ----------
    data
        Crops show all stains, whole windows (also outside the cell).

    Returns
    -------
    TrainingData
        The same with ``groups`` and ``group_kind`` replaced. Copies of copies are one group, with
        all fields of their antibodies and genes.

    Notes
    -----
    Up to eight cells a field, each 3 stains of 8 x 8 pixels, each stain without its mean and at
    length 1 (so brightness doesn't count). Pairs are looked for by a k-d tree on principal
    components, which can only bring cells closer, and judged in full: 17,000 simulated cells took
    1.3 s; the 174,000 of 21,806 fields, extrapolated, two minutes. Crops are read one at a time.
    """
    cells, owner = _largest_cells(data)
    pairs = _close_pairs(_describe(data.crops, cells))
    groups = _join_fields(pairs, owner, data.groups).tolist()
    first = {group: data.groups[i] for i, group in reversed(list(enumerate(groups)))}
    kind = MIXED if data.group_kind == MIXED else NEAR_DUPLICATES
    return replace(data, groups=tuple(first[group] for group in groups), group_kind=kind)


def _largest_cells(data: TrainingData) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Choose each field's largest cells: positions ``(M,)``, ascending, and their fields."""
    area = data.cell_masks.sum(axis=(1, 2), dtype=np.int64)
    sizes = np.diff(data.offsets)
    owner = np.repeat(np.arange(data.n_fields), sizes)
    order = np.lexsort((np.arange(len(area)), -area, owner))
    rank = np.arange(len(area)) - np.repeat(data.offsets[:-1], sizes)
    chosen = np.sort(order[rank < _CELLS_PER_FIELD])
    return chosen, owner[chosen]


def _describe(
    crops: npt.NDArray[np.uint8], cells: npt.NDArray[np.int64]
) -> npt.NDArray[np.float32]:
    """Describe cells of ``(N, C, S, S)`` as vectors ``(M, D)`` of length 1, or less without stains.

    The crops may be mapped and many: never more than one is copied.
    """
    small = np.empty((len(cells), len(_STAINS), _GRID, _GRID), np.float32)
    for place, cell in zip(small, cells, strict=True):
        pixels = np.moveaxis(crops[cell][_STAINS], 0, -1).astype(np.float32)
        place[:] = np.moveaxis(
            cv2.resize(pixels, (_GRID, _GRID), interpolation=cv2.INTER_AREA), -1, 0
        )
    np.sqrt(small, out=small)
    small -= small.mean(axis=(2, 3), keepdims=True)
    length = np.sqrt((small**2).sum(axis=(2, 3), keepdims=True))
    unit = np.divide(small, length, out=np.zeros_like(small), where=length > 1e-3)
    return unit.reshape(len(cells), -1) / np.float32(np.sqrt(len(_STAINS)))


def _close_pairs(vectors: npt.NDArray[np.float32]) -> npt.NDArray[np.int64]:
    """Find pairs ``(P, 2)`` of cells that are close; cells without any stain are close to none."""
    seen = np.flatnonzero((vectors**2).sum(axis=1) > 0.5)
    if len(seen) < 2:
        return np.zeros((0, 2), np.int64)
    kept = vectors[seen].astype(np.float64)
    n_dimensions = min(_DIMENSIONS, *kept.shape)
    short = PCA(n_dimensions, svd_solver="covariance_eigh").fit_transform(kept)
    pairs = KDTree(short).query_pairs(_CLOSE, output_type="ndarray")
    apart = np.linalg.norm(kept[pairs[:, 0]] - kept[pairs[:, 1]], axis=1)
    return seen[pairs[apart <= _CLOSE]]


def _join_fields(
    pairs: npt.NDArray[np.int64], owner: npt.NDArray[np.int64], groups: tuple[str, ...]
) -> npt.NDArray[np.int32]:
    """Give each field's group: fields are joined by enough cells that each has a close partner.

    And by the groups they are already in.
    """
    n_fields = len(groups)
    sizes = np.bincount(owner, minlength=n_fields)
    a, b = owner[pairs[:, 0]], owner[pairs[:, 1]]
    between = a != b
    # (field, other field, cell of the field), once each: a cell counts once towards another field
    ways = np.concatenate([np.stack([a, b, pairs[:, 0]], 1), np.stack([b, a, pairs[:, 1]], 1)])
    ways = np.unique(ways[np.concatenate([between, between])], axis=0)
    links, hits = np.unique(ways[:, :2], axis=0, return_counts=True)
    smaller = np.minimum(sizes[links[:, 0]], sizes[links[:, 1]])
    one = links[hits >= np.maximum(1, np.ceil(_SHARE * smaller))]
    graph = coo_array((np.ones(len(one)), (one[:, 0], one[:, 1])), shape=(n_fields, n_fields))
    # both fields must see it: a link stands only with its reverse
    mutual = graph.tocsr().multiply(graph.T.tocsr())
    _, first, named = np.unique(np.array(groups, np.str_), return_index=True, return_inverse=True)
    named_links = (np.ones(n_fields), (np.arange(n_fields), first[named]))
    both = mutual + coo_array(named_links, shape=(n_fields, n_fields)).tocsr()
    return np.asarray(connected_components(both, directed=False)[1])

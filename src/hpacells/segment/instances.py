"""From the network's maps to matched cells and nuclei, on the working grid.

Seeds grow into the foreground, deepest places of the border map last (a watershed), so touching
cells part along the border that the network drew. What grew from two seeds without a border between
them is one cell. What holds no seed is debris.
"""

import cv2
import numpy as np
import numpy.typing as npt
from scipy import ndimage
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from skimage.segmentation import watershed

from hpacells.segment.config import UnetConfig
from hpacells.segment.resolution import WorkingScale
from hpacells.segment.stains import blur

__all__ = ["cells_from_maps"]

_Ids = npt.NDArray[np.int32]
_Map = npt.NDArray[np.float32]


def cells_from_maps(
    maps: npt.NDArray[np.float32], grid: WorkingScale, config: UnetConfig
) -> tuple[_Ids, _Ids]:
    """Read cells and nuclei from the maps.

    Parameters
    ----------
    maps
        ``(4, h, w)`` float32 in [0, 1]: cell, border, nucleus, seed.
    grid
        The working grid.
    config
        Levels, and sizes in µm.

    Returns
    -------
    cells, nuclei
        ``(h, w)`` int32 with matched ids, with gaps; a nucleus lies in its cell. Cells can still
        have holes or loose pixels (``resolution.keep_inside`` makes them whole).
    """
    cell, border, nucleus, seed = maps
    foreground = blur(cell, grid.px(config.smooth_um)) > config.cell_level
    seeds = _find_seeds(seed, border, foreground, grid, config)
    cells = _grow(seeds, border, foreground)
    cells = _join_unparted(cells, border, config.merge_border)
    cells = _drop_debris(cells, grid.px2(config.min_cell_um2))
    return cells, _own_nuclei(cells, nucleus > config.nucleus_level, grid, config)


def _find_seeds(
    seed: _Map,
    border: _Map,
    foreground: npt.NDArray[np.bool_],
    grid: WorkingScale,
    config: UnetConfig,
) -> _Ids:
    """Find and number the seeds; a place enclosed by borders without any takes fainter ones."""
    found = (seed > config.seed_level) & foreground
    n_places, places = _label(foreground & (border < config.border_level), connectivity=4)
    has_seed = np.bincount(places.ravel(), minlength=n_places) < grid.px2(config.min_cell_um2)
    has_seed[places[found]] = True
    has_seed[0] = True
    found |= (seed > config.faint_seed_level) & ~has_seed[places]
    n_seeds, seeds = _label(found, connectivity=4)
    large = np.bincount(seeds.ravel(), minlength=n_seeds) >= grid.px2(config.min_seed_um2)
    return np.where(large[seeds], seeds, 0).astype(np.int32)


def _label(mask: npt.NDArray[np.bool_], *, connectivity: int) -> tuple[int, _Ids]:
    """Label connected parts; the count includes the background."""
    n, parts = cv2.connectedComponents(mask.astype(np.uint8), connectivity=connectivity)
    return n, np.asarray(parts, np.int32).reshape(mask.shape)


def _grow(seeds: _Ids, border: _Map, foreground: npt.NDArray[np.bool_]) -> _Ids:
    """Let the seeds grow over the foreground, the likeliest borders last."""
    if not seeds.any():
        return np.zeros_like(seeds)
    height = (border * 255).astype(np.uint8)  # levels enough, and ties flood evenly
    grown: _Ids = watershed(height, seeds, mask=foreground).astype(np.int32)
    return grown


def _join_unparted(cells: _Ids, border: _Map, least: float) -> _Ids:
    """Join cells whose common edge is no border: its probability is below ``least`` on average."""
    n = int(cells.max(initial=0)) + 1
    edges, strengths = [], []
    for one, other in ((np.s_[:-1], np.s_[1:]), (np.s_[:, :-1], np.s_[:, 1:])):
        a, b = cells[one], cells[other]
        at = np.flatnonzero((a != b) & (a > 0) & (b > 0))
        pair = np.stack([a.ravel()[at], b.ravel()[at]]).astype(np.int64)
        edges.append(pair.min(axis=0) * n + pair.max(axis=0))
        strengths.append(np.maximum(border[one].ravel()[at], border[other].ravel()[at]))
    edge, position = np.unique(np.concatenate(edges), return_inverse=True)
    if not edge.size:
        return cells
    strength = np.bincount(position, np.concatenate(strengths)) / np.bincount(position)
    first, second = np.divmod(edge[strength < least], n)
    graph = coo_array((np.ones(first.size, np.bool_), (first, second)), shape=(n, n))
    groups = connected_components(graph, directed=False)[1].astype(np.int32)
    # a group is called by its lowest id, so the background stays 0
    lowest = np.full(groups.max() + 1, n, np.int32)
    np.minimum.at(lowest, groups, np.arange(n, dtype=np.int32))
    return lowest[groups][cells]


def _drop_debris(cells: _Ids, least_px: float) -> _Ids:
    """Drop cells that are too small, unless the frame cuts them."""
    keep = np.bincount(cells.ravel()) >= least_px
    for edge in (cells[0], cells[-1], cells[:, 0], cells[:, -1]):
        keep[edge] = True
    keep[0] = False
    return np.where(keep[cells], cells, 0).astype(np.int32)


def _own_nuclei(
    cells: _Ids, nucleus: npt.NDArray[np.bool_], grid: WorkingScale, config: UnetConfig
) -> _Ids:
    """Give nuclei the ids of their cells, without holes, crumbs and what a neighbour cut off."""
    filled = ndimage.binary_fill_holes(nucleus)
    nuclei = np.where(filled, cells, 0).astype(np.int32)
    kept = np.zeros_like(nuclei)
    least_px = grid.px2(config.min_nucleus_um2)
    for cell_id, box in enumerate(ndimage.find_objects(nuclei), start=1):
        if box is None:
            continue
        mine = (nuclei[box] == cell_id).astype(np.uint8)
        _, parts, stats, _ = cv2.connectedComponentsWithStats(mine, connectivity=8)
        large = stats[:, cv2.CC_STAT_AREA] >= least_px
        large[0] = False
        kept[box][large[parts.reshape(mine.shape)]] = cell_id
    return kept

"""From the network's maps to matched cells and nuclei, on the working grid.

Seeds grow into the foreground, deepest places of the border map last (a watershed), so touching
cells part along the border that the network drew. What grew from two seeds without a border between
them is one cell. What holds no seed is debris.
"""

from collections.abc import Iterator, Sequence

import cv2
import numpy as np
import numpy.typing as npt
from scipy import ndimage
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from skimage.segmentation import watershed

from hpacells.segment.config import UnetConfig
from hpacells.segment.debris import drop_debris
from hpacells.segment.resolution import WorkingScale
from hpacells.segment.stains import blur

__all__ = ["cells_from_maps"]

_Ids = npt.NDArray[np.int32]
_Map = npt.NDArray[np.float32]

_CONDENSED = 0.4
"""Each of them over the upper quartile of the field's nuclei, at most."""

_ALIKE = 0.5
"""Smaller over larger half of a dividing cell's chromosomes, at least."""

_PARTED = 128
"""Of 255: where the border map is below this, seeds grow without being stopped."""


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
    cells = drop_debris(cells, grid.px2(config.min_cell_um2))
    nuclei = _own_nuclei(cells, nucleus > config.nucleus_level, grid, config)
    return _join_dividing(cells, nuclei, grid.px2(config.max_condensed_um2))


def _find_seeds(
    seed: _Map,
    border: _Map,
    foreground: npt.NDArray[np.bool_],
    grid: WorkingScale,
    config: UnetConfig,
) -> _Ids:
    """Find and number the seeds; a place enclosed by borders without any takes fainter ones.

    A place at the frame that has none of those either is a seed itself: the nucleus of that cell
    is outside, and a neighbour would swallow the rest of it.
    """
    found = _large_parts((seed > config.seed_level) & foreground, grid.px2(config.min_seed_um2))
    found = _part_seeds(found, seed, config.split_levels, grid.px2(config.min_split_um2))
    n_places, places = _label(foreground & (border < config.border_level), connectivity=4)
    has_seed = np.bincount(places.ravel(), minlength=n_places) < grid.px2(config.min_cell_um2)
    has_seed[0] = True
    has_seed[places[found]] = True
    faint = (seed > config.faint_seed_level) & ~has_seed[places]
    found |= _large_parts(faint, grid.px2(config.min_seed_um2))
    at_frame = np.zeros(n_places, np.bool_)
    for edge in (np.s_[0], np.s_[-1], np.s_[:, 0], np.s_[:, -1]):
        at_frame[places[edge]] = True
    has_seed[places[found]] = True
    found |= (at_frame & ~has_seed)[places]
    return _label(found, connectivity=4)[1]


def _part_seeds(
    found: npt.NDArray[np.bool_], seed: _Map, levels: Sequence[float], least_px: float
) -> npt.NDArray[np.bool_]:
    """Part each seed that falls into several large regions at a higher level: these are its rest.

    Level by level, so that a region parted at one is parted again at the next.
    """
    kept = found.copy()
    n_seeds, seeds = _label(kept, connectivity=4)
    at = np.flatnonzero(kept)
    for level in levels:
        n_parts, parts = _label(kept & (seed > level), connectivity=4)
        part, owner = parts.ravel()[at], seeds.ravel()[at]
        large = np.bincount(part, minlength=n_parts) >= least_px
        large[0] = False
        owner_of = np.zeros(n_parts, np.int64)
        owner_of[part] = owner
        several = np.bincount(owner_of[large], minlength=n_seeds) > 1
        several[0] = False
        dropped = several[owner] & ~large[part]
        if dropped.any():
            kept.ravel()[at[dropped]] = False
            at = at[~dropped]
            n_seeds, seeds = _label(kept, connectivity=4)
    return kept


def _large_parts(mask: npt.NDArray[np.bool_], least_px: float) -> npt.NDArray[np.bool_]:
    """Keep the connected parts (4-neighbourhood) of at least this size."""
    n_parts, parts = _label(mask, connectivity=4)
    large = np.bincount(parts.ravel(), minlength=n_parts) >= least_px
    large[0] = False
    kept: npt.NDArray[np.bool_] = large[parts]
    return kept


def _label(mask: npt.NDArray[np.bool_], *, connectivity: int) -> tuple[int, _Ids]:
    """Label connected parts; the count includes the background."""
    n, parts = cv2.connectedComponents(mask.astype(np.uint8), connectivity=connectivity)
    return n, np.asarray(parts, np.int32).reshape(mask.shape)


def _grow(seeds: _Ids, border: _Map, foreground: npt.NDArray[np.bool_]) -> _Ids:
    """Let the seeds grow over the foreground, the likeliest borders last.

    A place that holds one seed only and is parted from all others by something higher than
    itself is flooded by that seed, whatever the order: only the rest goes through the watershed.
    """
    if not seeds.any():
        return np.zeros_like(seeds)
    height = (border * 255).astype(np.uint8)  # levels enough, and ties flood evenly
    markers = seeds
    for mask in (foreground, foreground & (height < _PARTED)):
        n_places, places = _label(mask, connectivity=4)
        markers = np.where(markers > 0, markers, _only_seeds(seeds, places, n_places)[places])
    open_px = foreground & (markers == 0)
    if not open_px.any():
        return markers
    around = cv2.dilate(open_px.astype(np.uint8), np.ones((3, 3), np.uint8)).reshape(seeds.shape)
    grown = watershed(height, np.where(around > 0, markers, 0), mask=foreground & (around > 0))
    return np.where(markers > 0, markers, grown).astype(np.int32)


def _only_seeds(seeds: _Ids, places: _Ids, n_places: int) -> _Ids:
    """Give each place the one seed that it holds, or 0; place 0 is none."""
    at = np.flatnonzero(seeds)
    place, seed = places.ravel()[at], seeds.ravel()[at]
    lowest = np.full(n_places, np.iinfo(np.int32).max, np.int32)
    highest = np.zeros(n_places, np.int32)
    np.minimum.at(lowest, place, seed)
    np.maximum.at(highest, place, seed)
    only = np.where(lowest == highest, highest, 0).astype(np.int32)
    only[0] = 0
    return only


def _join_unparted(cells: _Ids, border: _Map, least: float) -> _Ids:
    """Join cells whose common edge is no border: its probability is below ``least`` on average."""
    n = int(cells.max(initial=0)) + 1
    pairs, strengths = [], []
    for one, other, pair in _common_edges(cells):
        pairs.append(pair.min(axis=0) * n + pair.max(axis=0))
        strengths.append(np.maximum(border.ravel()[one], border.ravel()[other]))
    edge, position = np.unique(np.concatenate(pairs), return_inverse=True)
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


def _join_dividing(cells: _Ids, nuclei: _Ids, most_px: float) -> tuple[_Ids, _Ids]:
    """Join two touching cells of which each has half of a dividing cell's chromosomes.

    These lie condensed on far less room than the field's larger nuclei take, and ``most_px`` at
    most, alike in size. Not where the frame cuts one of them, or where a cell has two such
    neighbours.
    """
    n = int(cells.max(initial=0)) + 1
    size = np.bincount(nuclei.ravel(), minlength=n)
    size[0] = 0
    if not size.any():
        return cells, nuclei
    condensed = (size > 0) & (size <= min(most_px, _CONDENSED * np.percentile(size[size > 0], 75)))
    for edge in (nuclei[0], nuclei[-1], nuclei[:, 0], nuclei[:, -1]):
        condensed[edge] = False
    if condensed.sum() < 2:
        return cells, nuclei
    pairs = np.concatenate([pair.T for *_, pair in _common_edges(cells)])
    pairs = np.unique(np.sort(pairs[condensed[pairs].all(axis=1)], axis=1), axis=0)
    pairs = pairs[size[pairs].min(axis=1) >= _ALIKE * size[pairs].max(axis=1)]
    times = np.bincount(pairs.ravel(), minlength=n)
    first, second = pairs[(times[pairs] == 1).all(axis=1)].T
    called = np.arange(n, dtype=np.int32)
    called[second] = first
    return called[cells], called[nuclei]


def _common_edges(
    cells: _Ids,
) -> Iterator[tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.int64]]]:
    """Find where cells touch, down and then to the right.

    Yields the flat positions ``(E,)`` of the pixels on either side and their cells' ids ``(2, E)``.
    """
    flat, width = cells.ravel(), cells.shape[1]
    for one, other, step in (
        (cells[:-1], cells[1:], width),
        (cells[:, :-1], cells[:, 1:], 1),
    ):
        at = np.flatnonzero((one != other) & (one > 0) & (other > 0))
        here = at if step == width else at + at // max(width - 1, 1)
        yield here, here + step, np.stack([flat[here], flat[here + step]]).astype(np.int64)


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

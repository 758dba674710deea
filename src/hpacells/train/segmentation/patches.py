"""Patches of cached fields: where they are cut, how they are turned and scaled, what is set in.

Everything about one patch follows from its own generator, so a batch is the same whenever, and on
whatever thread, it is made.
"""

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from hpacells.runtime.segmenter_folder import MAP_STAINS, MAPS
from hpacells.train.segmentation.augment import change_stains, hide_borders
from hpacells.train.segmentation.config import MapAugmentConfig, SegmentTrainConfig
from hpacells.train.segmentation.data import N_PLANES, WEIGHT_SCALE, FieldCache, unpack_targets

__all__ = ["PatchBatch", "draw_batch"]

_N_STAINS = len(MAP_STAINS)
_CELL, _BORDER = MAPS.index("cell"), MAPS.index("border")
_SET_IN_GAP_PX = 3
_Planes = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class PatchBatch:
    """The patches of one step.

    Parameters
    ----------
    stains
        ``(B, 3, S, S)`` float32 in [0, 1], in the order of ``MAP_STAINS``.
    present
        ``(B, 3)`` float32, 0 where a stain is missing.
    targets
        ``(B, 4, S, S)`` float32, 0 or 1, in the order of ``MAPS``.
    weights
        ``(B, S, S)`` float32; 0 outside the field.
    """

    stains: npt.NDArray[np.float32]
    present: npt.NDArray[np.float32]
    targets: npt.NDArray[np.float32]
    weights: npt.NDArray[np.float32]


def draw_batch(
    cache: FieldCache, fields: npt.NDArray[np.int64], config: SegmentTrainConfig, step: int
) -> PatchBatch:
    """Draw the patches of one step.

    Parameters
    ----------
    cache
        Where the fields are.
    fields
        ``(F,)`` positions of the fields to draw from.
    config
        Size and number of the patches, and their changes.
    step
        Decides, with ``config.seed``, everything that is drawn.
    """
    side, n = config.patch_px, config.batch
    stains = np.empty((n, _N_STAINS, side, side), np.float32)
    present = np.ones((n, _N_STAINS), np.float32)
    targets = np.empty((n, len(MAPS), side, side), np.float32)
    weights = np.empty((n, side, side), np.float32)
    augment = config.augment
    for k in range(n):
        rng = np.random.default_rng([config.seed, step, k])
        planes = _cut(cache, fields, side, augment, rng)
        if rng.random() < augment.mix_share:
            planes = _set_in(planes, _cut(cache, fields, side, augment, rng))
        if rng.random() < augment.blank_share:
            planes[: _N_STAINS + 1] = 0
            planes[-1] = round(WEIGHT_SCALE)
        drawn = list(unpack_targets(planes[_N_STAINS]))
        targets[k] = drawn
        seen = planes[:_N_STAINS].astype(np.float32) / np.float32(255)
        if rng.random() < augment.hidden_share:
            seen = hide_borders(seen, drawn[_CELL], drawn[_BORDER], rng)
        stains[k] = change_stains(seen, augment, rng)
        weights[k] = planes[-1] / np.float32(WEIGHT_SCALE)
        if rng.random() < augment.missing_share:
            present[k, rng.integers(_N_STAINS)] = 0.0
    return PatchBatch(stains, present, targets, weights)


def _cut(
    cache: FieldCache,
    fields: npt.NDArray[np.int64],
    side: int,
    augment: MapAugmentConfig,
    rng: np.random.Generator,
) -> _Planes:
    """Cut a window of random place and size, bring it to ``side``, turn and mirror it."""
    planes = cache.planes(int(rng.choice(fields)))
    low, high = np.log(augment.scale_range)
    window = round(side / float(np.exp(rng.uniform(low, high))))
    cut = []
    for limit in planes.shape[1:]:
        start = int(rng.integers(0, max(0, limit - window) + 1))
        cut.append(slice(start, min(limit, start + window)))
    part = np.ascontiguousarray(planes[:, cut[0], cut[1]])
    missing = [(0, 0), *((0, window - n) for n in part.shape[1:])]
    part = np.pad(part, missing)  # outside the field nothing is known: weight 0
    patch = np.empty((N_PLANES, side, side), np.uint8)
    for k in range(N_PLANES):
        smooth = cv2.INTER_AREA if window > side else cv2.INTER_LINEAR
        way = smooth if k < _N_STAINS else cv2.INTER_NEAREST
        patch[k] = cv2.resize(part[k], (side, side), interpolation=way)
    patch = np.rot90(patch, int(rng.integers(4)), axes=(1, 2))
    if rng.random() < 0.5:
        patch = patch[:, :, ::-1]
    return np.ascontiguousarray(patch)


def _set_in(base: _Planes, other: _Planes) -> _Planes:
    """Set those groups of cells of ``other`` into ``base`` that cover none of its cells.

    A denser field: the groups come to lie close to others, with their own surroundings' light
    where it is brighter.
    """
    cell = 1 << MAPS.index("cell")
    taken = base[_N_STAINS] & cell
    groups = other[_N_STAINS] & cell
    n, parts = cv2.connectedComponents(groups, connectivity=8)
    parts = np.asarray(parts).reshape(groups.shape)
    fits = np.ones(n, np.bool_)
    fits[parts[(taken > 0) | (base[-1] == 0)]] = False
    fits[0] = False
    new = fits[parts]
    if not new.any():
        return base
    mixed = base.copy()
    mixed[_N_STAINS:, new] = other[_N_STAINS:, new]
    side = 2 * _SET_IN_GAP_PX + 1
    disk = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side))
    around = cv2.dilate(new.astype(np.uint8), disk).reshape(new.shape) > 0
    around &= (taken == 0) & ((groups == 0) | new)
    mixed[:_N_STAINS, around] = np.maximum(base[:_N_STAINS, around], other[:_N_STAINS, around])
    return mixed

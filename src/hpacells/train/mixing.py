"""Bags mixed with other bags, cell by cell: one image with two proteins.

All four stains are mixed together, so that each pattern keeps the references it is read against,
and only what lies inside the two cells. Whole bags are mixed, because an image's label says of
single cells only that some of them have a location: of two bags mixed cell by cell that stays as
true as it was, and the label is the two labels united. A single cell mixed into a bag would bring
a location with a probability that nobody knows.

United, not weighted: a location at half the brightness is still there. Where a line cuts cells,
the image's label is united too (what one cell loses another keeps), and the soft targets of
single cells, if there are some, count by the share of each cell that is left.
"""

from copy import deepcopy

import numpy as np
import numpy.typing as npt

from hpacells.core.locations import NEGATIVE
from hpacells.train.bags import BagCells
from hpacells.train.config_sections import MixConfig

__all__ = ["mix_bags", "unite"]

_Bytes = npt.NDArray[np.uint8]
_Floats = npt.NDArray[np.float32]

_Mixed = tuple[_Bytes, _Bytes, tuple[float, float]]
"""Crop, mask, and the share of either cell that is left."""

_BRIGHTNESS = (0.35, 0.65)


def mix_bags(cells: BagCells, config: MixConfig, rng: np.random.Generator) -> None:
    """Mix some bags with others of the batch, in place.

    Parameters
    ----------
    cells
        Its crops, masks and targets change. A batch of one bag stays as it is.
    config
        Share of the bags that take in another one, for each way to mix.
    rng
        Decides.

    Notes
    -----
    Cell i takes in a cell of the other bag as it was before mixing, in random order, from the
    start again where that has fewer.

    ``mixup``: both cells at 35-65 % of their brightness, together 100 %, each inside its own mask;
    the new mask covers both. ``cutmix``: a line through the middle of the window (the nucleus) at
    any angle; the other cell and its mask lie beyond it.
    """
    n_bags = cells.n_bags
    total = config.mixup + config.cutmix
    if n_bags < 2 or total == 0:
        return
    draws = rng.random(n_bags)
    others = (np.arange(n_bags) + rng.integers(1, n_bags, n_bags)) % n_bags
    before = deepcopy(cells)
    for bag in np.flatnonzero(draws < total):
        mix = _overlay if draws[bag] < config.mixup else _cut
        taken = np.flatnonzero(before.bag_of_cell == bag)
        given = rng.permutation(np.flatnonzero(before.bag_of_cell == others[bag]))
        for pair in zip(taken, np.resize(given, len(taken)), strict=True):
            i, two = pair[0], list(pair)
            mixed = mix(before.crops[two], before.cell_masks[two], rng)
            cells.crops[i], cells.cell_masks[i], left = mixed
            if before.cell_targets is not None and cells.cell_targets is not None:
                cells.cell_targets[i] = unite(*before.cell_targets[two], left=left)
            if before.corrected is not None and cells.corrected is not None:
                cells.corrected[i] = unite(*before.corrected[two], left=left)
        cells.image_targets[bag] = unite(*before.image_targets[[bag, others[bag]]])


def unite(first: _Floats, second: _Floats, *, left: tuple[float, float] = (1.0, 1.0)) -> _Floats:
    """Give the targets of what shows one thing and another.

    Parameters
    ----------
    first, second
        ``(K,)`` float32 in [0, 1], or -1 where unknown.
    left
        Share of each that is still to be seen.

    Returns
    -------
    ndarray
        ``(K,)`` float32, taken as independent probabilities: a location is seen when it is seen in
        either; Negative, when in neither anything is seen. -1 where either is unknown.
    """
    if first.min() < 0 or second.min() < 0:
        return np.full_like(first, -1)
    seen = [share * targets for share, targets in zip(left, (first, second), strict=True)]
    united = seen[0] + seen[1] - seen[0] * seen[1]
    empty = [1 - share * (1 - t[NEGATIVE]) for share, t in zip(left, (first, second), strict=True)]
    united[NEGATIVE] = empty[0] * empty[1]
    return united.astype(np.float32)


def _overlay(crops: _Bytes, masks: _Bytes, rng: np.random.Generator) -> _Mixed:
    """Add two cells ``(2, C, S, S)``, each dimmed; outside both, the first one's crop stays."""
    share = rng.uniform(*_BRIGHTNESS)
    light = share * crops[0] * masks[0] + (1 - share) * crops[1] * masks[1]
    either = masks[0] | masks[1]
    return np.where(either, np.rint(light).astype(np.uint8), crops[0]), either, (1.0, 1.0)


def _cut(crops: _Bytes, masks: _Bytes, rng: np.random.Generator) -> _Mixed:
    """Put the second cell beyond a line through the middle of the window."""
    angle = rng.uniform(0, 2 * np.pi)
    steps = np.arange(masks.shape[-1]) - (masks.shape[-1] - 1) / 2
    first = np.cos(angle) * steps[:, None] + np.sin(angle) * steps < 0
    left = (_share(masks[0], first), _share(masks[1], ~first))
    return np.where(first, crops[0], crops[1]), np.where(first, masks[0], masks[1]), left


def _share(mask: _Bytes, side: npt.NDArray[np.bool_]) -> float:
    return float((mask * side).sum() / max(int(mask.sum()), 1))

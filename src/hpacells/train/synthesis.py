"""Bags of rare locations, made from bags of others by changing the protein's stain.

Negative is the protein dimmed until it shows no more than images without it do; Microtubules and
ER are their own stains put in its place. Such a bag has that location and no other, and all its
cells have it: labels as clean as synthesis makes them.

Not covered: Negative cells amid stained ones, which look different (background under the same
exposure). A mitotic cell's microtubules are a spindle; few cells are, so the label ignores it.
"""

import numpy as np
import numpy.typing as npt

from hpacells.core.channels import Channel
from hpacells.core.locations import LOCATION_KEYS
from hpacells.train.bags import BagCells
from hpacells.train.config_sections import SynthesisConfig

__all__ = ["synthesise_bags"]

_GREEN = Channel.PROTEIN.position
_SOURCE = {"microtubules": Channel.MICROTUBULES, "endoplasmic_reticulum": Channel.ER}

# grey values inside the cells of Negative images: percentiles 95 and 99.5 (real fields)
_NEGATIVE_MOST = {95.0: 2.0, 99.5: 10.0}
_NEGATIVE_NOISE = 1.5
_DARKEST_SOURCE = 16.0  # 99.5 % below this: nothing but noise would be copied
_BRIGHT_END = (60.0, 255.0)
_COPY_GRAIN = (0.1, 0.5)
_COPY_NOISE = 5.0


def synthesise_bags(
    cells: BagCells, config: SynthesisConfig, rng: np.random.Generator
) -> npt.NDArray[np.bool_]:
    """Make some bags into bags of a rare location, in place.

    Parameters
    ----------
    cells
        Its crops and targets change, its masks do not.
    config
        Share of the bags for each location. A bag whose stain is too dark to copy stays as it is.
    rng
        Decides.

    Returns
    -------
    ndarray
        ``(B,)`` bool: the bags that were made.
    """
    done = np.zeros(cells.n_bags, np.bool_)
    shares = config.model_dump()
    edges = np.cumsum(list(shares.values()))
    for bag, place in enumerate(np.searchsorted(edges, rng.random(cells.n_bags), side="right")):
        if place == len(edges):
            continue
        key = list(shares)[place]
        members = cells.bag_of_cell == bag
        made = _make(key, cells.crops[members], cells.cell_masks[members] > 0, rng)
        if made is None:
            continue
        done[bag] = True
        cells.crops[members, _GREEN] = made
        location = np.eye(cells.image_targets.shape[1])[LOCATION_KEYS.index(key)]
        cells.image_targets[bag] = location
        if cells.cell_targets is not None:
            cells.cell_targets[members] = location
        if cells.corrected is not None:
            cells.corrected[members] = location
    return done


def _make(
    key: str,
    crops: npt.NDArray[np.uint8],
    inside: npt.NDArray[np.bool_],
    rng: np.random.Generator,
) -> npt.NDArray[np.uint8] | None:
    """Give the bag's new protein stain ``(n, S, S)``; None where it cannot be made."""
    if key == "negative":
        light = _dim(crops[:, _GREEN], inside, rng)
    else:
        source = crops[:, _SOURCE[key].position]
        bright = np.percentile(source[inside], 99.5) if inside.any() else 0.0
        if bright < _DARKEST_SOURCE:
            return None
        light = _copy(source, float(bright), rng)
    return np.clip(np.rint(light), 0, 255).astype(np.uint8)


def _dim(
    protein: npt.NDArray[np.uint8], inside: npt.NDArray[np.bool_], rng: np.random.Generator
) -> npt.NDArray[np.float64]:
    """Dim all cells alike, as one field has one exposure, and add noise."""
    found = np.percentile(protein[inside], list(_NEGATIVE_MOST)) if inside.any() else np.zeros(2)
    most = np.array(list(_NEGATIVE_MOST.values())) * rng.uniform(0.1, 1.0)
    factor = min(1.0, float((most / np.maximum(found, 1e-6)).min()))
    return protein * factor + rng.normal(0, rng.uniform(0, _NEGATIVE_NOISE), protein.shape)


def _copy(
    source: npt.NDArray[np.uint8], bright: float, rng: np.random.Generator
) -> npt.NDArray[np.float64]:
    """Copy a stain at an exposure of its own, with grain and noise of its own."""
    low, high = np.log(_BRIGHT_END)
    gain = np.exp(rng.uniform(low, high)) / bright
    sd = rng.uniform(*_COPY_GRAIN)
    grain = np.exp(sd * rng.standard_normal(source.shape) - sd * sd / 2)
    noise = rng.normal(0, rng.uniform(0, _COPY_NOISE), source.shape)
    return np.asarray(source * gain * grain + noise, np.float64)

"""Places inside the nucleus: classes 0-5. None of them is drawn in mitosis."""

import numpy as np

from hpacells.simulate.anatomy import CellAnatomy
from hpacells.simulate.stains import StainedCell, to_unit
from hpacells.simulate.texture import FloatImage, draw_spots, smooth_noise, smoothstep

__all__ = [
    "fibrillar_centers",
    "nuclear_bodies",
    "nuclear_membrane",
    "nuclear_speckles",
    "nucleoli",
    "nucleoplasm",
]


def nucleoplasm(stained: StainedCell, rng: np.random.Generator) -> FloatImage:
    """Fill the nucleus evenly or finely grained, less in the nucleoli."""
    cell = stained.anatomy
    grain = smooth_noise(cell.shape, cell.pixel_um, rng.uniform(0.3, 0.6), rng=rng)
    clumps = smooth_noise(cell.shape, cell.pixel_um, 1.6, rng=rng)
    strength = rng.uniform(0.06, 0.28)
    level = np.clip(0.75 + strength * (grain + 0.5 * clumps), 0.1, None)
    hollow = 1 - rng.uniform(0.3, 0.9) * cell.nucleoli
    return (level * hollow * cell.in_nucleus * cell.body).astype(np.float32)


def nuclear_membrane(stained: StainedCell, rng: np.random.Generator) -> FloatImage:
    """Draw the thin rim of the nucleus, with now and then a fold across it."""
    cell = stained.anatomy
    width = rng.uniform(0.16, 0.3)
    rim = np.exp(-0.5 * np.square((cell.nucleus_depth_um - 0.15) / np.float32(width)))
    around = np.clip(1 + 0.25 * smooth_noise(cell.shape, cell.pixel_um, 1.5, rng=rng), 0.3, None)
    inner = rng.uniform(0.03, 0.2) * cell.in_nucleus
    folds = np.zeros(cell.shape, np.float32)
    if rng.random() < 0.25:
        sheet = smooth_noise(cell.shape, cell.pixel_um, 7.0, rng=rng)
        folds = 0.5 * np.exp(-np.square(sheet / np.float32(0.04))) * cell.in_nucleus
    return ((rim * around + inner + folds) * cell.body).astype(np.float32)


def nucleoli(stained: StainedCell, rng: np.random.Generator) -> FloatImage:
    """Fill the nucleoli, the same that are dark in the nucleus stain."""
    cell = stained.anatomy
    texture = 0.85 + 0.15 * smooth_noise(cell.shape, cell.pixel_um, 0.5, rng=rng)
    if rng.random() < 0.2:  # brighter at the rim of the nucleolus
        texture = texture * (0.6 + 1.6 * cell.nucleoli * (1 - cell.nucleoli))
        texture += 0.2
    haze = rng.uniform(0.02, 0.18) * cell.in_nucleus
    return ((cell.nucleoli * np.clip(texture, 0.2, None) + haze) * cell.body).astype(np.float32)


def fibrillar_centers(stained: StainedCell, rng: np.random.Generator) -> FloatImage:
    """Put a few small bright spots inside each nucleolus."""
    cell = stained.anatomy
    places = []
    for centre, radius in zip(cell.nucleolus_centres, cell.nucleolus_radii_um, strict=True):
        count = 1 + int(rng.poisson(0.9 * radius**1.3))
        reach = 0.62 * radius * np.sqrt(rng.random(count)) / cell.pixel_um
        turn = rng.uniform(0, 2 * np.pi, count)
        places.append(centre + np.stack([reach * np.sin(turn), reach * np.cos(turn)], axis=1))
    if not places:
        return np.zeros(cell.shape, np.float32)
    spots = np.concatenate(places)
    sizes = rng.uniform(0.16, 0.3, len(spots))
    image = draw_spots(
        cell.shape,
        spots,
        sigmas_um=sizes,
        levels=rng.uniform(0.6, 1.1, len(spots)),
        pixel_um=cell.pixel_um,
    )
    haze = rng.uniform(0.0, 0.1) * cell.nucleoli + rng.uniform(0.01, 0.08) * cell.in_nucleus
    return (np.minimum(image, 1.4) + haze) * cell.body


def nuclear_speckles(stained: StainedCell, rng: np.random.Generator) -> FloatImage:
    """Scatter ten to forty irregular granules in the nucleoplasm, outside the nucleoli."""
    cell = stained.anatomy
    room = smoothstep(cell.nucleus_depth_um, 0.4, 1.0) * (1 - cell.nucleoli)
    count = int(np.clip(rng.normal(0.11, 0.03) * cell.nucleus_um2, 8, 42))
    seeds = cell.random_places(room, count, rng)
    per = rng.integers(1, 4, len(seeds))
    places = np.repeat(seeds, per, axis=0)
    places = places + rng.normal(0, 0.32 / cell.pixel_um, places.shape)
    image = draw_spots(
        cell.shape,
        places,
        sigmas_um=rng.uniform(0.2, 0.42, len(places)),
        levels=np.repeat(rng.uniform(0.5, 1.0, len(seeds)), per),
        pixel_um=cell.pixel_um,
    )
    ragged = np.clip(1 + 0.3 * smooth_noise(cell.shape, cell.pixel_um, 0.45, rng=rng), 0.2, None)
    haze = rng.uniform(0.08, 0.3) * cell.in_nucleus * (1 - 0.8 * cell.nucleoli)
    return (np.minimum(image * ragged, 1.3) + haze) * cell.body


def nuclear_bodies(stained: StainedCell, rng: np.random.Generator) -> FloatImage:
    """Put two to eight small round spots into the nucleus, away from the nucleoli."""
    cell = stained.anatomy
    room = smoothstep(cell.nucleus_depth_um, 0.6, 1.2) * (1 - cell.nucleoli)
    places = cell.random_places(room, int(rng.integers(2, 9)), rng)
    size = rng.uniform(0.2, 0.42)
    image = draw_spots(
        cell.shape,
        places,
        sigmas_um=size * rng.uniform(0.8, 1.2, len(places)),
        levels=rng.uniform(0.7, 1.1, len(places)),
        pixel_um=cell.pixel_um,
    )
    return (image + rng.uniform(0.02, 0.16) * _without_nucleoli(cell)) * cell.body


def _without_nucleoli(cell: CellAnatomy) -> FloatImage:
    return to_unit(cell.in_nucleus * (1 - np.float32(0.8) * cell.nucleoli))

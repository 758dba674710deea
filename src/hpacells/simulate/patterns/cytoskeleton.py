"""Filaments and what organises them: classes 8-12."""

import numpy as np

from hpacells.simulate.filaments import Gait, draw_filaments, grow_paths
from hpacells.simulate.stains import StainedCell, spindle_fibres, to_unit
from hpacells.simulate.texture import FloatImage, blur_um, draw_spots, smooth_noise, smoothstep

__all__ = [
    "actin_filaments",
    "centrosome",
    "intermediate_filaments",
    "microtubules",
    "mitotic_spindle",
]


def intermediate_filaments(stained: StainedCell, rng: np.random.Generator) -> FloatImage:
    """Draw wavy bundles: a mesh around the nucleus, curling, thicker than microtubules."""
    cell = stained.anatomy
    count = int(np.clip(0.09 * cell.cytoplasm_um2, 18, 130))
    fall = np.float32(rng.uniform(3.0, 8.0))
    near = np.exp(np.minimum(cell.nucleus_depth_um, 0) / fall) * (cell.edge_um > 0.8)
    starts = cell.random_places(cell.in_cytoplasm * near, count, rng)
    radial = np.arctan2(*(starts - cell.centre).T)
    around = radial + np.pi / 2 * rng.choice([-1, 1], len(starts)) + rng.normal(0, 0.7, len(starts))
    paths = grow_paths(
        cell,
        starts,
        around,
        lengths_um=rng.gamma(4.0, rng.uniform(2.5, 4.5), len(starts)),
        gait=Gait(step_um=0.5, wobble=0.38, edge_turn=1.4, nucleus_turn=1.0, curl=0.10),
        rng=rng,
    )
    lines = draw_filaments(cell, paths, width_um=rng.uniform(0.3, 0.45), rng=rng, contrast=0.55)
    image = lines + 0.5 * blur_um(lines, 0.6, cell.pixel_um)
    image = image * (1 - 0.7 * cell.in_nucleus) * (0.35 + 0.65 * cell.height) * cell.body
    return to_unit(image.astype(np.float32), 97)


def actin_filaments(stained: StainedCell, rng: np.random.Generator) -> FloatImage:
    """Draw long parallel stress fibres, focal adhesions at their ends and a cortical rim."""
    cell = stained.anatomy
    count = int(np.clip(rng.uniform(0.03, 0.08) * cell.body.sum() * cell.pixel_um**2, 12, 90))
    starts = cell.random_places(cell.body * smoothstep(cell.edge_um, 0.2, 1.2), count, rng)
    headings = cell.direction + rng.normal(0, 0.15) + rng.normal(0, 0.10, len(starts))
    crossing = rng.random(len(starts)) < 0.15
    headings = np.where(crossing, headings + rng.normal(0, 0.7, len(starts)), headings)
    lengths = rng.uniform(3.0, 20.0, len(starts))
    gait = Gait(step_um=1.0, wobble=0.03, edge_turn=0.0, nucleus_turn=0.0, curl=0.01)
    paths = grow_paths(cell, starts, headings, lengths_um=lengths, gait=gait, rng=rng)
    paths += grow_paths(cell, starts, headings + np.pi, lengths_um=lengths, gait=gait, rng=rng)
    thin, thick = paths[::3] + paths[1::3], paths[2::3]
    fibres = 0.7 * draw_filaments(cell, thin, width_um=0.16, rng=rng, contrast=0.6)
    fibres += draw_filaments(cell, thick, width_um=0.3, rng=rng, contrast=0.5)
    beads = np.clip(0.8 + 0.3 * smooth_noise(cell.shape, cell.pixel_um, 1.5, rng=rng), 0.1, 1.5)
    ends = [path[-3:] for path in paths if len(path) > 4][::2]
    adhesions = draw_filaments(cell, ends, width_um=0.5, rng=rng)
    uneven = np.clip(0.7 + 0.5 * smooth_noise(cell.shape, cell.pixel_um, 4.0, rng=rng), 0, 1.5)
    rim = np.exp(-0.5 * np.square((cell.edge_um - 0.3) / np.float32(0.3))) * uneven
    image = to_unit((fibres * beads).astype(np.float32), 96)
    image += rng.uniform(0.1, 0.45) * to_unit(adhesions, 97)
    image *= 1 - 0.45 * cell.in_nucleus
    return ((image + rng.uniform(0.15, 0.5) * rim) * cell.body).astype(np.float32)


def microtubules(stained: StainedCell, rng: np.random.Generator) -> FloatImage:
    """Follow the microtubules of the red stain, with an antibody's unevenness."""
    cell = stained.anatomy
    uneven = np.clip(1 + 0.22 * smooth_noise(cell.shape, cell.pixel_um, 0.5, rng=rng), 0.2, None)
    image: FloatImage = (stained.microtubules * uneven).astype(np.float32)
    return image


def mitotic_spindle(stained: StainedCell, rng: np.random.Generator) -> FloatImage:
    """Draw the bipolar spindle of a dividing cell; nothing in others."""
    cell = stained.anatomy
    if not cell.mitotic:
        return np.zeros(cell.shape, np.float32)
    shared = stained.microtubules
    image = 0.6 * shared + 0.5 * spindle_fibres(cell, rng)
    if rng.random() < 0.4:
        image += draw_spots(
            cell.shape,
            cell.poles,
            sigmas_um=np.full(2, rng.uniform(0.4, 0.8)),
            levels=np.full(2, 0.7),
            pixel_um=cell.pixel_um,
        )
    return (to_unit(image.astype(np.float32), 97) * cell.body).astype(np.float32)


def centrosome(stained: StainedCell, rng: np.random.Generator) -> FloatImage:
    """Put one or two spots where the microtubules meet, sometimes with satellites."""
    cell = stained.anatomy
    if cell.mitotic:
        places = cell.poles
    else:
        count = 2 if rng.random() < (0.75 if cell.phase == "G2" else 0.45) else 1
        turn = rng.uniform(0, 2 * np.pi)
        gap = rng.uniform(0.4, 0.9) / cell.pixel_um
        step = gap * np.array([np.sin(turn), np.cos(turn)])
        places = cell.centrosome + np.arange(count)[:, None] * step
    sizes = np.full(len(places), rng.uniform(0.22, 0.4))
    levels = np.full(len(places), 1.0)
    if rng.random() < 0.3:
        satellites = int(rng.integers(6, 20))
        spread = rng.normal(0, 1.1 / cell.pixel_um, (satellites, 2))
        places = np.concatenate([places, cell.centrosome + spread])
        sizes = np.concatenate([sizes, rng.uniform(0.12, 0.2, satellites)])
        levels = np.concatenate([levels, rng.uniform(0.2, 0.6, satellites)])
    image = draw_spots(cell.shape, places, sigmas_um=sizes, levels=levels, pixel_um=cell.pixel_um)
    return np.minimum(image, 1.3) * cell.body

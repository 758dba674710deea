"""Membranes, organelles and the fluid outside the nucleus: classes 6, 7, 13-17."""

import numpy as np

from hpacells.simulate.filaments import Gait, draw_filaments, grow_paths
from hpacells.simulate.stains import StainedCell, to_unit
from hpacells.simulate.texture import FloatImage, blur_um, draw_spots, smooth_noise, smoothstep

__all__ = [
    "aggresome",
    "cytosol",
    "endoplasmic_reticulum",
    "golgi_apparatus",
    "mitochondria",
    "plasma_membrane",
    "vesicles",
]


def endoplasmic_reticulum(stained: StainedCell, rng: np.random.Generator) -> FloatImage:
    """Follow the yellow stain: reticular, dense at the nucleus, with the nuclear envelope."""
    cell = stained.anatomy
    grain = np.clip(1 + 0.18 * smooth_noise(cell.shape, cell.pixel_um, 0.5, rng=rng), 0.2, None)
    rim = np.exp(-0.5 * np.square((cell.nucleus_depth_um + 0.1) / np.float32(0.25)))
    image = stained.er ** np.float32(rng.uniform(0.9, 1.5)) * grain
    image *= 1 - 0.75 * cell.in_nucleus
    if not cell.mitotic:
        image += rng.uniform(0.05, 0.35) * rim
    return (image * cell.body).astype(np.float32)


def golgi_apparatus(stained: StainedCell, rng: np.random.Generator) -> FloatImage:
    """Stack short ribbons beside the nucleus, on the centrosome's side."""
    cell = stained.anatomy
    spread = rng.uniform(1.2, 2.8)
    rows, columns = np.ogrid[: cell.shape[0], : cell.shape[1]]
    gap = np.hypot(rows - cell.centrosome[0], columns - cell.centrosome[1]) * cell.pixel_um
    close = np.exp(np.minimum(cell.nucleus_depth_um, 0) / np.float32(1.8))
    room = np.exp(-0.5 * np.square(gap / spread)).astype(np.float32) * close * cell.in_cytoplasm
    count = int(rng.integers(10, 26))
    starts = cell.random_places(room, count, rng)
    radial = np.arctan2(*(starts - cell.centre).T)
    scattered = rng.random() < 0.2
    headings = radial + np.pi / 2 + rng.normal(0, 2.0 if scattered else 0.6, len(starts))
    paths = grow_paths(
        cell,
        starts,
        headings,
        lengths_um=rng.uniform(0.8, 1.5, len(starts))
        if scattered
        else rng.uniform(1.4, 4.2, len(starts)),
        gait=Gait(step_um=0.3, wobble=0.35, edge_turn=1.0, nucleus_turn=1.2, curl=0.08),
        rng=rng,
    )
    lines = draw_filaments(cell, paths, width_um=rng.uniform(0.35, 0.6), rng=rng, contrast=0.35)
    image = to_unit(blur_um(lines, 0.12, cell.pixel_um), 95)
    dust = cell.random_places(cell.in_cytoplasm * cell.height, int(rng.integers(0, 12)), rng)
    image += draw_spots(
        cell.shape,
        dust,
        sigmas_um=np.full(len(dust), 0.15),
        levels=np.full(len(dust), 0.3),
        pixel_um=cell.pixel_um,
    )
    return (image * (1 - 0.8 * cell.in_nucleus) * cell.body).astype(np.float32)


def plasma_membrane(stained: StainedCell, rng: np.random.Generator) -> FloatImage:
    """Draw the outline, brighter at ruffles and at junctions, with a faint sheet above the cell."""
    cell = stained.anatomy
    width = rng.uniform(0.16, 0.34)
    line = np.exp(-0.5 * np.square((cell.edge_um - 0.25) / np.float32(width)))
    ruffled = smooth_noise(cell.shape, cell.pixel_um, rng.uniform(3.0, 7.0), rng=rng)
    amount = np.clip(0.75 + rng.uniform(0.15, 0.5) * ruffled, 0.15, 1.6)
    amount += rng.uniform(0.2, 0.8) * cell.contact
    band = smoothstep(ruffled, 0.7, 1.4) * np.exp(-cell.edge_um / np.float32(1.1))
    grain = smooth_noise(cell.shape, cell.pixel_um, 0.45, rng=rng)
    sheet = rng.uniform(0.04, 0.2) * np.clip(0.7 + 0.35 * grain, 0, None)
    sheet = sheet * smoothstep(cell.edge_um, 0.0, 0.6)
    beads = np.clip(1 + 0.3 * grain, 0.2, None)
    image = line * amount * beads + rng.uniform(0.1, 0.5) * band + sheet
    spikes = cell.random_places(
        ((cell.edge_um > 0.2) & (cell.edge_um < 1.2)).astype(np.float32),
        int(rng.integers(0, 40)),
        rng,
    )
    outward = np.arctan2(*(spikes - cell.centre).T) + rng.normal(0, 0.5, len(spikes))
    gait = Gait(step_um=0.3, wobble=0.1, edge_turn=0.0, nucleus_turn=0.0)
    paths = grow_paths(
        cell, spikes, outward, lengths_um=rng.uniform(0.8, 2.0, len(spikes)), gait=gait, rng=rng
    )
    image += 0.6 * draw_filaments(cell, paths, width_um=0.15, rng=rng)
    return (image * cell.body).astype(np.float32)


def mitochondria(stained: StainedCell, rng: np.random.Generator) -> FloatImage:
    """Scatter short worm-like threads along the microtubules, denser around the nucleus."""
    cell = stained.anatomy
    fall = np.float32(rng.uniform(0.18, 0.45) * np.sqrt(cell.cytoplasm_um2 + 1))
    near = np.exp(np.minimum(cell.nucleus_depth_um + 0.4, 0) / fall)
    room = cell.in_cytoplasm * (0.08 + near) * smoothstep(cell.edge_um, 0.3, 1.8)
    count = int(np.clip(rng.uniform(0.10, 0.22) * cell.cytoplasm_um2, 25, 260))
    starts = cell.random_places(room, count, rng)
    radial = np.arctan2(*(starts - cell.centrosome).T)
    along = np.where(rng.random(len(starts)) < 0.4, cell.direction, radial)
    fragment = rng.random() < 0.3
    lengths = rng.gamma(3.0, 0.35 if fragment else rng.uniform(0.7, 1.5), len(starts))
    paths = grow_paths(
        cell,
        starts,
        along + rng.normal(0, 0.6, len(starts)),
        lengths_um=np.maximum(lengths, 0.6),
        gait=Gait(step_um=0.35, wobble=0.33, edge_turn=1.2, nucleus_turn=1.5, curl=0.08),
        rng=rng,
    )
    lines = draw_filaments(cell, paths, width_um=rng.uniform(0.38, 0.55), rng=rng, contrast=0.3)
    image = np.minimum(to_unit(lines, 95), 1.5) * (1 - 0.9 * cell.in_nucleus)
    haze = rng.uniform(0.0, 0.06) * cell.in_cytoplasm * cell.height
    return ((image * (0.3 + 0.7 * cell.height) + haze) * cell.body).astype(np.float32)


def aggresome(stained: StainedCell, rng: np.random.Generator) -> FloatImage:
    """Put one large lump beside the nucleus, rarely with a small companion."""
    cell = stained.anatomy
    rows, columns = np.ogrid[: cell.shape[0], : cell.shape[1]]
    small = float(np.sqrt(cell.body.sum()) * cell.pixel_um)
    radius = rng.uniform(0.9, 2.0) * np.clip(small / 30.0, 0.6, 1.1)
    image = np.zeros(cell.shape, np.float32)
    warp = 0.25 * smooth_noise(cell.shape, cell.pixel_um, 1.0, rng=rng)
    near = cell.in_cytoplasm * (cell.nucleus_depth_um > -2.5) * (cell.edge_um > 0.5 * radius)
    room = near if near.any() else cell.in_cytoplasm
    gap = np.hypot(rows - cell.centrosome[0], columns - cell.centrosome[1]) * cell.pixel_um
    room = room * np.exp(-np.square(gap / 3.5)).astype(np.float32)
    for scale in (1.0, 0.5) if rng.random() < 0.2 else (1.0,):
        place = cell.random_places(room.astype(np.float32), 1, rng)
        if len(place) == 0:
            break
        reach = np.hypot(rows - place[0, 0], columns - place[0, 1]) * cell.pixel_um
        lump = smoothstep(
            (np.float32(radius * scale) - reach + warp).astype(np.float32), -0.25, 0.35
        )
        image = np.maximum(image, lump)
    grain = np.clip(1 + 0.15 * smooth_noise(cell.shape, cell.pixel_um, 0.5, rng=rng), 0.3, None)
    haze = rng.uniform(0.02, 0.10) * cell.in_cytoplasm * cell.height
    return ((image * grain + haze) * cell.body).astype(np.float32)


def cytosol(stained: StainedCell, rng: np.random.Generator) -> FloatImage:
    """Fill the cytoplasm evenly or finely grained; the nucleus is darker."""
    cell = stained.anatomy
    grain = smooth_noise(cell.shape, cell.pixel_um, rng.uniform(0.25, 0.5), rng=rng)
    clouds = smooth_noise(cell.shape, cell.pixel_um, 4.0, rng=rng)
    level = np.clip(0.75 + rng.uniform(0.06, 0.25) * grain + 0.08 * clouds, 0.1, None)
    thin = 0.35 + 0.65 * smoothstep(cell.edge_um, -0.3, rng.uniform(1.5, 4.0))
    inside = rng.uniform(0.08, 0.4)
    share = smoothstep(cell.edge_um, 0, 0.4) * (1 - (1 - inside) * cell.in_nucleus)
    return (level * thin * share * cell.body).astype(np.float32)


def vesicles(stained: StainedCell, rng: np.random.Generator) -> FloatImage:
    """Scatter many small dots over the cytoplasm: few and large, or many and tiny."""
    cell = stained.anatomy
    area = cell.cytoplasm_um2
    count = int(np.clip(rng.lognormal(np.log(0.14), 0.5) * area, 15, 320))
    pull = rng.uniform(0.0, 1.0)
    room = cell.in_cytoplasm * ((1 - pull) + pull * cell.height) * (cell.edge_um > 0.3)
    places = cell.random_places(room.astype(np.float32), count, rng)
    size = rng.uniform(0.12, 0.34)
    image = draw_spots(
        cell.shape,
        places,
        sigmas_um=size * np.exp(rng.normal(0, 0.22, len(places))),
        levels=np.clip(np.exp(rng.normal(-0.35, 0.4, len(places))), 0.2, 1.3),
        pixel_um=cell.pixel_um,
    )
    haze = rng.uniform(0.0, 0.08) * cell.in_cytoplasm
    return ((np.minimum(image, 1.4) + haze) * cell.body).astype(np.float32)

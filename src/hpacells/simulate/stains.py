"""The three reference stains of one cell, before the microscope: microtubules, ER, nucleus."""

from dataclasses import dataclass

import numpy as np

from hpacells.simulate.anatomy import CellAnatomy
from hpacells.simulate.filaments import Gait, draw_filaments, grow_paths
from hpacells.simulate.texture import FloatImage, blur_um, smooth_noise, smoothstep

__all__ = ["StainedCell", "spindle_fibres", "stain_cell", "to_unit"]


@dataclass(frozen=True)
class StainedCell:
    """A cell and its reference stains, ``(h, w)`` float32 each, bright structures about 1."""

    anatomy: CellAnatomy
    microtubules: FloatImage
    er: FloatImage
    dna: FloatImage


def to_unit(image: FloatImage, percentile: float = 98.0) -> FloatImage:
    """Scale so that the bright part of what is drawn is 1; an empty image stays empty."""
    top = float(image.max(initial=0.0))
    if top <= 1e-6:
        return image
    drawn = image[image > 0.08 * top]
    return image / np.float32(max(float(np.percentile(drawn, percentile)), 1e-6))


def stain_cell(cell: CellAnatomy, rng: np.random.Generator) -> StainedCell:
    """Draw the reference stains of one cell."""
    tubules = spindle_fibres(cell, rng) if cell.mitotic else _draw_microtubules(cell, rng)
    return StainedCell(cell, tubules, _draw_er(cell, rng), _draw_dna(cell, rng))


def _draw_microtubules(cell: CellAnatomy, rng: np.random.Generator) -> FloatImage:
    density = rng.uniform(2.2, 4.6)  # µm of filament per µm² of cytoplasm
    length = rng.uniform(16.0, 30.0)
    count = int(np.clip(density * cell.cytoplasm_um2 / length, 12, 480))
    rooted = int(count * rng.uniform(0.10, 0.30))
    jitter = rng.normal(0, 1.5 / cell.pixel_um, (rooted, 2))
    starts = cell.centrosome + jitter
    free = cell.random_places(cell.in_cytoplasm * (0.3 + cell.height), count - rooted, rng)
    headings = rng.uniform(-np.pi, np.pi, rooted)
    along = cell.direction + np.pi * rng.integers(0, 2, len(free)) + rng.normal(0, 0.8, len(free))
    outward = np.arctan2(*(free - cell.centre).T) + rng.normal(0, 0.5, len(free))
    mixed = np.where(rng.random(len(free)) < 0.55, along, outward)
    paths = grow_paths(
        cell,
        np.concatenate([starts, free]),
        np.concatenate([headings, mixed]),
        lengths_um=rng.gamma(6.0, length / 6.0, rooted + len(free)),
        gait=Gait(wobble=rng.uniform(0.10, 0.26), curl=0.03, edge_turn=0.5, nucleus_turn=0.9),
        rng=rng,
    )
    lines = draw_filaments(cell, paths, width_um=0.13, rng=rng)
    crowd = blur_um(lines, 1.2, cell.pixel_um)
    image = lines + 0.6 * crowd + 0.08 * cell.height
    dim = 0.25 + 0.75 * cell.height
    over_nucleus = 1 - 0.86 * cell.in_nucleus
    return to_unit((image * dim * over_nucleus * cell.body).astype(np.float32), 97)


def spindle_fibres(cell: CellAnatomy, rng: np.random.Generator) -> FloatImage:
    """Draw a bipolar spindle: fibres from both poles to the plate, and short astral ones."""
    axis = cell.poles[1] - cell.poles[0]
    across = np.array([axis[1], -axis[0]])
    middle = cell.poles.mean(axis=0)
    width = rng.uniform(0.24, 0.36)
    along = np.linspace(0.0, 1.0, 14)
    paths = []
    for pole in cell.poles:
        for _ in range(34):
            aside = np.clip(rng.normal(0, 0.55), -1, 1) * width
            reach = along * rng.uniform(0.75, 1.08)
            bow = np.sin(0.5 * np.pi * np.minimum(reach, 1.0)) ** 0.8 * aside
            paths.append(pole + reach[:, None] * (middle - pole) + bow[:, None] * across)
        turns = rng.uniform(0, 2 * np.pi, 14)
        lengths = rng.uniform(0.8, 2.6, 14) / cell.pixel_um
        rays = np.stack([np.sin(turns), np.cos(turns)], axis=1) * lengths[:, None]
        paths.extend(np.stack([pole, pole + ray]) for ray in rays)
    lines = draw_filaments(cell, paths, width_um=0.16, rng=rng)
    lines = lines + 0.9 * blur_um(lines, 0.45, cell.pixel_um)
    image = np.minimum(to_unit(lines.astype(np.float32), 90), 1.4)
    return (image + 0.05 * cell.in_cytoplasm).astype(np.float32)


def _draw_er(cell: CellAnatomy, rng: np.random.Generator) -> FloatImage:
    grain = smooth_noise(cell.shape, cell.pixel_um, rng.uniform(0.25, 0.45), rng=rng)
    mesh = 1 - np.abs(smooth_noise(cell.shape, cell.pixel_um, 0.75, rng=rng))
    patches = smooth_noise(cell.shape, cell.pixel_um, 5.0, rng=rng)
    fall = rng.uniform(0.22, 0.5) * np.sqrt(cell.cytoplasm_um2 + 1)
    near = np.exp(np.minimum(cell.nucleus_depth_um, 0) / np.float32(fall))
    rim = np.exp(-np.abs(cell.nucleus_depth_um) / np.float32(0.35))
    body = 0.12 + 0.88 * near
    texture = np.clip(0.62 + 0.14 * mesh + 0.13 * grain + 0.10 * patches, 0.1, None)
    image = texture * body * smoothstep(cell.edge_um, -0.4, 2.6) * (1 - cell.in_nucleus)
    image += rng.uniform(0.02, 0.2) * rim * near * texture * cell.body * (not cell.mitotic)
    image += rng.uniform(0.05, 0.16) * cell.in_nucleus * np.clip(0.7 + 0.3 * grain, 0, None)
    return to_unit((image * cell.body).astype(np.float32), 97)


def _draw_dna(cell: CellAnatomy, rng: np.random.Generator) -> FloatImage:
    fine = smooth_noise(cell.shape, cell.pixel_um, 0.5, rng=rng)
    clumps = smooth_noise(cell.shape, cell.pixel_um, 1.3, rng=rng)
    if cell.mitotic:
        image = cell.in_nucleus * np.clip(1.0 + 0.12 * fine, 0, None)
        return (1.5 * image * cell.body).astype(np.float32)
    contrast = rng.uniform(0.5, 1.3)
    chromatin = np.clip(0.72 + contrast * (0.10 * fine + 0.12 * clumps), 0.1, None)
    rim = 0.15 * np.exp(-np.square(cell.nucleus_depth_um - 0.4) / np.float32(0.1))
    image = (chromatin + rim) * (1 - rng.uniform(0.35, 0.75) * cell.nucleoli)
    content = {"G1": 1.0, "S": 1.05, "G2": 1.15}[cell.phase]
    return (content * image * cell.in_nucleus * cell.body).astype(np.float32)

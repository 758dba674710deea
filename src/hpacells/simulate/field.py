"""One simulated field: from (seed, index) to pixels, masks and what every cell carries."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hpacells.core.channels import CHANNELS, Channel
from hpacells.core.fov import FieldOfView
from hpacells.core.locations import NEGATIVE
from hpacells.core.masks import CellMasks, largest_part
from hpacells.simulate.anatomy import CellAnatomy
from hpacells.simulate.bodies import build_anatomies
from hpacells.simulate.camera import draw_exposure, take_picture
from hpacells.simulate.cell_lines import find_cell_line
from hpacells.simulate.config import SimulateConfig
from hpacells.simulate.label_model import (
    Sample,
    draw_cell_locations,
    draw_image_shares,
    draw_sample,
    mitotic_share,
)
from hpacells.simulate.layout import draw_layout
from hpacells.simulate.protein import draw_image_levels, draw_protein, unspecific_staining
from hpacells.simulate.stains import stain_cell
from hpacells.simulate.texture import FloatImage

__all__ = ["SimulatedCell", "SimulatedField", "field_id", "simulate_field"]

_FIELD_STREAM = 10  # seeds below are used by label_model
_CELL_STREAM = 11


@dataclass(frozen=True)
class SimulatedCell:
    """What is true of one cell.

    Parameters
    ----------
    cell_id
        Value in the masks.
    locations
        Class ids that were drawn into the protein stain; (18,) for none.
    share_inside
        Share of the cell's area inside the frame.
    phase
        G1, S, G2 or M.
    area_um2, nucleus_um2
        Of the visible part, in µm².
    """

    cell_id: int
    locations: tuple[int, ...]
    share_inside: float
    phase: str
    area_um2: float
    nucleus_um2: float

    @property
    def in_truth(self) -> bool:
        """Whether the cell counts: not more than half of it is outside the frame."""
        return self.share_inside >= 0.5


@dataclass(frozen=True)
class SimulatedField:
    """A field with its truth.

    Parameters
    ----------
    fov
        Pixels.
    masks
        True cells and nuclei, cut by the frame.
    cells
        One per cell id, ascending.
    sample
        What the field shares with the others of its well.
    """

    fov: FieldOfView
    masks: CellMasks
    cells: tuple[SimulatedCell, ...]
    sample: Sample

    @property
    def locations(self) -> tuple[int, ...]:
        """Class ids of the *image* label, which is the sample's."""
        return self.sample.locations


def field_id(seed: int, index: int) -> str:
    """Name a field; the seed is part of it.

    Examples
    --------
    >>> field_id(7, 12)
    'sim7_000012'
    """
    return f"sim{seed}_{index:06d}"


def simulate_field(seed: int, index: int, config: SimulateConfig) -> SimulatedField:
    """Simulate field ``index`` of the dataset ``seed``; nothing else decides its content.

    Parameters
    ----------
    seed, index
        Of the dataset and the field.
    config
        Size, scale, depth and class frequencies.

    Raises
    ------
    ConfigError
        When a setting is out of its limits.
    """
    config.check(seed=seed)
    sample = draw_sample(seed, index, config.class_frequencies)
    rng = np.random.default_rng([seed, index, _FIELD_STREAM])
    layout = draw_layout(
        find_cell_line(sample.cell_line),
        config.side_um,
        mitotic_share=mitotic_share(sample, config.class_frequencies),
        rng=rng,
    )
    anatomies = build_anatomies(
        layout,
        side_px=config.size_px,
        pixel_um=config.pixel_size_um,
        seed=(seed, index, _CELL_STREAM),
    )
    carried = _draw_locations(sample, anatomies, seed=seed, index=index)
    stains = _paint(sample, anatomies, carried, config=config, seed=(seed, index))
    picture_rng = np.random.default_rng([seed, index, _FIELD_STREAM, 2])
    pixels = take_picture(
        stains,
        draw_exposure(picture_rng, negative=sample.locations == (NEGATIVE,)),
        pixel_um=config.pixel_size_um,
        max_value=config.max_value,
        rng=picture_rng,
    )
    name = field_id(seed, index)
    fov = FieldOfView(name, pixels, config.pixel_size_um, config.max_value)
    masks, cells = _cut_masks(anatomies, carried, config)
    return SimulatedField(fov, masks, cells, sample)


def _draw_locations(
    sample: Sample, anatomies: list[CellAnatomy], *, seed: int, index: int
) -> dict[int, tuple[int, ...]]:
    """Draw what each cell carries: the image's shares first, then the cells, by number."""
    shares = draw_image_shares(sample, np.random.default_rng([seed, index, _FIELD_STREAM, 1]))
    return {
        cell.number: draw_cell_locations(
            shares,
            np.random.default_rng([seed, index, _CELL_STREAM, cell.number, 1]),
            mitotic=cell.mitotic,
        )
        for cell in anatomies
    }


def _paint(
    sample: Sample,
    anatomies: list[CellAnatomy],
    carried: dict[int, tuple[int, ...]],
    *,
    config: SimulateConfig,
    seed: tuple[int, int],
) -> FloatImage:
    """Add every cell's four stains to the field, ``(C, H, W)`` float32."""
    stains = np.zeros((len(CHANNELS), config.size_px, config.size_px), np.float32)
    rng = np.random.default_rng([*seed, _FIELD_STREAM, 3])
    levels = draw_image_levels(sample.locations, rng)
    unspecific = float(rng.uniform(0.015, 0.07))
    if sample.locations == (NEGATIVE,):
        unspecific = float(rng.uniform(0.15, 0.5))
    spread = float(rng.uniform(0.1, 0.4))
    for cell in anatomies:
        own = (*seed, _CELL_STREAM, cell.number, 2)
        cell_rng = np.random.default_rng(own)
        stained = stain_cell(cell, cell_rng)
        bright = np.exp(cell_rng.normal(0.0, 0.22, len(CHANNELS)))
        amount = float(np.exp(np.clip(cell_rng.normal(0.0, spread), -0.6, 0.5)))
        protein = amount * draw_protein(stained, carried[cell.number], levels, seed=own)
        protein = protein + unspecific_staining(stained, unspecific, cell_rng)
        for channel, image in (
            (Channel.MICROTUBULES, bright[0] * stained.microtubules),
            (Channel.PROTEIN, protein),
            (Channel.NUCLEUS, bright[2] * stained.dna),
            (Channel.ER, bright[3] * stained.er),
        ):
            _add(stains[channel.position], image, cell.box)
    return stains


def _add(
    target: FloatImage, image: npt.NDArray[np.floating], box: tuple[int, int, int, int]
) -> None:
    target_view, source_view = _overlap(box, target.shape)
    target[target_view] += image[source_view]


def _overlap(
    box: tuple[int, int, int, int], shape: tuple[int, ...]
) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
    """Give the part of the frame that a box covers, and the same part within the box."""
    r0, c0 = max(0, box[0]), max(0, box[1])
    r1, c1 = min(shape[0], box[2]), min(shape[1], box[3])
    target = (slice(r0, max(r0, r1)), slice(c0, max(c0, c1)))
    source = (
        slice(r0 - box[0], max(r0, r1) - box[0]),
        slice(c0 - box[1], max(c0, c1) - box[1]),
    )
    return target, source


def _cut_masks(
    anatomies: list[CellAnatomy],
    carried: dict[int, tuple[int, ...]],
    config: SimulateConfig,
) -> tuple[CellMasks, tuple[SimulatedCell, ...]]:
    """Cut the masks at the frame; a part that the frame separates from its cell is dropped."""
    shape = (config.size_px, config.size_px)
    cells, nuclei = np.zeros(shape, np.int32), np.zeros(shape, np.int32)
    smallest_px = 5.0 / config.pixel_size_um**2
    found: list[SimulatedCell] = []
    pixel_um2 = config.pixel_size_um**2
    for cell in anatomies:
        target, source = _overlap(cell.box, shape)
        body = largest_part(cell.body[source])
        if body.sum() < smallest_px:
            continue
        nucleus = cell.nucleus[source] & body
        number = len(found) + 1
        cells[target][body] = number
        nuclei[target][nucleus] = number
        found.append(
            SimulatedCell(
                cell_id=number,
                locations=carried[cell.number],
                share_inside=float(body.sum() / cell.body.sum()),
                phase=cell.phase,
                area_um2=float(body.sum() * pixel_um2),
                nucleus_um2=float(nucleus.sum() * pixel_um2),
            )
        )
    masks = CellMasks(cells, nuclei, "simulated", config.pixel_size_um)
    return masks, tuple(found)

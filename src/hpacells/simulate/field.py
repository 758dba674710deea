"""One simulated field: from (seed, index) to pixels, masks and what every cell carries."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from hpacells.core.channels import CHANNELS, Channel
from hpacells.core.fov import FieldOfView
from hpacells.core.locations import NEGATIVE
from hpacells.core.masks import CellMasks, largest_part
from hpacells.simulate.anatomy import CellAnatomy
from hpacells.simulate.bodies import build_anatomies
from hpacells.simulate.camera import Exposure, draw_exposure, take_picture
from hpacells.simulate.cell_lines import find_cell_line
from hpacells.simulate.config import SimulateConfig
from hpacells.simulate.contents import CellContent, draw_contents
from hpacells.simulate.debris import add_debris
from hpacells.simulate.label_model import Sample, draw_sample
from hpacells.simulate.layout import draw_layout
from hpacells.simulate.presence import mitotic_share
from hpacells.simulate.protein import (
    draw_protein,
    draw_unspecific_level,
    limit_unspecific,
    unspecific_staining,
)
from hpacells.simulate.stain_style import StainStyle, draw_stain_style
from hpacells.simulate.stains import stain_cell
from hpacells.simulate.texture import FloatImage

__all__ = [
    "SimulatedCell",
    "SimulatedField",
    "draw_field_exposure",
    "field_id",
    "simulate_field",
]

# label_model and contents have others
_FIELD_STREAM, _CELL_STREAM, _SAMPLE_STREAM, _GENE_STREAM = 10, 11, 12, 13
_GAIN_SPREAD = 0.07  # sd between the fields of a sample of the log gain of a stain
_WIDEST = 2.0  # in these sd


@dataclass(frozen=True)
class SimulatedCell:
    """What is true of one cell.

    Parameters
    ----------
    cell_id
        Value in the masks.
    content
        Locations that were drawn into the protein stain, amounts, sub-population.
    share_inside
        Share of the cell's area inside the frame.
    phase
        G1, S, G2 or M.
    area_um2, nucleus_um2
        Of the visible part, in µm².
    """

    cell_id: int
    content: CellContent
    share_inside: float
    phase: str
    area_um2: float
    nucleus_um2: float

    @property
    def locations(self) -> tuple[int, ...]:
        """Class ids; (18,) for none."""
        return self.content.locations

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
        What the field shares with the others of its well, its designed variation included.
    """

    fov: FieldOfView
    masks: CellMasks
    cells: tuple[SimulatedCell, ...]
    sample: Sample


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
        Size, scale, depth, class frequencies, cell lines, variation.

    Raises
    ------
    ConfigError
        When a setting is out of its limits.
    """
    config.check(seed=seed)
    frequencies = config.class_frequencies
    sample = draw_sample(
        seed,
        index,
        frequencies,
        cell_lines=config.cell_lines,
        variation=config.variation,
        samples=config.samples,
    )
    anatomies = build_anatomies(
        draw_layout(
            find_cell_line(sample.cell_line),
            config.side_um,
            mitotic_share=mitotic_share(sample.locations, frequencies),
            rng=np.random.default_rng([seed, index, _FIELD_STREAM]),
        ),
        side_px=config.size_px,
        pixel_um=config.pixel_size_um,
        seed=(seed, index, _CELL_STREAM),
    )
    contents = draw_contents(
        sample,
        anatomies,
        seed=seed,
        index=index,
        frequencies=frequencies,
        presence=config.presence,
    )
    masks, cells = _cut_masks(anatomies, contents, config)
    stains = _paint(sample, anatomies, contents, shape=masks.cells.shape, seed=(seed, index))
    add_debris(
        stains,
        masks.cells > 0,
        config.pixel_size_um,
        np.random.default_rng([seed, index, _FIELD_STREAM, 4]),
    )
    picture_rng = np.random.default_rng([seed, index, _FIELD_STREAM, 2])
    pixels = take_picture(
        stains,
        draw_field_exposure(sample, seed, picture_rng),
        pixel_um=config.pixel_size_um,
        max_value=config.max_value,
        rng=picture_rng,
    )
    name = field_id(seed, index)
    fov = FieldOfView(name, pixels, config.pixel_size_um, config.max_value)
    return SimulatedField(fov, masks, cells, sample)


def draw_field_exposure(sample: Sample, seed: int, rng: np.random.Generator) -> Exposure:
    """Draw a field's exposure: the sample's, with a focus and a light of its own.

    Parameters
    ----------
    sample
        Its fields share leak, noise, black level, stretch and, nearly, gains.
    seed
        Of the dataset.
    rng
        The field's own.
    """
    negative = sample.locations == (NEGATIVE,)
    own = draw_exposure(rng, negative=negative)
    shared = draw_exposure(
        np.random.default_rng([seed, sample.ordinal, _SAMPLE_STREAM]), negative=negative
    )
    return replace(
        shared,
        gain=tuple(gain * _scatter(_GAIN_SPREAD, rng) for gain in shared.gain),
        blur_um=own.blur_um,
        glow=own.glow,
        vignette=own.vignette,
    )


def _scatter(spread: float, rng: np.random.Generator) -> float:
    return float(np.exp(spread * np.clip(rng.standard_normal(), -_WIDEST, _WIDEST)))


def _paint(
    sample: Sample,
    anatomies: Sequence[CellAnatomy],
    contents: dict[int, CellContent],
    *,
    shape: tuple[int, ...],
    seed: tuple[int, int],
) -> FloatImage:
    """Add every cell's four stains to the field, ``(C, H, W)`` float32."""
    stains = np.zeros((len(CHANNELS), *shape), np.float32)
    rng = np.random.default_rng([*seed, _FIELD_STREAM, 3])
    style = draw_stain_style(np.random.default_rng([seed[0], sample.ordinal, _SAMPLE_STREAM, 1]))
    antibody = (seed[0], sample.gene_ordinal, _GENE_STREAM, 1)
    unspecific = draw_unspecific_level(sample.locations, np.random.default_rng(antibody))
    unspecific = limit_unspecific(
        unspecific * _scatter(_GAIN_SPREAD, rng),
        sample.locations,
        (content.amounts for content in contents.values()),
    )
    for cell in anatomies:
        if not cell.body[_overlap(cell.box, shape)[1]].any():
            continue  # the frame shows nothing of it
        own = (*seed, _CELL_STREAM, cell.number, 2)
        _paint_cell(stains, cell, contents[cell.number], style, (antibody, own), unspecific)
    return stains


def _paint_cell(
    stains: FloatImage,
    cell: CellAnatomy,
    content: CellContent,
    style: StainStyle,
    seeds: tuple[tuple[int, ...], tuple[int, ...]],
    unspecific: float,
) -> None:
    antibody, own = seeds
    stained = stain_cell(cell, style, np.random.default_rng(own))
    protein = draw_protein(stained, content.amounts, antibody=antibody, seed=own)
    protein += unspecific_staining(stained, unspecific, antibody=antibody, seed=own)
    target, source = _overlap(cell.box, stains.shape[1:])
    for channel, image in (
        (Channel.MICROTUBULES, stained.microtubules),
        (Channel.PROTEIN, protein),
        (Channel.NUCLEUS, stained.dna),
        (Channel.ER, stained.er),
    ):
        stains[channel.position][target] += image[source]


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
    anatomies: Sequence[CellAnatomy],
    contents: dict[int, CellContent],
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
        seen = cell.body[source]
        whole = seen.shape == cell.shape  # a cell is one part until the frame cuts it
        body = seen if whole else largest_part(seen)
        if body.sum() < smallest_px:
            continue
        nucleus = cell.nucleus[source] & body
        number = len(found) + 1
        cells[target][body] = number
        nuclei[target][nucleus] = number
        found.append(
            SimulatedCell(
                cell_id=number,
                content=contents[cell.number],
                share_inside=1.0 if whole else float(body.sum() / cell.body.sum()),
                phase=cell.phase,
                area_um2=float(body.sum() * pixel_um2),
                nucleus_um2=float(nucleus.sum() * pixel_um2),
            )
        )
    masks = CellMasks(cells, nuclei, "simulated", config.pixel_size_um)
    return masks, tuple(found)

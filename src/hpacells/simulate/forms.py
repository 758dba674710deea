"""Forms that bodies, nuclei and chromatin take: waves, corners, processes, lamellipodia, lobes.

A body is drawn from components (see ``Habit``), then its stretch and the strength of all its
components are adjusted until its axis ratio and its solidity are the wanted ones. Each line thus
keeps its measured statistics whatever its habit is.
"""

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from hpacells.simulate.outline import (
    ANGLES,
    N_ANGLES,
    Outline,
    axis_ratio_of,
    solidity_of,
    with_area,
)

__all__ = [
    "Habit",
    "draw_body_outline",
    "draw_chromatin_outline",
    "draw_nucleus_outline",
    "draw_rounded_outline",
]

_LARGEST_LOG_RADIUS = 1.1
_STRENGTHS = (0.0, 2.2)  # how far the components may be turned down or up
_Ring = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Habit:
    """How the bodies of a line differ from an oval.

    Parameters
    ----------
    corners
        Probability of a polygon hung up at a few corners, with arcs between them.
    sag
        How far the arcs between corners go inwards; below 0 they bulge (cobblestones).
    processes
        Mean number of thin processes.
    polar
        Share of the processes that leave from the two ends of the cell.
    lamella
        Probability of a broad front with a scalloped edge.
    bend
        Standard deviation of the sideways shift of a cell's ends, relative to half its length.
    """

    corners: float = 0.5
    sag: float = 0.12
    processes: float = 0.3
    polar: float = 0.5
    lamella: float = 0.1
    bend: float = 0.25


def draw_body_outline(
    area_um2: float,
    shape: tuple[float, float],
    habit: Habit,
    *,
    direction: float,
    rng: np.random.Generator,
) -> Outline:
    """Draw a cell body.

    Parameters
    ----------
    area_um2
        Area of the outline.
    shape
        Wanted axis ratio (at least 1) and wanted solidity (at most 1).
    habit
        Which components it may have.
    direction
        Angle of the long axis in radians.
    rng
        Source of the form.

    Returns
    -------
    Outline
        Of exactly that area; ratio and solidity are met as far as its components allow.
    """
    ratio, solidity = shape
    form, edge = _draw_components(habit, rng)
    bend = float(rng.normal(0.0, habit.bend)) / np.sqrt(area_um2 / np.pi * ratio)
    low, high = _STRENGTHS
    outline = Outline(np.ones(N_ANGLES))
    for _ in range(7):
        strength = 0.5 * (low + high)
        outline = with_area(
            Outline(np.exp(_limited(strength * form) + edge), ratio, strength * bend, direction),
            area_um2,
        )
        outline = _with_axis_ratio(outline, ratio)
        if solidity_of(outline) > solidity:
            low = strength
        else:
            high = strength
    return outline


def _limited(form: _Ring) -> _Ring:
    """Keep a process from eating its cell: radii stay within a factor of three of the oval's."""
    limited: _Ring = _LARGEST_LOG_RADIUS * np.tanh(form / _LARGEST_LOG_RADIUS)
    return limited


def _with_axis_ratio(outline: Outline, ratio: float) -> Outline:
    for _ in range(2):
        change = ratio / axis_ratio_of(outline)
        outline = replace(outline, stretch=float(np.clip(outline.stretch * change, 0.7, 12.0)))
    return outline


def _draw_components(habit: Habit, rng: np.random.Generator) -> tuple[_Ring, _Ring]:
    """Give the logarithm of a radius per angle: the form, whose strength is free, and its edge."""
    edge = np.zeros(N_ANGLES)
    for order in range(11, 30, 3):  # retraction fibres and ruffles
        edge += rng.normal(0.0, 0.006) * np.cos(order * ANGLES + rng.uniform(0, 2 * np.pi))
    form = np.zeros(N_ANGLES)
    for order in range(2, 6):
        height = rng.normal(0.0, 0.13 / order**0.6)
        form += height * np.cos(order * ANGLES + rng.uniform(0, 2 * np.pi))
    if rng.random() < habit.corners:
        form += _draw_polygon(habit.sag, rng)
    for _ in range(rng.poisson(habit.processes)):
        at_end = rng.random() < habit.polar
        along = rng.choice([0.0, np.pi]) + rng.normal(0, 0.25) if at_end else rng.uniform(0, 7)
        width = rng.uniform(0.06, 0.16) * (2.0 if at_end else 1.0)
        form += rng.uniform(0.35, 1.0) * np.exp(-(np.abs(_angle_from(along) / width) ** 1.4))
    if rng.random() < habit.lamella:
        front, scallops = _draw_lamella(rng)
        form, edge = form + front, edge + scallops
    return form, edge


def _draw_polygon(sag: float, rng: np.random.Generator) -> _Ring:
    """Draw three to six corners with arcs between them, the corners a little rounded."""
    count = int(rng.choice([3, 4, 5, 6], p=[0.3, 0.35, 0.22, 0.13]))
    gaps = rng.dirichlet(np.full(count, 7.0)) * 2 * np.pi
    gaps = np.minimum(gaps, 0.85 * np.pi)
    angles = rng.uniform(0, 2 * np.pi) + np.cumsum(gaps * 2 * np.pi / gaps.sum())
    radii = np.exp(rng.normal(0.0, 0.22, count))
    radius = np.ones(N_ANGLES)
    for k in range(count):
        gap = float((angles[(k + 1) % count] - angles[k]) % (2 * np.pi))
        first, second = radii[k], radii[(k + 1) % count]
        turned = (ANGLES - angles[k]) % (2 * np.pi)
        here = turned < gap
        at = turned[here]
        chord = first * second * np.sin(gap)
        chord = chord / (first * np.sin(at) + second * np.sin(gap - at))
        share = at / gap
        arc = 1.0 - rng.normal(sag, 0.07) * 4 * share * (1 - share)
        radius[here] = np.clip(chord, 0.25, 3.0) * arc
    return np.log(_rounded(radius, 0.05))


def _draw_lamella(rng: np.random.Generator) -> tuple[_Ring, _Ring]:
    """Draw a fan-shaped front with scallops between the points that hold it."""
    turned = _angle_from(rng.choice([0.0, np.pi]) + rng.normal(0, 0.5))
    front = 1.0 / (1.0 + np.exp((np.abs(turned) - rng.uniform(0.5, 0.9)) / 0.09))
    scallops = np.abs(np.sin(turned * rng.uniform(3, 6) + rng.uniform(0, np.pi)))
    return front * rng.uniform(0.15, 0.3), front * 0.06 * scallops


def _angle_from(along: float) -> _Ring:
    turned: _Ring = np.angle(np.exp(1j * (ANGLES - along)))
    return turned


def _rounded(radius: _Ring, width: float) -> _Ring:
    """Smooth around the circle; ``width`` is a standard deviation in radians."""
    orders = np.fft.rfftfreq(N_ANGLES, 1.0 / N_ANGLES)
    return np.fft.irfft(np.fft.rfft(radius) * np.exp(-0.5 * (orders * width) ** 2), N_ANGLES)


def draw_nucleus_outline(
    area_um2: float, axis_ratio: float, *, direction: float, rng: np.random.Generator
) -> Outline:
    """Draw a nucleus: a smooth oval, now and then dented, kidney-shaped or lobed."""
    form = np.zeros(N_ANGLES)
    for order in range(2, 5):
        height = rng.normal(0.0, 0.04 / (order - 1))
        form += height * np.cos(order * ANGLES + rng.uniform(0, 2 * np.pi))
    kind = rng.random()
    bend = float(rng.normal(0.0, 0.03))
    if kind < 0.10:  # a dent
        turned = _angle_from(rng.uniform(-np.pi, np.pi))
        form -= rng.uniform(0.2, 0.6) * np.exp(-0.5 * (turned / 0.3) ** 2)
    elif kind < 0.16:  # a kidney
        axis_ratio = max(axis_ratio, rng.uniform(1.5, 1.9))
        bend = float(rng.choice([-1.0, 1.0]) * rng.uniform(0.4, 0.75))
    elif kind < 0.19:  # two or three lobes
        order = int(rng.integers(2, 4))
        form += rng.uniform(0.15, 0.3) * np.cos(order * (ANGLES - rng.uniform(0, np.pi)))
    bend_per_um = bend / np.sqrt(area_um2 / np.pi)
    return with_area(Outline(np.exp(form), axis_ratio, bend_per_um, direction), area_um2)


def draw_chromatin_outline(
    area_um2: float,
    axis_ratio: float,
    *,
    direction: float,
    bow: float,
    rng: np.random.Generator,
) -> Outline:
    """Draw condensed chromatin with arms that stick out of it.

    Parameters
    ----------
    area_um2, axis_ratio
        Of the plate, ring or lump seen from the side.
    direction
        Angle of its long axis in radians.
    bow
        How far its two ends bend to one side, relative to its size.
    rng
        Source of the arms.
    """
    form = np.zeros(N_ANGLES)
    for order in range(3, 14):
        form += rng.normal(0.0, 0.038) * np.cos(order * ANGLES + rng.uniform(0, 2 * np.pi))
    length = np.sqrt(area_um2 / np.pi * axis_ratio)
    return with_area(Outline(np.exp(form), axis_ratio, bow / length, direction), area_um2)


def draw_rounded_outline(
    area_um2: float,
    axis_ratio: float,
    *,
    direction: float,
    furrow: float,
    rng: np.random.Generator,
) -> Outline:
    """Draw a rounded cell in mitosis.

    Parameters
    ----------
    area_um2, axis_ratio
        Of the cell.
    direction
        Angle of the spindle in radians; the cell is long along it.
    furrow
        Depth of the cleavage furrow as a share of the half-width, 0 for none.
    rng
        Source of its slight waves.
    """
    form = np.zeros(N_ANGLES)
    for order in range(2, 6):
        form += rng.normal(0.0, 0.012) * np.cos(order * ANGLES + rng.uniform(0, 2 * np.pi))
    waist = np.exp(-0.5 * (np.cos(ANGLES) / 0.22) ** 2)
    radius = np.exp(form) * (1.0 - furrow * waist)
    return with_area(Outline(radius, axis_ratio, 0.0, direction), area_um2)

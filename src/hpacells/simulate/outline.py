"""Closed outlines of cells and nuclei as a radius per angle, in µm.

An outline is star-shaped around its own centre. It does not know neighbours: where bodies meet,
``layout`` decides.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

__all__ = ["N_ANGLES", "Outline", "draw_body_outline", "draw_nucleus_outline", "outline_points"]

N_ANGLES = 180
_ANGLES = np.linspace(-np.pi, np.pi, N_ANGLES, endpoint=False)


@dataclass(frozen=True)
class Outline:
    """Radius in µm at ``N_ANGLES`` angles from -π, counter to the row axis; ``(N_ANGLES,)``."""

    radius_um: npt.NDArray[np.float64]

    @property
    def reach_um(self) -> float:
        """Largest radius."""
        return float(self.radius_um.max())

    def at(self, angle: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Interpolate the radius at angles in radians, any shape."""
        place = (angle + np.pi) * (N_ANGLES / (2 * np.pi))
        low = place.astype(np.int32)
        part = place - low
        ring = np.append(self.radius_um, self.radius_um[:2]).astype(np.float32)
        low = np.clip(low, 0, N_ANGLES)
        result: npt.NDArray[np.float32] = ring[low] * (1 - part) + ring[low + 1] * part
        return result


def outline_points(
    outline: Outline, centre_um: tuple[float, float], *, scale: float = 1.0
) -> npt.NDArray[np.float64]:
    """Give the outline's corners ``(N_ANGLES, 2)``, row and column in µm."""
    rows = centre_um[0] + scale * outline.radius_um * np.sin(_ANGLES)
    columns = centre_um[1] + scale * outline.radius_um * np.cos(_ANGLES)
    return np.stack([rows, columns], axis=1)


def _scaled(radius: npt.NDArray[np.float64], area_um2: float) -> Outline:
    area = 0.5 * float((radius**2).sum()) * (2 * np.pi / N_ANGLES)
    return Outline(radius * np.sqrt(area_um2 / area))


def _ellipse(axis_ratio: float, direction: float) -> npt.NDArray[np.float64]:
    turned = _ANGLES - direction
    radius: npt.NDArray[np.float64] = 1.0 / np.sqrt(
        np.cos(turned) ** 2 / axis_ratio + np.sin(turned) ** 2 * axis_ratio
    )
    return radius


def draw_body_outline(
    area_um2: float,
    axis_ratio: float,
    raggedness: float,
    *,
    direction: float,
    rng: np.random.Generator,
) -> Outline:
    """Draw a cell body: an ellipse with waves and a few protrusions.

    Parameters
    ----------
    area_um2
        Area of the outline.
    axis_ratio
        Long over short axis, at least 1.
    raggedness
        Wanted 1 - solidity; 0 is an ellipse.
    direction
        Angle of the long axis in radians.
    rng
        Source of the shape.
    """
    log_radius = np.zeros(N_ANGLES)
    for order in range(2, 8):
        height = rng.normal(0.0, 1.1 * raggedness / order**0.5)
        log_radius += height * np.cos(order * _ANGLES + rng.uniform(0, 2 * np.pi))
    for _ in range(rng.poisson(max(0.0, 9.0 * raggedness - 0.2))):
        along = direction + rng.choice([0.0, np.pi]) + rng.normal(0.0, 0.9)
        width = rng.uniform(0.10, 0.28)
        bend = np.angle(np.exp(1j * (_ANGLES - along)))
        log_radius += rng.uniform(0.25, 0.75) * np.exp(-0.5 * (bend / width) ** 2)
    return _scaled(_ellipse(axis_ratio, direction) * np.exp(log_radius), area_um2)


def draw_nucleus_outline(
    area_um2: float, axis_ratio: float, *, direction: float, rng: np.random.Generator
) -> Outline:
    """Draw a nucleus: a smooth oval, now and then with a dent."""
    log_radius = np.zeros(N_ANGLES)
    for order in range(2, 5):
        height = rng.normal(0.0, 0.045 / (order - 1))
        log_radius += height * np.cos(order * _ANGLES + rng.uniform(0, 2 * np.pi))
    if rng.random() < 0.15:
        bend = np.angle(np.exp(1j * (_ANGLES - rng.uniform(-np.pi, np.pi))))
        log_radius -= rng.uniform(0.1, 0.35) * np.exp(-0.5 * (bend / 0.3) ** 2)
    return _scaled(_ellipse(axis_ratio, direction) * np.exp(log_radius), area_um2)

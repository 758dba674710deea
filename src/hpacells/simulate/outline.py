"""Closed outlines of cells, nuclei and chromatin in µm: how they are stored, and how solid.

An outline is a radius per angle (star-shaped), then stretched along its own axis, bent, and turned.
Stretching and bending keep areas, so crescents, spindles and commas are as easy as ovals. An
outline does not know its neighbours: where bodies meet, ``layout`` decides.
"""

from dataclasses import dataclass, replace

import cv2
import numpy as np
import numpy.typing as npt

from hpacells.simulate.texture import FloatImage

__all__ = ["ANGLES", "N_ANGLES", "Outline", "axis_ratio_of", "solidity_of", "with_area"]

N_ANGLES = 240
ANGLES = np.linspace(-np.pi, np.pi, N_ANGLES, endpoint=False)

Points = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Outline:
    """A closed line around the origin.

    Parameters
    ----------
    radius_um
        ``(N_ANGLES,)`` radius at ``ANGLES`` before stretching and bending.
    stretch
        Length along the axis is multiplied, width divided by its square root.
    bend_per_um
        Sideways shift is this times the squared place along the axis, in 1/µm.
    direction
        Angle of the axis in radians; rows grow with its sine.
    """

    radius_um: npt.NDArray[np.float64]
    stretch: float = 1.0
    bend_per_um: float = 0.0
    direction: float = 0.0

    def points(
        self, centre_um: tuple[float, float] = (0.0, 0.0), *, grow_um: float = 0.0
    ) -> Points:
        """Give the corners ``(N_ANGLES, 2)``, row and column in µm.

        Parameters
        ----------
        centre_um
            Where the outline's origin is.
        grow_um
            Added to the radius.
        """
        radius = self.radius_um + grow_um
        root = np.sqrt(self.stretch)
        along = radius * np.cos(ANGLES) * root
        side = radius * np.sin(ANGLES) / root + self.bend_per_um * along**2
        sine, cosine = np.sin(self.direction), np.cos(self.direction)
        rows = centre_um[0] + along * sine + side * cosine
        columns = centre_um[1] + along * cosine - side * sine
        return np.stack([rows, columns], axis=1)

    def depth(self, down_um: FloatImage, right_um: FloatImage) -> tuple[FloatImage, FloatImage]:
        """Say how deep places lie, relative to the outline.

        Parameters
        ----------
        down_um, right_um
            Places relative to the outline's origin, the same shape.

        Returns
        -------
        ratio, radius_um
            Distance from the origin over the radius there (0 at the origin, 1 on the line), and
            that radius.
        """
        sine, cosine = np.float32(np.sin(self.direction)), np.float32(np.cos(self.direction))
        along = right_um * cosine + down_um * sine
        side = down_um * cosine - right_um * sine - np.float32(self.bend_per_um) * along * along
        root = np.float32(np.sqrt(self.stretch))
        distance, angle = cv2.cartToPolar(along / root, side * root)
        place = (angle + np.float32(np.pi)) * np.float32(N_ANGLES / (2 * np.pi))
        low = place.astype(np.int32)  # up to one and a half rounds
        place -= low
        ring = np.resize(self.radius_um, 2 * N_ANGLES + 1).astype(np.float32)
        radius: FloatImage = np.diff(ring)[low]
        radius *= place
        radius += ring[low]
        return distance / radius, radius

    def radius_toward(self, turn: float) -> float:
        """Give the radius in µm in a direction in radians, the bend left out."""
        root = np.sqrt(self.stretch)
        along = np.cos(turn - self.direction) / root
        side = np.sin(turn - self.direction) * root
        place = (np.arctan2(side, along) + np.pi) * N_ANGLES / (2 * np.pi)
        return float(self.radius_um[int(place) % N_ANGLES] / np.hypot(along, side))

    @property
    def reach_um(self) -> float:
        """Largest distance from the origin."""
        return float(np.hypot(*self.points().T).max())

    @property
    def area_um2(self) -> float:
        """Area enclosed."""
        return 0.5 * float((self.radius_um**2).sum()) * (2 * np.pi / N_ANGLES)


def with_area(outline: Outline, area_um2: float) -> Outline:
    """Scale an outline to an area in µm², keeping its form."""
    factor = float(np.sqrt(area_um2 / outline.area_um2))
    return replace(
        outline,
        radius_um=outline.radius_um * factor,
        bend_per_um=outline.bend_per_um / factor,
    )


def solidity_of(outline: Outline) -> float:
    """Area over the area of the convex hull."""
    hull = cv2.convexHull(outline.points().astype(np.float32))
    return outline.area_um2 / float(cv2.contourArea(hull))


def axis_ratio_of(outline: Outline) -> float:
    """Long over short axis of the ellipse with the same second moments."""
    moments = cv2.moments(outline.points().astype(np.float32)[:, None])
    rows, columns, mixed = moments["mu20"], moments["mu02"], moments["mu11"]
    half, root = (rows + columns) / 2, np.hypot((rows - columns) / 2, mixed)
    return float(np.sqrt(max(half + root, 1e-9) / max(half - root, 1e-9)))

"""One cell at the pixel size of its field: where its own structures are.

Everything that a stain or a protein pattern may refer to is decided here, once per cell: body,
nucleus, nucleoli, centrosome, long axis, contacts. Patterns only read it, so a protein in the
nucleoli lies where the nucleus stain is dark.
"""

from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np
import numpy.typing as npt

from hpacells.simulate.marks import pick_places
from hpacells.simulate.texture import FloatImage, place_bound_noise, smoothstep

__all__ = ["BoolImage", "CellAnatomy", "distance_um"]

_COARSE_UM = 0.6
_TOUCHING = 0.5  # contact from which an edge is not free
_DIP = np.float32(0.25)  # how much thinner a cell is where it touches another
_LUMPS, _LUMP_UM = np.float32(0.22), 5.0  # sd of the log thickness and width of its lumps
_LUMP_STEP_UM = 0.4
_LUMP_STREAM = 5  # below the cell's seed; bodies and field have others
_PLACE_STEP_UM = 0.16  # places are drawn on a grid this coarse
BoolImage = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class CellAnatomy:
    """One cell in its own box; places are (row, column) in pixels of the box.

    Parameters
    ----------
    number
        Value of the cell in the layout.
    box
        Rows and columns of the box in the field, (r0, c0, r1, c1); may reach outside the frame.
    pixel_um
        µm per pixel.
    body, nucleus
        ``(h, w)`` bool. In mitosis the "nucleus" is the condensed chromatin.
    contact
        ``(h, w)`` float32, 1 beside another cell, 0 from 1 µm on.
    direction
        Angle of the long axis in radians; of the spindle in mitosis.
    phase
        G1, S, G2 or M.
    dna_content
        Amount of DNA of all nuclei together: for one nucleus 1 in G1, 1-2 in S, 2 in G2 and M.
    centrosome
        Place of the microtubule organising centre.
    poles
        The two ends of the spindle in mitosis, else empty.
    nucleoli
        ``(h, w)`` float32, 1 inside a nucleolus, 0 outside, soft in between.
    nucleolus_centres, nucleolus_radii_um
        ``(n, 2)`` and ``(n,)``.
    seed
        Of this cell in its field, for what is drawn on demand (the lumps of its height).
    """

    number: int
    box: tuple[int, int, int, int]
    pixel_um: float
    body: BoolImage
    nucleus: BoolImage
    contact: FloatImage
    direction: float
    phase: str
    dna_content: float
    centrosome: npt.NDArray[np.float64]
    poles: npt.NDArray[np.float64]
    nucleoli: FloatImage
    nucleolus_centres: npt.NDArray[np.float64]
    nucleolus_radii_um: npt.NDArray[np.float64]
    seed: tuple[int, ...]

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of the box."""
        return (self.body.shape[0], self.body.shape[1])

    @property
    def mitotic(self) -> bool:
        """Whether the cell divides."""
        return self.phase == "M"

    @cached_property
    def edge_um(self) -> FloatImage:
        """Distance to the cell's edge in µm, 0 outside."""
        return distance_um(self.body, self.pixel_um)

    @cached_property
    def free_edge_um(self) -> FloatImage:
        """Distance to the cell's free edge in µm: where it touches another cell it stays thick."""
        if self.contact.max(initial=0.0) < _TOUCHING:
            return self.edge_um
        bare = ~self.body & (self.contact < _TOUCHING)
        return distance_um(~bare, self.pixel_um) * self.body

    @cached_property
    def nucleus_depth_um(self) -> FloatImage:
        """Distance to the nucleus' rim in µm, positive inside, negative outside."""
        outside = distance_um(~self.nucleus, self.pixel_um)
        return distance_um(self.nucleus, self.pixel_um) - outside

    @cached_property
    def in_nucleus(self) -> FloatImage:
        """Nucleus with a soft edge, 0-1."""
        return smoothstep(self.nucleus_depth_um, -0.15, 0.25)

    @cached_property
    def in_cytoplasm(self) -> FloatImage:
        """Body without nucleus, both with soft edges, 0-1."""
        room = smoothstep(self.free_edge_um, 0.0, 0.5)
        room *= 1 - self.in_nucleus
        return room

    @cached_property
    def height(self) -> FloatImage:
        """How thick the cell is, 0 at the thin free edge to about 1 near the nucleus; lumpy."""
        near = self.fall_from_nucleus(self._fall_um)
        rise = smoothstep(self.free_edge_um, -0.6, 3.2)
        if self.contact.any():
            rise *= 1 - _DIP * self.contact * (1 - smoothstep(self.edge_um, 0.0, 1.2))
        near *= np.float32(0.7)
        near += np.float32(0.3)
        rise *= near
        rise *= self._lumps
        return np.minimum(rise, np.float32(1.2), out=rise)

    @property
    def _lumps(self) -> FloatImage:
        """Factor of the thickness, about 1; drawn on a coarse grid, straight in between."""
        step = max(1, int(_LUMP_STEP_UM / self.pixel_um))
        rows, columns = (-(-side // step) for side in self.shape)
        lumps = place_bound_noise(
            (rows, columns),
            self.pixel_um * step,
            _LUMP_UM,
            corner_px=(self.box[0] / step, self.box[1] / step),
            rng=np.random.default_rng([*self.seed, _LUMP_STREAM]),
        )
        size = (columns * step, rows * step)
        wide = cv2.resize(np.exp(_LUMPS * lumps), size, interpolation=cv2.INTER_LINEAR)
        return wide[: self.shape[0], : self.shape[1]].astype(np.float32, copy=False)

    def fall_from_nucleus(self, length_um: float) -> FloatImage:
        """Give 1 in the nucleus, falling outside it by a factor of e per length in µm."""
        level = np.minimum(self.nucleus_depth_um, 0)
        level *= np.float32(1 / length_um)
        return cv2.exp(level, dst=level).astype(np.float32, copy=False)

    @cached_property
    def _fall_um(self) -> float:
        return 0.45 * float(np.sqrt(self.body.sum()) * self.pixel_um)

    @cached_property
    def centre(self) -> npt.NDArray[np.float64]:
        """Centre of the nucleus, or of the chromatin."""
        rows, columns = np.nonzero(self.nucleus if self.nucleus.any() else self.body)
        return np.array([rows.mean(), columns.mean()])

    @cached_property
    def cytoplasm_um2(self) -> float:
        """Area of the body without the nucleus in µm²."""
        return float((self.body & ~self.nucleus).sum()) * self.pixel_um**2

    @cached_property
    def nucleus_um2(self) -> float:
        """Area of the nucleus in µm²."""
        return float(self.nucleus.sum()) * self.pixel_um**2

    @cached_property
    def steering(self) -> tuple[float, npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        """Coarse maps for filaments: shrink factor, edge distance and nucleus depth with slopes.

        The maps are ``(3, h', w')`` each: value in µm, slope along rows, slope along columns.
        """
        factor = max(1.0, _COARSE_UM / self.pixel_um)
        size = tuple(max(2, round(n / factor)) for n in self.shape[::-1])
        maps = []
        for distance in (self.edge_um, self.nucleus_depth_um):
            coarse = cv2.resize(distance, size, interpolation=cv2.INTER_LINEAR)
            coarse = cv2.GaussianBlur(coarse, (0, 0), 1.0)
            slopes = np.gradient(coarse)
            maps.append(np.stack([coarse, *slopes]).astype(np.float32))
        return factor, maps[0], maps[1]

    def random_places(
        self, weights: FloatImage, count: int, rng: np.random.Generator
    ) -> npt.NDArray[np.float64]:
        """Draw places ``(count, 2)`` in proportion to a map; none where the map is empty."""
        if count == 0:
            return np.zeros((0, 2))
        step = max(1, int(_PLACE_STEP_UM / self.pixel_um + 1e-6))
        found = pick_places(weights, count, rng, step=step)
        if step > 1 and len(found) == 0:  # too small a map for the coarse grid
            found = pick_places(weights, count, rng)
        return found


def distance_um(mask: BoolImage, pixel_um: float) -> FloatImage:
    """Give each pixel of a mask its distance in µm to the nearest one outside."""
    if mask.all():
        return np.full(mask.shape, 50.0, np.float32)
    return cv2.distanceTransform(mask.astype(np.uint8), cv2.DIST_L2, 3) * np.float32(pixel_um)

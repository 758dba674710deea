"""What the reference stains of one field have in common: the look of its preparation."""

from dataclasses import dataclass

import numpy as np

__all__ = ["StainStyle", "draw_stain_style"]


@dataclass(frozen=True)
class StainStyle:
    """Look of one field's reference stains; every cell scatters about it.

    Parameters
    ----------
    scatter
        Standard deviation between cells of the log brightness: microtubules, nucleus, ER.
    tubule_density
        µm of filament per µm² of cytoplasm.
    tubule_haze
        Light of filaments above and below the plane, which follows the cell's thickness, as a share
        of the filaments' mean brightness.
    tubule_beading
        Standard deviation of the log brightness along a filament, whose label is in dots.
    tubules_over_nucleus
        How much of the microtubules above and below the nucleus is seen, 0-1.
    er_mesh_um
        Width of the meshes of the ER's network.
    er_network
        How far the network reaches inwards: 0 granular everywhere, 1 meshes everywhere.
    er_contrast
        Standard deviation of the logarithm of the ER's graininess.
    er_fall
        Length over which the ER thins out, in units of the cell's width.
    er_nuclear
        Signal of the ER stain inside the nucleus, relative to the ER beside it.
    er_dots
        Dots per µm² of a stain that has fallen into dots, mostly 0.
    chromatin_contrast
        Strength of the nucleus stain's texture, about 1.
    dna_haze
        Nucleus stain of the cytoplasm beside the nucleus; an even nucleus has 0.75.
    nucleolus_depth
        How dark nucleoli are in the nucleus stain, 0-1.
    """

    scatter: tuple[float, float, float]
    tubule_density: float
    tubule_haze: float
    tubule_beading: float
    tubules_over_nucleus: float
    er_mesh_um: float
    er_network: float
    er_contrast: float
    er_fall: float
    er_nuclear: float
    er_dots: float
    chromatin_contrast: float
    dna_haze: float
    nucleolus_depth: float


def draw_stain_style(rng: np.random.Generator) -> StainStyle:
    """Draw the look of a field's reference stains."""

    def around(middle: float, spread: float) -> float:
        return float(middle * np.exp(np.clip(rng.normal(0.0, spread), -2 * spread, 2 * spread)))

    return StainStyle(
        scatter=(around(0.22, 0.3), around(0.10, 0.3), around(0.25, 0.3)),
        tubule_density=around(5.2, 0.35),
        tubule_haze=around(0.2, 0.45),
        tubules_over_nucleus=min(1.0, around(0.6, 0.45)),
        er_mesh_um=around(1.0, 0.25),
        er_network=0.3 + 0.7 * float(rng.beta(2.0, 1.6)),
        er_contrast=around(0.66, 0.24),
        er_fall=around(0.26, 0.45),
        er_nuclear=min(0.7, around(0.32, 0.34)),
        er_dots=around(0.5, 0.5) if rng.random() < 0.03 else 0.0,
        chromatin_contrast=around(0.97, 0.22),
        dna_haze=around(0.008, 0.6),
        nucleolus_depth=float(rng.uniform(0.15, 0.55)),
        tubule_beading=around(0.12, 0.35),
    )

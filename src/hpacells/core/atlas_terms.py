"""How the atlas's terms for places in a cell merge into the project's locations.

The atlas names more places than the 19 locations; some of its terms share one, others have none.
"""

from collections.abc import Mapping
from types import MappingProxyType

from hpacells.core.locations import LOCATIONS

__all__ = ["LOCATION_OF_TERM", "TERMS_WITHOUT_LOCATION"]

_MERGED = {
    "Focal adhesion sites": "Actin filaments",
    "Centriolar satellite": "Centrosome",
    "Cell Junctions": "Plasma membrane",
    "Peroxisomes": "Vesicles",
    "Endosomes": "Vesicles",
    "Lysosomes": "Vesicles",
    "Lipid droplets": "Vesicles",
    "Cytoplasmic bodies": "Vesicles",
    "No staining": "Negative",
}

_CLASS_OF_TITLE = {location.title: location.class_id for location in LOCATIONS}

LOCATION_OF_TERM: Mapping[str, int] = MappingProxyType(
    {**_CLASS_OF_TITLE, **{term: _CLASS_OF_TITLE[title] for term, title in _MERGED.items()}}
)
"""Atlas term → class id."""

TERMS_WITHOUT_LOCATION = frozenset(
    {
        "Cleavage furrow",
        "Cytokinetic bridge",
        "Kinetochore",
        "Microtubule ends",
        "Midbody",
        "Midbody ring",
        "Mitotic chromosome",
        "Nucleoli rim",
        "Rods & Rings",
    }
)
"""Atlas terms that are known and dropped; any other term is unknown."""

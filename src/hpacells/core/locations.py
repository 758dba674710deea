"""The vocabulary of protein locations: ids, column names, display names.

The order is the competition's (class 0 … 18). Every table, model and file takes its order and
its length from here.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hpacells.core.errors import TableError

__all__ = [
    "LOCATIONS",
    "LOCATION_KEYS",
    "NEGATIVE",
    "N_LOCATIONS",
    "Location",
    "format_class_ids",
    "parse_class_ids",
    "target_vector",
]


@dataclass(frozen=True)
class Location:
    """One place a protein can be."""

    class_id: int
    key: str
    title: str


_TITLES = (
    "Nucleoplasm",
    "Nuclear membrane",
    "Nucleoli",
    "Nucleoli fibrillar center",
    "Nuclear speckles",
    "Nuclear bodies",
    "Endoplasmic reticulum",
    "Golgi apparatus",
    "Intermediate filaments",
    "Actin filaments",
    "Microtubules",
    "Mitotic spindle",
    "Centrosome",
    "Plasma membrane",
    "Mitochondria",
    "Aggresome",
    "Cytosol",
    "Vesicles",
    "Negative",
)

LOCATIONS: tuple[Location, ...] = tuple(
    Location(i, title.lower().replace(" ", "_"), title) for i, title in enumerate(_TITLES)
)
LOCATION_KEYS: tuple[str, ...] = tuple(location.key for location in LOCATIONS)
N_LOCATIONS = len(LOCATIONS)
NEGATIVE = LOCATION_KEYS.index("negative")


def parse_class_ids(text: str, *, where: str = "label") -> tuple[int, ...]:
    """Read class ids joined with ``|``.

    Parameters
    ----------
    text
        For example ``"7|1|2"``. Empty text is an empty tuple.
    where
        Named in the error: file and row.

    Returns
    -------
    tuple of int
        Sorted, without repeats.

    Raises
    ------
    TableError
        On anything that is not a class id.

    Examples
    --------
    >>> parse_class_ids("7|1|2|1")
    (1, 2, 7)
    """
    ids = set()
    for part in text.strip().split("|") if text.strip() else []:
        word = part.strip()
        is_number = word.isascii() and word.isdigit() and len(word) < 9
        if not is_number or int(word) >= N_LOCATIONS:
            raise TableError(
                f"{where}: expected class ids 0-{N_LOCATIONS - 1} joined with '|', "
                f"got {text!r}. Correct that row."
            )
        ids.add(int(word))
    return tuple(sorted(ids))


def format_class_ids(class_ids: Iterable[int]) -> str:
    """Write class ids the way ``parse_class_ids`` reads them.

    Examples
    --------
    >>> format_class_ids([7, 1])
    '1|7'
    """
    return "|".join(str(i) for i in sorted(set(class_ids)))


def target_vector(class_ids: Sequence[int]) -> npt.NDArray[np.float32]:
    """Turn class ids into a 0/1 training vector ``(K,)`` float32."""
    vector = np.zeros(N_LOCATIONS, np.float32)
    vector[list(class_ids)] = 1.0
    return vector

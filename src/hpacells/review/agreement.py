"""How far two experts agree beyond chance: Cohen's kappa, per location and on rejecting cells.

Each pair of people is compared on the cells that both judged, by their standing words. Comments
are no judgements. Where both say the same of every cell a kappa is not defined and is None.
"""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import numpy.typing as npt

from hpacells.core.corrections import Action
from hpacells.core.errors import MissingExtraError
from hpacells.core.locations import LOCATION_KEYS, target_vector
from hpacells.review.words import Word

__all__ = ["PairAgreement", "measure_agreement"]


@dataclass(frozen=True)
class PairAgreement:
    """How two people agree.

    Parameters
    ----------
    who
        The two, by name.
    n_cells
        Cells that both judged.
    n_same
        Those with the same word of both: rejected, or the same locations.
    reject_kappa
        On whether a cell is to be rejected.
    n_located
        Cells that neither rejected: what the kappas of locations rest on.
    kappas, n_named
        Location key → kappa, and the number of cells for which either named it.
    """

    who: tuple[str, str]
    n_cells: int
    n_same: int
    reject_kappa: float | None
    n_located: int
    kappas: dict[str, float | None]
    n_named: dict[str, int]

    @property
    def mean_kappa(self) -> float | None:
        """Mean over the locations where it is defined."""
        defined = [kappa for kappa in self.kappas.values() if kappa is not None]
        return sum(defined) / len(defined) if defined else None


def measure_agreement(words: Iterable[Word]) -> list[PairAgreement]:
    """Compare every two people who judged a cell both.

    Parameters
    ----------
    words
        The standing ones, each person's on each cell at most once.

    Returns
    -------
    list of PairAgreement
        Sorted by names.

    Raises
    ------
    MissingExtraError
        When two people can be compared and scikit-learn is not installed.
    """
    by_person: dict[str, dict[tuple[str, int], Word]] = defaultdict(dict)
    for word in words:
        if word.action is not Action.COMMENT:
            by_person[word.who][word.cell] = word
    pairs = []
    for one, other in combinations(sorted(by_person), 2):
        shared = sorted(by_person[one].keys() & by_person[other].keys())
        if shared:
            judged = [[by_person[who][cell] for cell in shared] for who in (one, other)]
            pairs.append(_compare((one, other), judged))
    return pairs


def _compare(who: tuple[str, str], judged: list[list[Word]]) -> PairAgreement:
    rejected = [np.array([w.action is Action.REJECT for w in words]) for words in judged]
    named = [
        np.stack([target_vector(w.locations or ()) for w in words]).astype(bool) for words in judged
    ]
    located = ~rejected[0] & ~rejected[1]
    same = (rejected[0] & rejected[1]) | (located & (named[0] == named[1]).all(axis=1))
    columns = [plane[located].T for plane in named]
    return PairAgreement(
        who,
        n_cells=len(same),
        n_same=int(same.sum()),
        reject_kappa=_kappa(*rejected),
        n_located=int(located.sum()),
        kappas={key: _kappa(a, b) for key, a, b in zip(LOCATION_KEYS, *columns, strict=True)},
        n_named={
            key: int((a | b).sum()) for key, a, b in zip(LOCATION_KEYS, *columns, strict=True)
        },
    )


def _kappa(one: npt.NDArray[np.bool_], other: npt.NDArray[np.bool_]) -> float | None:
    if len(np.unique([one, other])) < 2:
        return None
    try:
        from sklearn.metrics import cohen_kappa_score  # noqa: PLC0415  an extra, slow to import
    except ImportError as error:
        raise MissingExtraError(
            "agreement is measured by scikit-learn, which is not installed. "
            "Install it with: pip install 'hpacells[review]'"
        ) from error
    return float(cohen_kappa_score(one, other))

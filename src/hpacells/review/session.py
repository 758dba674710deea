"""One review while its server runs: which cell comes next for whom, what stands, what is undone.

What is in memory is read from the database at the start and changed with every word that is saved,
so the database alone is enough to go on after a crash.
"""

import threading
from collections import defaultdict
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
import numpy.typing as npt

from hpacells.core.corrections import Action
from hpacells.review.cells import ReviewCells
from hpacells.review.words import Word, WordStore

__all__ = ["Order", "Page", "ReviewSession", "differ"]

_Rows = npt.NDArray[np.int64]


class Order(StrEnum):
    """In which order cells come."""

    DOUBT = "doubt"
    """Least certain first; with a location, those whose highest score it is."""
    LOCATION = "location"
    """By falling score of a location."""
    DISAGREEMENT = "disagreement"
    """Cells of which two people's words differ, least certain first."""


@dataclass(frozen=True)
class Page:
    """Some cells of an order.

    Parameters
    ----------
    total
        Cells in the order.
    left
        Those of them that still come.
    rows
        In ``ReviewCells``, of those on the page.
    """

    total: int
    left: int
    rows: list[int]


def differ(words: list[Word]) -> bool:
    """Say whether people's words on a cell differ; comments alone are no words on it."""
    said = {
        (w.action is Action.REJECT, w.locations) for w in words if w.action is not Action.COMMENT
    }
    return len(said) > 1


class ReviewSession:
    """The cells, the words on them, and the orders; used by all threads of the server at once."""

    def __init__(self, cells: ReviewCells, store: WordStore) -> None:
        self.cells = cells
        self.review_id = store.review_id
        self._store = store
        self._lock = threading.RLock()
        self._orders: dict[tuple[Order, int | None], _Rows] = {}
        self._load()

    def _load(self) -> None:
        with self._lock:
            self._standing: dict[str, Word] = {w.key: w for w in self._store.standing()}
            self._words: dict[tuple[str, int], dict[str, Word]] = defaultdict(dict)
            self._done: dict[str, npt.NDArray[np.bool_]] = {}
            for word in self._standing.values():
                self._place(word)

    def _place(self, word: Word) -> None:
        self._words[word.cell][word.who] = word
        done = self._done.setdefault(word.who, np.zeros(len(self.cells), np.bool_))
        row = self.cells.row_of.get(word.cell)
        if row is not None:
            done[row] = word.action is not Action.COMMENT

    def save(self, word: Word) -> bool:
        """Save a word; False when it was saved before.

        Raises
        ------
        OutputError
            When it cannot be saved; then nothing has changed.
        """
        with self._lock:
            is_new = self._store.save(word)
            if is_new:
                self._standing[word.key] = word
                self._place(word)
            return is_new

    def undo(self, key: str, who: str) -> bool:
        """Undo a person's word: what they said of the cell before stands again.

        Raises
        ------
        OutputError
            As ``save``.
        """
        with self._lock:
            if not self._store.undo(key, who):
                return False
            gone = self._standing.pop(key)
            self._words[gone.cell].pop(who, None)
            row = self.cells.row_of.get(gone.cell)
            if row is not None:
                self._done[who][row] = False
            before = [w for w in self._standing.values() if w.cell == gone.cell and w.who == who]
            if before:
                self._place(before[-1])
            return True

    def words_on(self, row: int) -> dict[str, Word]:
        """Give each person's standing word on a cell."""
        cell = (self.cells.fov_ids[row], int(self.cells.cell_ids[row]))
        with self._lock:
            return dict(self._words.get(cell, {}))

    def words(self) -> list[Word]:
        """Give each person's standing word on each cell of the run."""
        with self._lock:
            return [
                word
                for cell, words in self._words.items()
                if cell in self.cells.row_of
                for word in words.values()
            ]

    def recent(self, who: str, n: int) -> list[Word]:
        """Give a person's last standing words on cells of the run, the last first."""
        with self._lock:
            mine = [
                w for w in self._standing.values() if w.who == who and w.cell in self.cells.row_of
            ]
        return mine[: -n - 1 : -1]

    def people(self) -> dict[str, int]:
        """Give everybody who said anything, with the number of cells that they judged."""
        with self._lock:
            return {who: int(self._done[who].sum()) for who in sorted(self._done)}

    def page(
        self,
        order: Order,
        location: int | None,
        *,
        skip: str | None,
        after: int | None,
        n: int,
    ) -> Page:
        """Choose the next cells.

        Parameters
        ----------
        order, location
            Which cells, in which order.
        skip
            Whose judged cells are left out; "" for everybody's, None for nobody's. Disagreements
            are left out for nobody.
        after
            Row of the cell behind which they come; None: from the start.
        n
            How many at most.
        """
        with self._lock:
            if order is Order.DISAGREEMENT:
                rows, done = self._disagreements(), None
            else:
                rows, done = self._order(order, location), self._judged_by(skip)
        is_left = np.ones(len(rows), np.bool_) if done is None else ~done[rows]
        is_next = is_left
        if after is not None:
            values, here = self._values(order, location)[rows], self._values(order, location)[after]
            is_next = is_left & ((values < here) | ((values == here) & (rows > after)))
        return Page(len(rows), int(is_left.sum()), rows[np.flatnonzero(is_next)[:n]].tolist())

    def _values(self, order: Order, location: int | None) -> npt.NDArray[np.float32]:
        """Give what an order sorts by, falling; ties: the first in the table first."""
        by_score = order is Order.LOCATION and location is not None
        return self.cells.scores[:, location] if by_score else self.cells.doubt

    def _judged_by(self, who: str | None) -> npt.NDArray[np.bool_] | None:
        if who is None or not self._done:
            return None
        if who == "":
            return np.logical_or.reduce(list(self._done.values()))
        done = self._done.get(who)
        return None if done is None else done.copy()

    def _order(self, order: Order, location: int | None) -> _Rows:
        key = (order, location)
        if key not in self._orders:
            rows = np.argsort(-self._values(order, location), kind="stable")
            if order is Order.DOUBT and location is not None:
                rows = rows[self.cells.top[rows] == location]
            self._orders[key] = rows
        return self._orders[key]

    def _disagreements(self) -> _Rows:
        rows = [
            self.cells.row_of[cell]
            for cell, words in self._words.items()
            if len(words) > 1 and cell in self.cells.row_of and differ(list(words.values()))
        ]
        found = np.array(sorted(rows), np.int64)
        return found[np.argsort(-self.cells.doubt[found], kind="stable")]

"""Scores with what they were computed from; an undefined score is null, never 0."""

import math
from dataclasses import dataclass

from hpacells.core.errors import InputError

__all__ = ["Score", "ScoreTable"]


@dataclass(frozen=True)
class Score:
    """One number.

    Parameters
    ----------
    metric
        For example ``"ap"``.
    location
        Key of the location; None for a number over all of them.
    value
        None where it is undefined.
    n_truths, n_found
        How many true and found objects stand behind it.
    low, high
        Interval, where one was asked for.
    """

    metric: str
    location: str | None
    value: float | None
    n_truths: int
    n_found: int
    low: float | None = None
    high: float | None = None

    def __post_init__(self) -> None:
        for number in (self.value, self.low, self.high):
            if number is not None and not math.isfinite(number):
                raise InputError(
                    f"score {self.metric} of {self.location}: expected a finite number, or None "
                    f"where undefined, got {number}"
                )


@dataclass(frozen=True)
class ScoreTable:
    """Scores, one row a metric and location, each pair once."""

    rows: tuple[Score, ...]

    def __post_init__(self) -> None:
        keys = [(row.metric, row.location) for row in self.rows]
        if len(set(keys)) != len(keys):
            raise InputError("score table: a metric and location stands twice")

    def find(self, metric: str, location: str | None = None) -> Score:
        """Give the row of one metric and location.

        Raises
        ------
        InputError
            When there is none.
        """
        for row in self.rows:
            if (row.metric, row.location) == (metric, location):
                return row
        raise InputError(f"score table: no {metric} of {location}")

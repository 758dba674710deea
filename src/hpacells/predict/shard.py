"""One part in N of a run's fields, for job arrays: which fields, and what ``run.json`` says of it.

A field belongs to a shard by a hash of its id alone. So the shards of a run need not know each
other, and a field that is added later changes none of the others' shards. Shards differ in size as
chance has it (83,000 fields in 100 shards: 830 ± 29), and one of few fields may be empty.
"""

import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, Self, TypeVar

from hpacells.core.errors import ConfigError

__all__ = ["MAX_SHARDS", "SHARDS_KEY", "HasId", "Shard", "ShardsHeld"]

SHARDS_KEY = "shards"
"""Of ``run.json``; not there where a folder holds a whole run."""

MAX_SHARDS = 100_000
_FORM = re.compile(r"([0-9]{1,9})/([0-9]{1,9})")


class HasId(Protocol):
    """Anything of one field."""

    @property
    def fov_id(self) -> str:
        """Of the field."""


Field = TypeVar("Field", bound=HasId)


@dataclass(frozen=True)
class Shard:
    """One part of a run's fields.

    Parameters
    ----------
    index
        1 … ``of``.
    of
        How many shards there are.
    """

    index: int
    of: int

    def __post_init__(self) -> None:
        if not 1 <= self.index <= self.of <= MAX_SHARDS:
            raise ConfigError(
                f"--shard: expected i/N with i from 1 to N and N up to {MAX_SHARDS}, got {self}."
            )

    def __str__(self) -> str:
        return f"{self.index}/{self.of}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read ``i/N``.

        Raises
        ------
        ConfigError
            When it has another form or is out of range.
        """
        found = _FORM.fullmatch(text)
        if found is None:
            raise ConfigError(f"--shard: expected i/N, as in 3/100, got {text!r}.")
        return cls(int(found.group(1)), int(found.group(2)))

    def holds(self, fov_id: str) -> bool:
        """Say whether a field belongs to this shard.

        Examples
        --------
        >>> [i for i in (1, 2, 3) if Shard(i, 3).holds("field0")]
        [2]
        """
        digest = hashlib.sha256(fov_id.encode()).digest()
        return int.from_bytes(digest[:8], "big") % self.of == self.index - 1

    def select(self, records: Iterable[Field]) -> list[Field]:
        """Give the fields of this shard, in their order."""
        return [record for record in records if self.holds(record.fov_id)]


@dataclass(frozen=True)
class ShardsHeld:
    """Which shards a run folder holds, as ``run.json`` says it.

    Parameters
    ----------
    of
        How many there are.
    held
        Those in the folder, ascending.
    """

    of: int
    held: tuple[int, ...]

    @classmethod
    def read(cls, run: Mapping[str, Any]) -> Self | None:
        """Read it from the content of ``run.json``; None for a whole run."""
        content = run.get(SHARDS_KEY)
        return None if content is None else cls(int(content["of"]), tuple(content["held"]))

    def describe(self) -> dict[str, Any]:
        """Give what ``run.json`` says; nothing when no shard is missing."""
        missing = set(range(1, self.of + 1)) - set(self.held)
        return {SHARDS_KEY: {"of": self.of, "held": list(self.held)}} if missing else {}

    @property
    def missing(self) -> list[int]:
        """Shards that the folder lacks, ascending."""
        return sorted(set(range(1, self.of + 1)) - set(self.held))

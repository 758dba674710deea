"""What the page may send: a person's name, a word on a cell, an undoing."""

import unicodedata
from typing import Annotated
from uuid import UUID

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from hpacells.core.corrections import Action
from hpacells.core.locations import N_LOCATIONS, NEGATIVE

__all__ = ["SaidWord", "Undoing", "Who"]


def _clean_name(name: str) -> str:
    """Make one name of its spellings: composed, single spaces."""
    clean = " ".join(unicodedata.normalize("NFC", name).split())
    if not clean or not clean.isprintable():
        raise ValueError("expected a name")
    return clean


Who = Annotated[str, Field(max_length=60), AfterValidator(_clean_name)]
"""A person, as they call themselves."""


class Undoing(BaseModel):
    """Take a word back."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    key: UUID
    """Of the word."""
    who: Who


class SaidWord(Undoing):
    """A word on a cell."""

    fov_id: Annotated[str, Field(max_length=255)]
    cell_id: Annotated[int, Field(ge=1, le=2**31 - 1)]
    action: Action
    locations: tuple[Annotated[int, Field(ge=0, lt=N_LOCATIONS)], ...] | None = None
    """Of an accepted or corrected cell, ascending."""
    comment: Annotated[str, Field(max_length=2000)] | None = None

    @model_validator(mode="after")
    def _check(self) -> "SaidWord":
        places = self.locations
        if (self.action in (Action.ACCEPT, Action.CORRECT)) != bool(places):
            raise ValueError("expected locations with 'accept' and 'correct', none with others")
        if places is not None and list(places) != sorted(set(places)):
            raise ValueError("expected locations ascending, each once")
        if places is not None and NEGATIVE in places and len(places) > 1:
            raise ValueError("expected Negative alone: such a cell has no location")
        if self.action is Action.COMMENT and not (self.comment or "").strip():
            raise ValueError("expected a comment")
        return self

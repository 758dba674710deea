"""The words of a review as corrections: what ``hpacells train --corrections RUN`` learns from."""

from collections.abc import Iterable
from pathlib import Path

from hpacells.core.corrections import Correction, add_corrections
from hpacells.core.storage import output_lock
from hpacells.review.words import Word

__all__ = ["SOURCE", "write_for_training"]

SOURCE = "review"
"""The ``source`` of the corrections that a review makes."""


def write_for_training(run_folder: Path, words: Iterable[Word]) -> int:
    """Bring ``corrections.parquet`` up to date with a review.

    Corrections of other sources stay, unless the same person judged the same cell in the review.

    Parameters
    ----------
    run_folder
        The run.
    words
        Every standing word; what an earlier call wrote and is undone since goes away.

    Returns
    -------
    int
        How many corrections came, changed or went.

    Raises
    ------
    OutputError
        When another process is writing to the run folder.
    TableError
        When ``corrections.parquet`` is damaged.
    """
    latest = {(word.cell, word.who): word for word in words}
    corrections = [
        Correction(
            fov_id=word.fov_id,
            cell_id=word.cell_id,
            action=word.action,
            source=SOURCE,
            when=word.when,
            locations=word.locations,
            comment=word.comment,
            who=word.who,
        )
        for word in latest.values()
    ]
    with output_lock(run_folder):
        return add_corrections(run_folder, corrections, instead_of=SOURCE)

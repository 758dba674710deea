"""``submission.csv`` in the competition's form, in the order of its sample where one is given.

Nothing is lost but what the form has no place for: ids, nuclei, rejected cells, cell scores (the
form holds the blend).
"""

import csv
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO

from hpacells.core.errors import TableError
from hpacells.core.storage import atomic_path
from hpacells.core.submission import SubmissionRow, read_submission, write_submission
from hpacells.export.config import ExportSettings
from hpacells.export.run_reader import FieldSource, FinishedRun
from hpacells.predict.run_folder import SUBMISSION_FILE

__all__ = ["write_kaggle"]


def write_kaggle(
    run: FinishedRun, fields: FieldSource, out: Path, settings: ExportSettings
) -> tuple[str, ...]:
    """Write the submission.

    Parameters
    ----------
    run
        Its ``submission.csv`` is the source.
    fields
        Gives the fields; only counted.
    out
        Folder.
    settings
        ``sample_submission``: its IDs in its order. One that the run lacks gets an empty string
        and the sample's size; what it does not name is left out.

    Returns
    -------
    tuple of str
        How many were missing or left out.

    Raises
    ------
    TableError
        When the sample or the run's submission is not in the form.
    """
    for _ in fields():
        pass
    source, target = run.folder / SUBMISSION_FILE, out / SUBMISSION_FILE
    if not source.is_file():
        raise TableError(f"{source}: not there. Run 'hpacells run' again: it makes it.")
    if settings.sample_submission is None:
        with atomic_path(target) as temporary:
            shutil.copyfile(source, temporary)
        return ()
    sample = read_submission(settings.sample_submission)
    with source.open("rb") as file:
        places = _find_rows(file)
        write_submission(target, _pick(file, places, sample))
    missing = len(sample.keys() - places.keys())
    spare = len(places.keys() - sample.keys())
    return (
        *((f"{missing} images of the sample are not in the run: empty.",) if missing else ()),
        *((f"{spare} images of the run are not in the sample: left out.",) if spare else ()),
    )


def _find_rows(file: BinaryIO) -> dict[str, int]:
    """Say where each ID's line begins; masks stay on the disk. IDs hold no line ends."""
    places = {}
    file.readline()
    start = file.tell()
    for line in file:
        places[_parse(line)[0]] = start
        start += len(line)
    return places


def _pick(
    file: BinaryIO, places: dict[str, int], sample: dict[str, SubmissionRow]
) -> Iterator[SubmissionRow]:
    for fov_id, empty in sample.items():
        if fov_id in places:
            file.seek(places[fov_id])
            _, width, height, predictions = _parse(file.readline())
            yield SubmissionRow(fov_id, int(width), int(height), predictions)
        else:
            yield replace(empty, predictions="")


def _parse(line: bytes) -> list[str]:
    # the long string is the last cell and never quoted: kept from the csv module's limit
    head, _, predictions = line.decode("utf-8").rstrip("\n").rpartition(",")
    return [*next(csv.reader([head])), predictions]

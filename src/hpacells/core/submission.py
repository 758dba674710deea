"""Submissions: the competition's table of scored masks, also used for the truth.

A CSV with the columns ``ID, ImageWidth, ImageHeight, PredictionString``; the string is triples
``class confidence mask`` with spaces between (``hpacells.core.mask_text`` describes the mask).
An image without cells has an empty string. An image whose file could not be read has an empty
string and, where its size is unknown, the size 0 x 0.
"""

import csv
import io
import math
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from hpacells.core.errors import InputError, TableError
from hpacells.core.locations import N_LOCATIONS
from hpacells.core.mask_text import decode_mask, decode_masks, encode_cells, encode_mask
from hpacells.core.storage import atomic_path

__all__ = [
    "SUBMISSION_COLUMNS",
    "SubmissionRow",
    "decode_mask",
    "decode_masks",
    "encode_cells",
    "encode_mask",
    "format_predictions",
    "iterate_submission",
    "parse_predictions",
    "read_submission",
    "write_submission",
]

SUBMISSION_COLUMNS = ("ID", "ImageWidth", "ImageHeight", "PredictionString")

_CLASS_IDS = {str(i): i for i in range(N_LOCATIONS)}


@dataclass(frozen=True)
class SubmissionRow:
    """One image of a submission.

    Parameters
    ----------
    fov_id
        The image's ID.
    width, height
        Of the stored image, in pixels; both 0 when unknown.
    predictions
        The ``PredictionString``.
    """

    fov_id: str
    width: int
    height: int
    predictions: str

    def __post_init__(self) -> None:
        if not self.fov_id:
            raise TableError("a submission's row has no ID. Give each image its ID.")
        known = self.width > 0 and self.height > 0
        if not known and (self.width, self.height, self.predictions) != (0, 0, ""):
            raise TableError(
                f"image {self.fov_id}: expected a width and height of at least 1, got "
                f"{self.width} x {self.height}. 0 x 0 is for unreadable images without masks."
            )


def format_predictions(triples: Iterable[tuple[int, float, str]]) -> str:
    """Write the triples (class id, confidence, mask text) of one image.

    Confidences are written so that reading gives back the same float64.

    Raises
    ------
    InputError
        When a class id is outside 0-18 or a confidence is not finite.

    Examples
    --------
    >>> format_predictions([(16, 0.5, "eNoLCAgIMAEABJkBdQ==")])
    '16 0.5 eNoLCAgIMAEABJkBdQ=='
    """
    words = []
    for class_id, confidence, mask in triples:
        if not 0 <= class_id < N_LOCATIONS or not math.isfinite(confidence):
            raise InputError(
                f"expected a class id 0-{N_LOCATIONS - 1} and a finite confidence, got "
                f"{class_id} and {confidence}"
            )
        words.append(f"{int(class_id)} {float(confidence)!r} {mask}")
    return " ".join(words)


def parse_predictions(text: str, *, where: str) -> list[tuple[int, float, str]]:
    """Read the triples of one image; the masks stay text.

    Parameters
    ----------
    text
        A ``PredictionString``.
    where
        Named in the error: file and image.

    Returns
    -------
    list of (int, float, str)
        Class id, confidence, mask text, in the order of the string.

    Raises
    ------
    TableError
        When the words are not triples, a class id is outside 0-18 or a confidence is not a
        finite number.
    """
    words = text.split()
    if len(words) % 3:
        raise TableError(
            f"{where}: expected triples 'class confidence mask', got {len(words)} words. "
            "Correct that row."
        )
    triples = []
    for i in range(0, len(words), 3):
        class_id = _CLASS_IDS.get(words[i])
        if class_id is None:
            raise TableError(
                f"{where}, triple {i // 3 + 1}: expected a class id 0-{N_LOCATIONS - 1}, got "
                f"{_shorten(words[i])}. Correct that row."
            )
        confidence = _parse_confidence(words[i + 1])
        if confidence is None:
            raise TableError(
                f"{where}, triple {i // 3 + 1}: expected a finite number as confidence, got "
                f"{_shorten(words[i + 1])}. Correct that row."
            )
        triples.append((class_id, confidence, words[i + 2]))
    return triples


def write_submission(path: Path, rows: Iterable[SubmissionRow]) -> None:
    """Write a submission atomically, row by row as they come.

    Raises
    ------
    InputError
        When an ID comes twice; then nothing is written.
    """
    seen = set()
    with atomic_path(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        file.write(",".join(SUBMISSION_COLUMNS) + "\n")
        for row in rows:
            if row.fov_id in seen:
                raise InputError(f"submission: image {row.fov_id} comes twice")
            seen.add(row.fov_id)
            file.writelines(_write_row(row))


def _write_row(row: SubmissionRow) -> tuple[str, str, str]:
    """Write a row as csv does, which takes its time with long texts: those need no quotes."""
    is_plain = not any(character in row.predictions for character in ',"\r\n')
    line = io.StringIO()
    words = (row.fov_id, row.width, row.height, "" if is_plain else row.predictions)
    csv.writer(line, lineterminator="\n").writerow(words)
    return line.getvalue()[:-1], row.predictions if is_plain else "", "\n"


def read_submission(path: Path) -> dict[str, SubmissionRow]:
    """Read a submission or truth file.

    Parameters
    ----------
    path
        As for ``iterate_submission``, which says what is refused.

    Returns
    -------
    dict
        ID → row, in the order of the file. Triples and masks are not looked into yet.
    """
    return {row.fov_id: row for row in iterate_submission(path)}


def iterate_submission(path: Path) -> Iterator[SubmissionRow]:
    """Read a submission or truth file row by row.

    Parameters
    ----------
    path
        A CSV with ``SUBMISSION_COLUMNS``; other columns are passed over.

    Yields
    ------
    SubmissionRow
        In the order of the file.

    Raises
    ------
    TableError
        When the file is missing or no such CSV, an ID stands twice, or a size is no whole number.
    """
    seen: set[str] = set()
    try:
        with path.open(encoding="utf-8-sig", newline="") as file, _long_fields():
            reader = csv.DictReader(file, strict=True)
            missing = [name for name in SUBMISSION_COLUMNS if name not in (reader.fieldnames or ())]
            if missing:
                raise TableError(
                    f"{path}: expected the columns {', '.join(SUBMISSION_COLUMNS)}, "
                    f"{', '.join(missing)} missing. Is it a submission?"
                )
            for record in reader:
                row = _parse_row(record, f"{path}, line {reader.line_num}")
                if row.fov_id in seen:
                    raise TableError(
                        f"{path}, line {reader.line_num}: ID {row.fov_id} stands twice. "
                        "Keep one row per image."
                    )
                seen.add(row.fov_id)
                yield row
    except (FileNotFoundError, IsADirectoryError) as error:
        raise TableError(f"{path}: expected a CSV file, found none. Check the path.") from error
    except (csv.Error, UnicodeDecodeError) as error:
        raise TableError(f"{path}: not a CSV file in UTF-8 ({error}). Write it again.") from error


def _parse_row(record: dict[str, str | None], where: str) -> SubmissionRow:
    fov_id, width, height, predictions = (record[name] for name in SUBMISSION_COLUMNS)
    if fov_id is None or width is None or height is None or predictions is None or None in record:
        raise TableError(f"{where}: expected as many cells as the header has. Correct that row.")
    for size in (width, height):
        if not (size.isascii() and size.isdigit() and len(size) < 10):
            raise TableError(
                f"{where}: expected whole numbers as ImageWidth and ImageHeight, got "
                f"{_shorten(size)}. Correct that row."
            )
    try:
        return SubmissionRow(fov_id, int(width), int(height), predictions.strip())
    except TableError as error:
        raise TableError(f"{where}: {error}") from error


def _parse_confidence(word: str) -> float | None:
    if "_" in word or not word.isascii():
        return None
    try:
        value = float(word)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _shorten(word: str) -> str:
    return repr(word if len(word) <= 40 else word[:37] + "...")


@contextmanager
def _long_fields() -> Iterator[None]:
    """Lift the csv module's limit of 128 KiB a cell for a while: a crowded image needs more."""
    before = csv.field_size_limit(sys.maxsize)
    try:
        yield
    finally:
        csv.field_size_limit(before)

"""CSV files that people write by hand, read strictly: every problem with its row, all at once.

Row numbers count lines of the file from 1, the header being row 1, as an editor shows them.
"""

import csv
import io
from dataclasses import dataclass
from pathlib import Path

from hpacells.core.errors import InputError, TableError

__all__ = ["CsvRow", "raise_problems", "read_csv"]

_SHOWN = 20


@dataclass(frozen=True)
class CsvRow:
    """One row: its number in the file and its cells by column, without outer blanks."""

    number: int
    cells: dict[str, str]

    def get(self, column: str) -> str | None:
        """Give a cell, None when the column is absent or the cell empty."""
        return self.cells.get(column) or None


def read_csv(path: Path, required: tuple[str, ...]) -> tuple[list[CsvRow], list[str]]:
    """Read a comma-separated file with a header.

    Parameters
    ----------
    path
        UTF-8, with or without a byte order mark, any line ends.
    required
        Columns that must be there; others are read too.

    Returns
    -------
    tuple
        The rows (empty lines left out), and the problems found: rows with too many or too few
        cells, which are left out.

    Raises
    ------
    TableError
        Not text, no header, a column missing or named twice.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}). Check the path.") from error
    except UnicodeDecodeError as error:
        raise TableError(
            f"{path}: expected a CSV in UTF-8, got other bytes. Save it so."
        ) from error
    if "\0" in text:
        raise TableError(f"{path}: expected a CSV, got binary data. Check the path.")
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        header = [name.strip() for name in next(reader, [])]
        _check_header(header, required, path)
        rows, problems = [], []
        for cells in reader:
            if not any(cell.strip() for cell in cells):
                continue
            if len(cells) != len(header):
                problems.append(
                    f"row {reader.line_num}: expected {len(header)} cells, got {len(cells)}"
                )
                continue
            values = (cell.strip() for cell in cells)
            rows.append(CsvRow(reader.line_num, dict(zip(header, values, strict=True))))
    except csv.Error as error:
        raise TableError(f"{path}: row {reader.line_num}: {error}. Correct that row.") from error
    return rows, problems


def _check_header(header: list[str], required: tuple[str, ...], path: Path) -> None:
    missing = [name for name in required if name not in header]
    if missing:
        raise TableError(
            f"{path}: expected the columns {', '.join(required)} separated by commas, "
            f"got {', '.join(header) or 'no header'}. Add {', '.join(missing)}."
        )
    twice = sorted({name for name in header if name and header.count(name) > 1})
    if twice:
        raise TableError(f"{path}: column {', '.join(twice)} stands twice. Remove one.")


def raise_problems(path: Path, problems: list[str]) -> None:
    """Raise all problems of one table together; nothing when there are none.

    Raises
    ------
    TableError
        Naming the file and the first twenty problems.
    """
    if not problems:
        return
    shown = "".join(f"\n  {problem}" for problem in problems[:_SHOWN])
    more = len(problems) - _SHOWN
    rest = f"\n  and {more} more" if more > 0 else ""
    raise TableError(f"{path}: {len(problems)} problem(s); correct these rows:{shown}{rest}")

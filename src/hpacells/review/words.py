"""What experts say of cells, kept in SQLite beside the run: who, when, what, and what was undone.

``RUN/review/words.sqlite3`` is in WAL mode and every word is on disk before it is confirmed, so a
killed server loses nothing. A word is never changed or deleted: a later one of the same person on
the same cell stands before it, and undoing one marks it. ``core.corrections`` has what a word can
say; ``review.for_training`` hands the words over to training.
"""

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

from hpacells.core.corrections import Action
from hpacells.core.errors import InputError, OutputError
from hpacells.core.locations import format_class_ids, parse_class_ids

__all__ = ["REVIEW", "WORDS_FILE", "Word", "WordStore", "open_words", "read_words"]

REVIEW = "review"
"""The folder in a run's that holds its review."""
WORDS_FILE = "words.sqlite3"

_VERSION = 1
_SCHEMA = """
CREATE TABLE words (
    n INTEGER PRIMARY KEY,
    key TEXT NOT NULL UNIQUE,
    fov_id TEXT NOT NULL,
    cell_id INTEGER NOT NULL,
    who TEXT NOT NULL,
    action TEXT NOT NULL,
    locations TEXT,
    comment TEXT,
    said_at TEXT NOT NULL,
    undone_at TEXT
) STRICT;
CREATE TABLE review (id TEXT NOT NULL) STRICT;
"""
_COLUMNS = "key, fov_id, cell_id, who, action, locations, comment, said_at"


@dataclass(frozen=True)
class Word:
    """One person's word on one cell.

    Parameters
    ----------
    key
        Made by whoever says it, different for every word: said again, it is known already.
    fov_id, cell_id
        Of the cell.
    who
        Who says it.
    action
        What is said.
    locations
        Sorted class ids of an accepted or corrected cell, else None.
    comment
        None where not given.
    when
        When it was saved, in UTC.
    """

    key: str
    fov_id: str
    cell_id: int
    who: str
    action: Action
    locations: tuple[int, ...] | None
    comment: str | None
    when: datetime

    @property
    def cell(self) -> tuple[str, int]:
        """Field and id of the cell."""
        return self.fov_id, self.cell_id


class WordStore:
    """The open database; used by all threads of the server at once."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._lock = threading.Lock()

    @property
    def review_id(self) -> str:
        """What tells this review from any other."""
        with self._lock:
            return str(self._connection.execute("SELECT id FROM review").fetchone()[0])

    def save(self, word: Word) -> bool:
        """Put a word on disk; False when it is there already.

        Raises
        ------
        OutputError
            When the disk is full or cannot be written.
        """
        locations = None if word.locations is None else format_class_ids(word.locations)
        row = (*word.cell, word.who, word.action.value, locations, word.comment)
        with self._writing() as cursor:
            cursor.execute(
                f"INSERT OR IGNORE INTO words ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                (word.key, *row, word.when.isoformat()),
            )
            return cursor.rowcount == 1

    def undo(self, key: str, who: str) -> bool:
        """Mark a person's word as undone; False when it is no word of theirs, or undone already.

        Raises
        ------
        OutputError
            As ``save``.
        """
        now = datetime.now(UTC).isoformat()
        with self._writing() as cursor:
            cursor.execute(
                "UPDATE words SET undone_at = ? WHERE key = ? AND who = ? AND undone_at IS NULL",
                (now, key, who),
            )
            return cursor.rowcount == 1

    def standing(self) -> Iterator[Word]:
        """Read every word that was not undone, in the order in which they were saved."""
        with self._lock:
            rows = self._connection.execute(
                f"SELECT {_COLUMNS} FROM words WHERE undone_at IS NULL ORDER BY n"
            ).fetchall()
        yield from map(_read_row, rows)

    def close(self) -> None:
        """Close the database; what its write-ahead log holds goes into the file."""
        self._connection.close()

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Cursor]:
        with self._lock:
            try:
                with self._connection, closing(self._connection.cursor()) as cursor:
                    yield cursor
            except sqlite3.Error as error:
                raise OutputError(
                    f"the review could not be saved ({error}). Free some space, or look at the "
                    f"rights of {WORDS_FILE}; nothing that was confirmed is lost."
                ) from error


def open_words(run_folder: Path) -> WordStore:
    """Open a run's words for writing, made where there are none; to be called under a lock.

    Raises
    ------
    InputError
        When the file is no such database, or a newer version's.
    OutputError
        When it cannot be made or written, or its file system cannot hold a write-ahead log.
    """
    path = run_folder / REVIEW / WORDS_FILE
    with _naming_trouble(path):
        path.parent.mkdir(exist_ok=True)
        connection = sqlite3.connect(path, check_same_thread=False)
        try:
            version = _check_version(connection, path)
            _log_ahead(connection, path)
            if version == 0:
                _make_tables(connection)
        except BaseException:
            connection.close()
            raise
        return WordStore(connection)


def read_words(run_folder: Path) -> list[Word]:
    """Read a run's standing words, in the order in which they were saved; none without a review.

    A server may be writing at the same time.

    Raises
    ------
    InputError
        As ``open_words``.
    """
    path = run_folder / REVIEW / WORDS_FILE
    if not path.is_file():
        return []
    with _naming_trouble(path), closing(sqlite3.connect(path)) as connection:
        _check_version(connection, path)
        return list(WordStore(connection).standing())


@contextmanager
def _naming_trouble(path: Path) -> Iterator[None]:
    try:
        yield
    except sqlite3.OperationalError as error:
        raise OutputError(
            f"{path}: cannot be opened ({error}). Look at its rights, or copy the run folder to a "
            "disk that can be written."
        ) from error
    except sqlite3.DatabaseError as error:
        raise InputError(
            f"{path}: expected a review of hpacells, got another file ({error}). Move it away."
        ) from error


def _make_tables(connection: sqlite3.Connection) -> None:
    connection.executescript(
        f"BEGIN; {_SCHEMA} INSERT INTO review VALUES ('{uuid4()}');"
        f"PRAGMA user_version = {_VERSION}; END;"
    )


def _log_ahead(connection: sqlite3.Connection, path: Path) -> None:
    mode = connection.execute("PRAGMA journal_mode = WAL").fetchone()[0]
    if mode != "wal":
        raise OutputError(
            f"{path}: expected a write-ahead log, got {mode!r}. Copy the run folder to a disk of "
            "this machine: network drives cannot hold one."
        )
    connection.execute("PRAGMA synchronous = FULL")


def _check_version(connection: sqlite3.Connection, path: Path) -> int:
    version = int(connection.execute("PRAGMA user_version").fetchone()[0])
    tables = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
    if version > _VERSION:
        raise InputError(
            f"{path}: made by a newer hpacells (version {version} of its tables, this one knows "
            f"{_VERSION}). Update hpacells."
        )
    if version == 0 and tables:
        raise InputError(f"{path}: expected a review of hpacells, got other tables. Move it away.")
    return version


def _read_row(row: tuple[str, str, int, str, str, str | None, str | None, str]) -> Word:
    key, fov_id, cell_id, who, action, locations, comment, said_at = row
    return Word(
        key=key,
        fov_id=fov_id,
        cell_id=cell_id,
        who=who,
        action=Action(action),
        locations=None if locations is None else parse_class_ids(locations, where=WORDS_FILE),
        comment=comment,
        when=datetime.fromisoformat(said_at),
    )

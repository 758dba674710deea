import sqlite3
import subprocess
import sys

import pytest

from hpacells.core.corrections import Action
from hpacells.core.errors import InputError, OutputError
from hpacells.review.words import REVIEW, WORDS_FILE, open_words, read_words

CELL = ("plain", 1)


@pytest.fixture
def store(tmp_path):
    store = open_words(tmp_path)
    yield store
    store.close()


def test_words_go_there_and_back_while_the_database_is_open(tmp_path, store, say):
    words = [
        say(CELL, action=Action.CORRECT, locations=(2, 7), comment="é <b>"),
        say(CELL, who="ben", action=Action.REJECT),
        say(("other", 3), action=Action.COMMENT, comment="look"),
    ]
    assert [store.save(word) for word in words] == [True] * 3
    assert list(store.standing()) == words
    assert read_words(tmp_path) == words


def test_a_word_sent_twice_counts_once(store, say):
    word = say(CELL)
    assert [store.save(word), store.save(word)] == [True, False]
    assert list(store.standing()) == [word]


def test_only_who_said_a_word_takes_it_back_and_only_once(store, say):
    word = say(CELL)
    store.save(word)
    assert not store.undo(word.key, "ben")
    assert store.undo(word.key, "anna")
    assert not store.undo(word.key, "anna")
    assert not store.save(word)  # a late repetition does not bring it back
    assert list(store.standing()) == []


def test_what_was_undone_stays_on_record_with_its_time(tmp_path, store, say):
    word = say(CELL)
    store.save(word)
    store.undo(word.key, "anna")
    with sqlite3.connect(tmp_path / REVIEW / WORDS_FILE) as connection:
        rows = connection.execute("SELECT who, said_at, undone_at FROM words").fetchall()
    connection.close()
    assert rows[0][:2] == ("anna", word.when.isoformat())
    assert rows[0][2] > word.when.isoformat()


def test_a_review_keeps_its_id_and_its_log_is_written_ahead(tmp_path, store):
    again = open_words(tmp_path)
    assert again.review_id == store.review_id
    again.close()
    connection = sqlite3.connect(tmp_path / REVIEW / WORDS_FILE)
    assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    connection.close()


def test_a_process_killed_after_saving_loses_nothing(tmp_path):
    code = f"""
import os, signal
from datetime import UTC, datetime
from pathlib import Path
from hpacells.core.corrections import Action
from hpacells.review.words import Word, open_words
store = open_words(Path({str(tmp_path)!r}))
for i in range(20):
    store.save(Word(str(i), "f", i, "anna", Action.REJECT, None, None, datetime.now(UTC)))
os.kill(os.getpid(), signal.SIGKILL)
"""
    done = subprocess.run([sys.executable, "-c", code], check=False)
    assert done.returncode == -9
    assert [word.cell_id for word in read_words(tmp_path)] == list(range(20))


def test_without_a_review_there_are_no_words(tmp_path):
    assert read_words(tmp_path) == []
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("read", [open_words, read_words])
def test_a_database_of_a_newer_version_is_refused_and_left_alone(tmp_path, store, read):
    path = tmp_path / REVIEW / WORDS_FILE
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version = 2")
    connection.close()
    with pytest.raises(InputError, match=r"newer hpacells .*Update"):
        read(tmp_path)


@pytest.mark.parametrize("read", [open_words, read_words])
def test_another_file_under_that_name_is_refused(tmp_path, read):
    path = tmp_path / REVIEW / WORDS_FILE
    path.parent.mkdir()
    path.write_bytes(b"no database at all, but long enough for a header" * 40)
    with pytest.raises(InputError, match="expected a review of hpacells, got another file"):
        read(tmp_path)
    path.unlink()
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE birds (name)")
    connection.close()
    with pytest.raises(InputError, match="got other tables"):
        read(tmp_path)


def test_a_database_that_cannot_be_opened_is_named(tmp_path):
    (tmp_path / REVIEW / WORDS_FILE).mkdir(parents=True)
    with pytest.raises(
        OutputError, match=r"cannot be opened .*words.sqlite3|words.sqlite3: cannot"
    ):
        open_words(tmp_path)


def test_a_disk_without_room_is_told_and_nothing_is_half_saved(tmp_path, store, say):
    store.save(say(CELL))
    store._connection.execute("PRAGMA max_page_count = 1")  # a full disk
    with pytest.raises(OutputError, match="could not be saved"):
        store.save(say(("x" * 200, 2), comment="y" * 100_000))
    assert [word.cell_id for word in read_words(tmp_path)] == [1]
    assert store.save(say(CELL, comment="small"))


def test_a_file_system_without_a_write_ahead_log_is_refused(tmp_path, monkeypatch):
    real = sqlite3.connect

    class Elsewhere(sqlite3.Connection):
        def execute(self, sql, *rest):
            return super().execute(sql.replace("= WAL", "= DELETE"), *rest)

    monkeypatch.setattr(sqlite3, "connect", lambda *a, **k: real(*a, factory=Elsewhere, **k))
    with pytest.raises(OutputError, match="write-ahead log, got 'delete'"):
        open_words(tmp_path)

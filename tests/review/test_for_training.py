from dataclasses import replace

import pytest

from hpacells.core.corrections import Action, Correction, add_corrections, read_corrections
from hpacells.core.errors import OutputError
from hpacells.core.storage import output_lock
from hpacells.review.for_training import SOURCE, write_for_training

CELL = ("plain", 1)


def test_words_become_corrections_and_undone_ones_go(tmp_path, say):
    imported = Correction("plain", 9, Action.REJECT, "x.csv", say(CELL).when, who="anna")
    add_corrections(tmp_path, [imported])
    words = [
        say(CELL, action=Action.CORRECT, locations=(2, 7), comment="sure"),
        say(CELL, who="ben", action=Action.REJECT),
        say(("plain", 2), action=Action.COMMENT, comment="look"),
    ]
    assert write_for_training(tmp_path, words) == 3
    first, second, third, fourth = read_corrections(tmp_path)
    assert (first.who, first.action, first.locations, first.comment, first.source, first.when) == (
        "anna", Action.CORRECT, (2, 7), "sure", SOURCE, words[0].when,
    )  # fmt: skip
    assert (second.who, second.action, second.locations) == ("ben", Action.REJECT, None)
    assert third.action is Action.COMMENT
    assert fourth == imported
    assert write_for_training(tmp_path, words) == 0
    assert write_for_training(tmp_path, words[:1]) == 2
    assert read_corrections(tmp_path) == [first, imported]


def test_the_last_word_of_a_person_on_a_cell_is_the_one(tmp_path, say):
    words = [say(CELL, locations=(1,)), say(CELL, locations=(3,))]
    assert write_for_training(tmp_path, words) == 1
    assert read_corrections(tmp_path)[0].locations == (3,)


def test_a_later_import_of_the_same_person_stays(tmp_path, say):
    word = say(CELL)
    later = Correction("plain", 1, Action.REJECT, "x.csv", say(CELL).when, who="anna")
    add_corrections(tmp_path, [later])
    assert write_for_training(tmp_path, [word]) == 0
    assert write_for_training(tmp_path, [replace(word, when=say(CELL).when)]) == 1
    assert read_corrections(tmp_path)[0].source == SOURCE


def test_a_run_that_is_being_written_is_left_alone(tmp_path, say):
    with output_lock(tmp_path), pytest.raises(OutputError, match="another hpacells process"):
        write_for_training(tmp_path, [say(CELL)])

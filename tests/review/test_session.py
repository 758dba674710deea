import pytest

from hpacells.core.corrections import Action
from hpacells.review.cells import read_cells
from hpacells.review.session import Order, ReviewSession, differ
from hpacells.review.words import open_words

HOSTILE = "<img src=x onerror=alert(1)>"


def pages(session, order=Order.DOUBT, location=None, *, skip="anna", n=2):
    """Every cell of an order, as the page asks for it."""
    found, after = [], None
    while rows := session.page(order, location, skip=skip, after=after, n=n).rows:
        found += rows
        after = rows[-1]
    return [(session.cells.fov_ids[row], int(session.cells.cell_ids[row])) for row in found]


def test_the_least_certain_cells_come_first_each_once(session):
    expected = [("plain", 1), ("plain", 2), (HOSTILE, 1), (HOSTILE, 2), ("plain", 3), (HOSTILE, 3)]
    assert pages(session) == expected
    page = session.page(Order.DOUBT, None, skip="anna", after=None, n=4)
    assert (page.total, page.left, len(page.rows)) == (6, 6, 4)


def test_a_location_narrows_the_doubt_or_sorts_by_its_score(session):
    assert pages(session, location=2) == [("plain", 2), (HOSTILE, 2)]
    by_score = pages(session, Order.LOCATION, 2)
    assert by_score[:2] == [(HOSTILE, 2), ("plain", 2)]  # equal scores: as in the table
    assert len(by_score) == 6


def test_judged_cells_are_left_out_as_asked(session, say):
    session.save(say(("plain", 1)))
    session.save(say(("plain", 2), who="ben"))
    session.save(say((HOSTILE, 1), action=Action.COMMENT, comment="hm"))
    assert pages(session)[:2] == [("plain", 2), (HOSTILE, 1)]
    assert pages(session, skip="")[0] == (HOSTILE, 1)
    assert len(pages(session, skip=None)) == 6
    assert len(pages(session, skip="nobody yet")) == 6
    assert session.people() == {"anna": 1, "ben": 1}


def test_an_order_goes_on_behind_a_cell_that_is_no_longer_in_it(session, say):
    for cell in (("plain", 1), ("plain", 3)):
        session.save(say(cell, locations=(1,)))
        session.save(say(cell, who="ben", locations=(2,)))
    order = Order.DISAGREEMENT
    first = session.page(order, None, skip="anna", after=None, n=1)
    assert (first.total, first.left) == (2, 2)
    session.save(say(("plain", 1), locations=(2,)))
    then = session.page(order, None, skip="anna", after=first.rows[0], n=5)
    assert then.rows == [session.cells.row_of["plain", 3]]
    assert then.total == 1


def test_disagreement_is_about_judgements_of_two_people(say):
    cell = ("plain", 1)
    accepted = say(cell, locations=(1, 2))
    corrected = say(cell, who="ben", action=Action.CORRECT, locations=(1, 2))
    rejected = say(cell, who="ben", action=Action.REJECT)
    comment = say(cell, who="ben", action=Action.COMMENT, comment="?")
    assert not differ([accepted, corrected])  # the same places, however they came about
    assert differ([accepted, rejected])
    assert not differ([accepted, comment])
    assert not differ([accepted])


def test_undo_brings_back_what_the_person_had_said_before(session, say):
    cell, row = ("plain", 1), session.cells.row_of["plain", 1]
    first, second = say(cell, locations=(1,)), say(cell, action=Action.REJECT)
    other = say(cell, who="ben")
    for word in (first, second, other):
        session.save(word)
    assert session.undo(second.key, "anna")
    assert session.words_on(row) == {"anna": first, "ben": other}
    assert not session.undo(second.key, "anna")
    assert not session.undo(other.key, "anna")
    assert session.undo(first.key, "anna")
    assert session.words_on(row) == {"ben": other}
    assert session.people() == {"anna": 0, "ben": 1}
    assert pages(session)[0] == cell


def test_a_new_server_finds_what_the_last_one_saved(run_folder, session, say):
    words = [say(("plain", 1)), say(("plain", 2)), say(("plain", 2), action=Action.REJECT)]
    for word in words:
        session.save(word)
    session.undo(words[2].key, "anna")
    store = open_words(run_folder)
    again = ReviewSession(read_cells(run_folder), store)
    assert again.words() == session.words() == words[:2]
    assert again.recent("anna", 5) == session.recent("anna", 5) == words[1::-1]
    assert again.recent("anna", 1) == [words[1]]
    assert again.people() == {"anna": 2}
    store.close()


def test_words_on_cells_that_the_run_lost_do_no_harm(session, say):
    gone = say(("gone", 1))
    session.save(gone)
    session.save(say(("gone", 1), who="ben", action=Action.REJECT))
    assert session.words() == []
    assert session.recent("anna", 5) == []
    assert pages(session, Order.DISAGREEMENT) == []
    assert session.undo(gone.key, "anna")


@pytest.mark.parametrize("order", [Order.DOUBT, Order.DISAGREEMENT])
def test_a_run_of_one_cell_has_an_end(session, order):
    last = session.cells.row_of[HOSTILE, 3]
    assert session.page(order, None, skip=None, after=last, n=5).rows == []

import numpy as np
import pytest

from hpacells.core.corrections import Action
from hpacells.core.errors import MissingExtraError
from hpacells.review.agreement import measure_agreement

CELLS = [("f", i) for i in range(1, 5)]


def kappa_by_hand(one, other):
    """Cohen 1960: (observed - chance) / (1 - chance)."""
    one, other = np.asarray(one, float), np.asarray(other, float)
    observed = (one == other).mean()
    chance = one.mean() * other.mean() + (1 - one.mean()) * (1 - other.mean())
    return (observed - chance) / (1 - chance)


def test_kappa_is_cohens_on_the_cells_that_both_judged(say):
    anna = [(1,), (1,), (2,), (1, 2)]
    ben = [(1,), (2,), (2,), (2,)]
    words = [say(cell, locations=said) for cell, said in zip(CELLS, anna, strict=True)]
    words += [say(cell, "ben", locations=said) for cell, said in zip(CELLS, ben, strict=True)]
    words += [say(("alone", 1)), say(CELLS[0], "cleo", Action.COMMENT, comment="?")]
    (pair,) = measure_agreement(words)
    assert pair.who == ("anna", "ben")
    assert (pair.n_cells, pair.n_same, pair.n_located) == (4, 2, 4)
    expected = [
        kappa_by_hand([1, 1, 0, 1], [1, 0, 0, 0]),
        kappa_by_hand([0, 0, 1, 1], [0, 1, 1, 1]),
    ]
    assert pair.kappas["nuclear_membrane"] == pytest.approx(expected[0])
    assert pair.kappas["nucleoli"] == pytest.approx(expected[1])
    assert pair.mean_kappa == pytest.approx(np.mean(expected))
    assert pair.kappas["golgi_apparatus"] is None
    assert (pair.n_named["nuclear_membrane"], pair.n_named["golgi_apparatus"]) == (3, 0)
    assert pair.reject_kappa is None


def test_rejected_cells_count_for_rejecting_alone(say):
    reject = Action.REJECT
    words = [say(CELLS[0], action=reject), say(CELLS[1], action=reject)]
    words += [say(CELLS[2]), say(CELLS[3])]
    words += [say(CELLS[0], "ben", reject), say(CELLS[1], "ben"), say(CELLS[2], "ben")]
    words += [say(CELLS[3], "ben", reject)]
    (pair,) = measure_agreement(words)
    assert pair.reject_kappa == pytest.approx(kappa_by_hand([1, 1, 0, 0], [1, 0, 0, 1]))
    assert (pair.n_cells, pair.n_same, pair.n_located) == (4, 2, 1)
    assert pair.mean_kappa is None  # one cell, both say the same


def test_every_pair_of_people_is_compared(say):
    words = [say(CELLS[0], who) for who in ("cleo", "anna", "ben")]
    assert [pair.who for pair in measure_agreement(words)] == [
        ("anna", "ben"),
        ("anna", "cleo"),
        ("ben", "cleo"),
    ]
    assert measure_agreement([]) == []


def test_without_the_library_the_extra_is_named(say, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "sklearn.metrics", None)
    words = [say(CELLS[0], locations=(1,)), say(CELLS[0], "ben", locations=(2,))]
    with pytest.raises(MissingExtraError, match=r"hpacells\[review\]"):
        measure_agreement(words)

import pytest
from pydantic import TypeAdapter, ValidationError

from hpacells.core.locations import NEGATIVE
from hpacells.review.messages import SaidWord, Who

KEY = "00000000-0000-4000-8000-000000000001"


def word(**changes):
    values = {"key": KEY, "who": "anna", "fov_id": "f", "cell_id": 1, "action": "accept"}
    return values | {"locations": [1, 2]} | changes


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"locations": None}, "expected locations with"),
        ({"locations": []}, "expected locations with"),
        ({"action": "reject"}, "none with others"),
        ({"locations": [2, 1]}, "ascending"),
        ({"locations": [1, 1]}, "ascending"),
        ({"locations": [1, NEGATIVE]}, "Negative alone"),
        ({"locations": [19]}, "less than 19"),
        ({"locations": [-1]}, "greater than or equal to 0"),
        ({"action": "comment", "locations": None, "comment": "  "}, "expected a comment"),
        ({"action": "delete"}, "'accept', 'correct', 'reject' or 'comment'"),
        ({"key": "1; DROP TABLE words"}, "valid UUID"),
        ({"cell_id": 0}, "greater than or equal to 1"),
        ({"cell_id": 2**40}, "less than or equal to"),
        ({"comment": "x" * 2001}, "at most 2000"),
        ({"fov_id": "x" * 256}, "at most 255"),
        ({"admin": True}, "Extra inputs"),
        ({"who": " \t "}, "expected a name"),
        ({"who": "a\x00b"}, "expected a name"),
        ({"who": "x" * 61}, "at most 60"),
    ],
)
def test_what_makes_no_sense_is_refused(changes, told):
    with pytest.raises(ValidationError, match=told):
        SaidWord.model_validate(word(**changes))


def test_good_words_pass():
    assert SaidWord.model_validate(word()).locations == (1, 2)
    said = SaidWord.model_validate(word(action="reject", locations=None, comment="<b>"))
    assert said.comment == "<b>"


def test_spellings_of_a_name_are_one_name():
    names = TypeAdapter(Who)
    spellings = [" Zoë  Q ", "Zoe\u0308 Q", "Zo\u00eb\tQ"]
    assert {names.validate_python(name) for name in spellings} == {"Zo\u00eb Q"}

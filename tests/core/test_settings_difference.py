"""What differs between two sets of settings, in words."""

from hpacells.core.settings_difference import describe_difference


def test_only_what_differs_is_named_with_both_values():
    found = {"a": 1, "measure": {"border": "keep", "least": 40.0}, "z": [1, 2]}
    wanted = {"a": 1, "measure": {"border": "flag", "least": 40.0}, "z": (1, 3)}
    assert describe_difference(found, wanted) == (
        "measure.border (there keep, asked for flag); z (there [1, 2], asked for [1, 3])"
    )


def test_equal_settings_do_not_differ_whatever_json_makes_of_them():
    assert describe_difference({"a": [1, {"b": None}]}, {"a": (1, {"b": None})}) == ""


def test_what_only_one_of_them_has_is_nothing_in_the_other():
    assert describe_difference({"a": {"x": 1}}, {"a": None, "b": 2}) == (
        "a (there {'x': 1}, asked for None); b (there nothing, asked for 2)"
    )

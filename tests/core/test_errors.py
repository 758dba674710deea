import inspect
import re

from hpacells.core import errors


def test_every_error_is_public_and_grows_on_one_tree():
    classes = {name: item for name, item in vars(errors).items() if inspect.isclass(item)}
    assert sorted(classes) == sorted(errors.__all__)
    assert all(issubclass(item, errors.HpacellsError) for item in classes.values())


def test_the_tree_in_the_docstring_is_the_real_one():
    drawn = re.findall(r"^([ │├└─]*)(\w+Error) {2,}", errors.__doc__, re.MULTILINE)
    above = {}
    for indent, name in drawn:
        above[len(indent)] = name
        parent = getattr(errors, name).__bases__[0].__name__
        assert parent == above.get(len(indent) - 4, "Exception")
    assert sorted(name for _, name in drawn) == sorted(errors.__all__)


def test_what_a_run_passes_over_is_told_apart_from_what_stops_it():
    assert issubclass(errors.ImageError, errors.InputError)
    for stops in (errors.PixelSizeError, errors.TableError, errors.ConfigError):
        assert not issubclass(stops, errors.ImageError)
    assert not issubclass(errors.OutputError, errors.InputError)

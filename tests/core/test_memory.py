import ctypes
import sys

import pytest

from hpacells.core.memory import keeping_freed_memory


class Library:
    """Stands in for a C library and notes what it is told."""

    def __init__(self):
        self.told = []

    def mallopt(self, *setting):
        self.told.append(setting)

    def malloc_trim(self, pad):
        self.told.append(("trim", pad))


def test_memory_is_kept_for_a_while_and_given_back_even_after_an_error(monkeypatch):
    library = Library()
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(ctypes, "CDLL", lambda _: library)

    def fail():
        with keeping_freed_memory():
            assert dict(library.told) == {-8: 1, -3: 2**25, -1: 2**30}
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert library.told[3:] == [(-1, 2**17), ("trim", 0)]


@pytest.mark.parametrize("platform", ["linux", "darwin", "win32"])
def test_another_c_library_is_left_alone(monkeypatch, platform):
    monkeypatch.setattr(sys, "platform", platform)
    monkeypatch.setattr(ctypes, "CDLL", lambda _: object())
    with keeping_freed_memory():
        pass


def test_it_works_on_this_machine():
    with keeping_freed_memory():
        assert sum(bytearray(b"\1" * 2**20)) == 2**20

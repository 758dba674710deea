import threading
import time

import pytest

from hpacells.predict.flow import Stopped, StopSignal, side_by_side


@pytest.mark.parametrize("workers", [1, 3])
def test_every_item_comes_once_and_no_more_than_workers_are_in_flight(workers):
    lock, now, most = threading.Lock(), 0, 0

    def square(i):
        nonlocal now, most
        with lock:
            now += 1
            most = max(most, now)
        time.sleep(0.005)
        with lock:
            now -= 1
        return i * i

    items = list(range(12))
    results = dict(side_by_side(square, items, workers=workers, stop=StopSignal()))
    assert results == {i: i * i for i in items}
    assert most <= workers


def test_no_item_is_no_work():
    assert list(side_by_side(str, [], workers=2, stop=StopSignal())) == []


def test_an_error_begins_no_further_item_and_stops_those_in_flight():
    stop, begun, stopped = StopSignal(), [], []

    def work(i):
        begun.append(i)
        if i == 0:
            raise OSError("full")
        try:
            for _ in range(1000):
                time.sleep(0.002)
                stop.check()
        except Stopped:
            stopped.append(i)
            raise

    with pytest.raises(OSError, match="full"):
        list(side_by_side(work, range(50), workers=3, stop=stop))
    assert sorted(begun) == [0, 1, 2]
    assert sorted(stopped) == [1, 2]


def test_leaving_early_stops_the_work():
    stop = StopSignal()
    flow = side_by_side(str, range(50), workers=1, stop=stop)
    next(flow)
    flow.close()
    with pytest.raises(Stopped):
        stop.check()

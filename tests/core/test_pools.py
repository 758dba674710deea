import importlib
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import cv2
import psutil
import pytest

from hpacells.core.errors import WorkerError
from hpacells.core.pools import in_order, keep_in_flight, over_processes

WORK = """
import os, time
import cv2

def square(number):
    return number * number, os.getpid(), cv2.getNumThreads()

def fail_on_three(number):
    if number == 3:
        raise ValueError("three")
    return number

def die_on_three(number):
    if number == 3:
        os.kill(os.getpid(), 9)
    return number

def write_slowly(path):
    time.sleep(0.3)
    path.write_text("done", encoding="utf-8")

def say_who_and_wait(folder):
    (folder / str(os.getpid())).touch()
    time.sleep(600)
"""

PARENT = """
import sys
from pathlib import Path
import pool_work
from hpacells.core.pools import over_processes

if __name__ == "__main__":
    list(over_processes(pool_work.say_who_and_wait, [Path(sys.argv[1])] * 4, workers=2))
"""


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    """A module that spawned processes can import, as they cannot import a test."""
    folder = tmp_path_factory.mktemp("work")
    (folder / "pool_work.py").write_text(WORK, encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(folder)
        yield importlib.import_module("pool_work")


@pytest.mark.parametrize("workers", [1, 2])
def test_every_item_comes_once_with_its_own_result(workers, work):
    results = dict(over_processes(work.square, list(range(7)), workers=workers))
    assert {item: result[0] for item, result in results.items()} == {i: i * i for i in range(7)}
    pids = {result[1] for result in results.values()}
    assert (os.getpid() in pids) == (workers == 1)
    assert {result[2] for result in results.values()} == {1}


def test_work_in_this_process_gives_its_threads_back(work):
    before = cv2.getNumThreads()
    cv2.setNumThreads(3)
    try:
        for _, result in over_processes(work.square, [1, 2], workers=1):
            assert (result[2], cv2.getNumThreads()) == (1, 3)
        with pytest.raises(ValueError, match="three"):
            list(over_processes(work.fail_on_three, [3], workers=1))
        assert cv2.getNumThreads() == 3
    finally:
        cv2.setNumThreads(before)


def test_nothing_to_do_and_one_item_start_no_process(work):
    assert list(over_processes(work.square, [], workers=2)) == []
    [(item, result)] = over_processes(work.square, [5], workers=2)
    assert (item, result[:2]) == (5, (25, os.getpid()))


@pytest.mark.parametrize("workers", [1, 2])
def test_what_the_work_raises_is_raised_here(workers, work):
    with pytest.raises(ValueError, match="three"):
        list(over_processes(work.fail_on_three, [1, 2, 3, 4], workers=workers))


def test_left_early_what_is_under_way_is_finished_and_the_rest_not_begun(tmp_path, work):
    # a lock is given back after this: nobody may write any more
    paths = [tmp_path / f"{i}.txt" for i in range(40)]
    with closing(over_processes(work.write_slowly, paths, workers=2)) as results:
        next(results)
    written = len(list(tmp_path.iterdir()))
    assert 1 <= written <= 8
    time.sleep(0.5)
    assert len(list(tmp_path.iterdir())) == written


def test_no_more_than_the_limit_are_under_way():
    begun, seen = [], []

    with ThreadPoolExecutor(1) as pool:

        def submit(item):
            begun.append(item)
            return pool.submit(lambda: item)

        for item, _ in keep_in_flight(submit, list(range(9)), limit=3):
            seen.append(item)
            assert len(begun) - len(seen) < 3
    assert sorted(seen) == list(range(9))


def test_results_come_in_the_order_of_their_items_worked_out_a_little_ahead():
    begun = []

    def work(item):
        begun.append(item)
        time.sleep(0.02 if item == 0 else 0)
        return -item

    results = in_order(work, iter(range(20)), threads=2, name="test")
    assert next(results) == 0
    assert max(begun) <= 2  # one looked at, two ready
    assert list(results) == [-item for item in range(1, 20)]
    assert list(in_order(work, [], threads=2, name="test")) == []


def test_what_work_in_order_raises_is_raised_in_its_place():
    results = in_order(lambda item: 1 / item, [1, 0, 1], threads=2, name="test")
    assert next(results) == 1
    with pytest.raises(ZeroDivisionError):
        next(results)


def test_a_worker_that_dies_is_told_and_finished_work_was_given(work):
    given = []
    with pytest.raises(WorkerError, match=r"one of 2 worker processes died.*run the same command"):
        given.extend(over_processes(work.die_on_three, range(12), workers=2))
    assert all(number == result != 3 for number, result in given)


def test_workers_end_when_the_process_that_started_them_is_killed(tmp_path, work):
    said = tmp_path / "said"
    said.mkdir()
    script = Path(work.__file__).with_name("parent.py")
    script.write_text(PARENT, encoding="utf-8")
    with subprocess.Popen([sys.executable, script, said]) as parent:
        try:
            until(lambda: len(list(said.iterdir())) == 2)
        finally:
            parent.kill()
    workers = [int(path.name) for path in said.iterdir()]
    assert len(workers) == 2
    until(lambda: not any(psutil.pid_exists(pid) for pid in workers))


def until(true, seconds=60):
    """Wait for something, in vain only so long."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end
        time.sleep(0.05)

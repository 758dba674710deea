"""What a user without a terminal reads of long work."""

import re

from hpacells.cli import progress


def _lines(monkeypatch, capsys, counts, total):
    clock = iter(range(0, 10_000, 20))
    monkeypatch.setattr(progress.time, "monotonic", lambda: float(next(clock)))
    with progress.show_progress("train", "steps") as update:
        for done in counts:
            update(done, total, "loss 0.1")
    return capsys.readouterr().err.splitlines()


def test_plain_lines_name_count_rate_and_rest(monkeypatch, capsys):
    lines = _lines(monkeypatch, capsys, [1, 2, 3], 3)
    assert len(lines) == 3
    assert re.fullmatch(r"train: 3/3 steps, 0\.\d+/s, 0 s left \(loss 0\.1\)", lines[-1]), lines[-1]


def test_a_continued_job_counts_only_its_own_work(monkeypatch, capsys):
    # continued at step 3520 it once claimed 102 steps a second and 22 s left
    lines = _lines(monkeypatch, capsys, [3520, 3521], 5796)
    rate = float(re.search(r"([\d.]+)/s", lines[-1])[1])
    assert rate < 1


def test_nothing_done_yet_has_no_rate(monkeypatch, capsys):
    assert "0.00/s" in _lines(monkeypatch, capsys, [0], 5)[0]


def test_the_rate_begins_anew_where_a_count_falls(monkeypatch):
    """The second fold's first step was divided by the time of the whole first fold."""
    now = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    rate_of = progress._measure_rate()
    for done in range(1, 101):
        now[0] += 1
        rate = rate_of(done)
    assert rate == 1.0
    now[0] += 1
    rate_of(1)
    now[0] += 2
    assert rate_of(5) == 2.5

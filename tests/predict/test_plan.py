import pytest

from hpacells.core.errors import ConfigError
from hpacells.predict import plan as plan_module
from hpacells.predict.plan import MEMORY_PER_FIELD, ExecutionPlan, plan_execution


@pytest.fixture
def machine(monkeypatch):
    """Sets the machine's cores and free fields' worth of memory."""

    def be(*, cores, room):
        memory = type("Memory", (), {"available": room * MEMORY_PER_FIELD})
        monkeypatch.setattr(plan_module, "count_cores", lambda: cores)
        monkeypatch.setattr(plan_module.psutil, "virtual_memory", lambda: memory)

    return be


@pytest.mark.parametrize(
    ("cores", "room", "n_fields", "expected"),
    [(8, 99, 100, (8, 1)), (8, 99, 3, (3, 2)), (8, 2, 100, (2, 4)), (2, 0, 9, (1, 2))],
)
def test_fields_come_first_then_threads_take_the_idle_cores(
    machine, cores, room, n_fields, expected
):
    machine(cores=cores, room=room)
    plan = plan_execution(n_fields)
    assert (plan.workers, plan.threads) == expected


def test_what_is_given_is_taken(machine):
    machine(cores=2, room=1)
    assert plan_execution(1, workers=5, threads=3) == ExecutionPlan(5, 3)
    assert plan_execution(1, threads=3) == ExecutionPlan(1, 3)
    assert "5 worker(s) of 3 thread(s)" in str(ExecutionPlan(5, 3))


@pytest.mark.parametrize("name", ["workers", "threads"])
@pytest.mark.parametrize("number", [0, -1, 257])
def test_numbers_out_of_range_are_refused(name, number):
    with pytest.raises(ConfigError, match=f"--{name}: expected 1 to 256, got {number}"):
        plan_execution(3, **{name: number})


def test_this_machine_has_cores():
    plan = plan_execution(1000)
    assert plan.workers >= 1
    assert plan.threads >= 1

"""Ray: the tables of one process, also when a node is killed; and addresses where nothing is."""

import json
import pickle
import shutil
import socket
import subprocess
import sys
import time

import psutil
import pytest

from hpacells.core.channels import CHANNELS
from hpacells.core.errors import (
    ConfigError,
    InputError,
    MissingExtraError,
    ModelError,
    OutputError,
)
from hpacells.core.threads import library_threads
from hpacells.images.discover import discover_fields
from hpacells.predict import ray_cluster
from hpacells.predict.config import RunSettings
from hpacells.predict.engine import open_remote_work
from hpacells.predict.plan import MEMORY_PER_FIELD, ExecutionPlan, plan_execution
from hpacells.predict.ray_cluster import (
    NodeRoom,
    RayCluster,
    WorkerNeeds,
    connected_cluster,
)

TABLES = (
    *("cells.parquet", "fields.parquet", "embeddings.parquet", "terms.parquet"),
    "submission.csv",
)
N_FIELDS = 40
PATIENCE_S = 300


@pytest.fixture
def tiny_model_folder(model_with_terms):
    """The runs of this file write ``terms.parquet`` too."""
    return model_with_terms


def read_tables(out):
    masks = {path.name: path.read_bytes() for path in (out / "masks").iterdir()}
    return {**{name: (out / name).read_bytes() for name in TABLES}, **masks}


def wait_until(condition, process):
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert process.poll() is None, "the run ended before"
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.1)


def has_worker(node):
    (raylet,) = node.all_processes["raylet"]
    children = psutil.Process(raylet.process.pid).children(recursive=True)
    return any("MapWorker" in " ".join(child.cmdline()) for child in children)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # Ray's own
def test_a_node_killed_mid_run_leaves_the_tables_of_one_process(
    run, tmp_path, write_quadruplet, tiny_model_folder
):
    cluster_utils = pytest.importorskip("ray.cluster_utils")
    images, out = tmp_path / "many", tmp_path / "over_ray"
    for i in range(8):
        write_quadruplet(images, f"f{i:02d}", seed=i, pixel_size_um=0.32)
    for i in range(8, N_FIELDS):
        for channel in CHANNELS:
            source = images / f"f{i % 8:02d}_{channel.value}.png"
            shutil.copy(source, images / f"f{i:02d}_{channel.value}.png")
    (images / "f03_red.png").write_bytes(b"not an image")
    options = {"images": str(images), "pixel_size_um": 0.32}
    whole = read_tables(run(out=tmp_path / "whole", workers=2, **options).out)
    room = {"num_cpus": 1, "memory": 2 * 2**30, "object_store_memory": 10**8}
    cluster = cluster_utils.Cluster(initialize_head=True, head_node_args=room)
    try:
        doomed = cluster.add_node(**room)
        command = [sys.executable, "-m", "hpacells", "run", str(images), str(out)]
        command += ["--model", str(tiny_model_folder), "--pixel-size-um", "0.32"]
        command += ["--engine", "ray", "--address", cluster.address]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        parts = out / "parts"
        wait_until(lambda: has_worker(doomed) and len(list(parts.glob("*.field.*"))) > 2, process)
        cluster.remove_node(doomed, allow_graceful=False)
        assert len(list(parts.glob("*.field.*"))) < N_FIELDS - 1
        told, _ = process.communicate(timeout=PATIENCE_S)
    finally:
        cluster.shutdown()
    assert process.returncode == 1
    assert "of 2 node(s), 2 CPU(s), 2 worker(s) of 1 thread(s)" in told
    assert f"{N_FIELDS} fields: {N_FIELDS - 1} done, 1 failed." in told
    assert read_tables(out) == whole


def test_an_address_where_nothing_answers_is_refused_at_once(monkeypatch):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    begun = time.monotonic()
    with (
        pytest.raises(ConfigError, match=f"127.0.0.1:{port}: nothing answers there.*'ray status'"),
        connected_cluster(f"127.0.0.1:{port}", cores=1),
    ):
        pass
    assert time.monotonic() - begun < 20


@pytest.mark.parametrize("address", ["nonsense", "host:", "host:99999999", "ray://"])
def test_what_is_no_address_is_refused(address):
    with (
        pytest.raises(ConfigError, match="expected host:port or auto"),
        connected_cluster(address, cores=1),
    ):
        pass


def test_without_ray_the_extra_is_named(monkeypatch):
    monkeypatch.setattr(ray_cluster, "find_spec", lambda name: None)
    with (
        pytest.raises(MissingExtraError, match=r"package ray, .*'\.\[ray\]'"),
        connected_cluster(None, cores=1),
    ):
        pass


def test_the_plan_for_a_cluster_takes_what_its_nodes_have_room_for_and_says_so():
    big, small = NodeRoom(16, 64 * 2**30), NodeRoom(8, 3 * MEMORY_PER_FIELD)
    cluster = RayCluster("host:6379", (big, small, NodeRoom(0, 0)))
    assert plan_execution(1000, cluster=cluster).workers == 16 + 3
    assert plan_execution(5, cluster=cluster).workers == 5
    plan = plan_execution(1000, threads=4, cluster=cluster)
    assert plan.workers == 4 + 2
    assert plan.worker_needs() == WorkerNeeds(4, MEMORY_PER_FIELD)
    assert "Ray cluster host:6379 of 3 node(s), 24 CPU(s), 6 worker(s) of 4" in str(plan)
    assert plan.describe()["plan"] == {"workers": 6, "threads": 4, "engine": "ray", "nodes": 3}
    assert "engine" not in ExecutionPlan(1, 1).describe()["plan"]


def test_little_memory_still_makes_room_for_one_worker():
    plan = plan_execution(9, cluster=RayCluster("local", (NodeRoom(4, 1000),)))
    assert (plan.workers, plan.worker_needs().memory) == (1, 1000)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"threads": 17}, "at most the 16 CPU"),
        ({"threads": 0}, "got 0"),
        ({"workers": 0}, "--workers: expected 1 to 256, got 0"),
    ],
)
def test_a_plan_that_no_node_can_follow_is_refused(options, told):
    cluster = RayCluster("host:6379", (NodeRoom(16, 64 * 2**30),))
    with pytest.raises(ConfigError, match=told):
        plan_execution(9, cluster=cluster, **options)


@pytest.mark.filterwarnings("ignore")  # Ray's own
def test_where_no_cluster_runs_auto_is_refused(monkeypatch, tmp_path):
    pytest.importorskip("ray")
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))
    with (
        pytest.raises(ConfigError, match="--address auto: no Ray cluster that can be used"),
        connected_cluster("auto", cores=1),
    ):
        pass


def test_a_node_that_lacks_something_stops_the_run(
    run, images, tmp_path, make_model_folder, tiny_model_folder
):
    out = run().out
    described = json.loads((out / "settings.json").read_text())
    settings = RunSettings(images=str(images), model=str(tiny_model_folder), pixel_size_um=0.64)
    records = discover_fields(images, pixel_size_um=0.64)

    def open_on_node(out=out, **changes):
        changed = settings.model_copy(update=changes)
        return open_remote_work(changed, described, out=out, threads=1)

    with library_threads():  # a node's worker keeps them limited
        assert open_on_node()(records[0]) is None  # it is finished, and not done again
        with pytest.raises(InputError, match=r"elsewhere: node \S+ does not see it"):
            open_on_node(images=str(tmp_path / "elsewhere"))
        with pytest.raises(OutputError, match=r"elsewhere: node \S+ does not see this run folder"):
            open_on_node(out=tmp_path / "elsewhere")
        with pytest.raises(
            ModelError, match=r"node \S+ would work with another model_id .*other-1"
        ):
            open_on_node(model=str(make_model_folder("other", seed=2)))


def test_a_worker_tells_errors_that_are_meant_for_people_as_they_are():
    def refuse(item):
        raise OutputError(f"no room for {item}")

    worker = ray_cluster._Worker(lambda: refuse)
    told = worker({"index": 3, "item": pickle.dumps("x")})
    result, error = pickle.loads(told["result"])  # noqa: S301
    assert (told["index"], result, str(error)) == (3, None, "no room for x")
    worker = ray_cluster._Worker(lambda: str.upper)
    told = worker({"index": 0, "item": pickle.dumps("x")})
    assert pickle.loads(told["result"]) == ("X", None)  # noqa: S301

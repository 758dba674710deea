"""``hpacells run`` from and to an S3 server (moto's): the tables of a run on this machine."""

import json
import shutil

import pyarrow.parquet as pq
import pytest

from hpacells.cli.app import main

boto3 = pytest.importorskip("boto3")
moto_server = pytest.importorskip("moto.server")
s3fs = pytest.importorskip("s3fs")

pytestmark = pytest.mark.filterwarnings("ignore")  # those of the server and its client

SCALE = ["--pixel-size-um", "0.64"]
TABLES = ("cells.parquet", "fields.parquet", "embeddings.parquet", "submission.csv")


def run_main(*arguments):
    with pytest.raises(SystemExit) as stop:
        main([str(argument) for argument in arguments])
    return stop.value.code


@pytest.fixture(scope="module")
def server():
    server = moto_server.ThreadedMotoServer(port=0, verbose=False)
    server.start()
    yield "http://{}:{}".format(*server.get_host_and_port())
    server.stop()


@pytest.fixture
def bucket(server, monkeypatch, request):
    """A new bucket on the server, and this process's credentials for it."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setenv("AWS_ENDPOINT_URL", server)
    name = request.node.name.replace("_", "-")[:60].strip("-")
    s3fs.S3FileSystem.clear_instance_cache()
    bucket = boto3.resource("s3").Bucket(name)
    bucket.create()
    return bucket


@pytest.fixture
def images(tmp_path, write_quadruplet):
    folder = tmp_path / "dataset" / "train"
    for seed, fov_id in enumerate("abc"):
        write_quadruplet(folder, fov_id, seed=seed, shape=(150, 200), pixel_size_um=0.64)
    (folder / "b_blue.png").write_bytes(b"not an image")
    (tmp_path / "dataset" / "train.csv").write_text("ID,Label,gene\na,7|1,ABC1\n")
    return tmp_path / "dataset"


def put(bucket, folder, prefix):
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            bucket.upload_file(str(path), f"{prefix}/{path.relative_to(folder)}")


def stamps(bucket):
    items = bucket.objects.filter(Prefix="runs")
    return {item.key: item.last_modified for item in items if not item.key.endswith(".lock")}


def test_run_from_and_to_s3(bucket, images, tmp_path, tiny_model_folder, capsys):
    put(bucket, images, "dataset")
    options = ["--model", tiny_model_folder, *SCALE]
    assert run_main("run", images, tmp_path / "out", *options) == 1
    url = f"s3://{bucket.name}"
    assert run_main("run", f"{url}/dataset", f"{url}/runs/out", *options) == 1
    told = capsys.readouterr()
    assert f"open {url}/runs/out/report.html" in told.out
    assert "failed: b: " in told.err
    found = {item.key.removeprefix("runs/out/") for item in bucket.objects.filter(Prefix="runs")}
    here = tmp_path / "out"
    made = {str(path.relative_to(here)) for path in here.rglob("*") if path.is_file()}
    assert found == made
    for name in sorted(found):
        bucket.download_file(f"runs/out/{name}", str(tmp_path / "fetched"))
        content = (tmp_path / "fetched").read_bytes()
        if name == "fields.parquet":  # a failed field's reason names its file
            tables = [pq.read_table(p).drop("reason") for p in (tmp_path / "fetched", here / name)]
            assert tables[0].equals(tables[1])
        elif name.endswith((".parquet", ".png", ".csv")):
            assert content == (here / name).read_bytes(), name
    # asked again: the failed field alone is tried
    before = stamps(bucket)
    assert run_main("run", f"{url}/dataset", f"{url}/runs/out", *options) == 1
    assert "nothing to do" in capsys.readouterr().out
    assert before == stamps(bucket)
    # repaired, it is added; of other settings, it is refused
    shutil.copy(images / "train" / "a_blue.png", images / "train" / "b_blue.png")
    put(bucket, images, "dataset")
    assert run_main("run", f"{url}/dataset", f"{url}/runs/out", *options) == 0
    assert "3 fields: 3 done" in capsys.readouterr().out
    assert run_main("run", f"{url}/dataset", f"{url}/runs/out", *options, "--border", "keep") == 2
    assert "holds a run of another measure_settings.border" in capsys.readouterr().err


def test_shards_on_s3_are_merged(bucket, images, tmp_path, tiny_model_folder, capsys):
    options = ["--model", tiny_model_folder, *SCALE]
    run_main("run", images, tmp_path / "whole", *options)
    url = f"s3://{bucket.name}"
    for i in (1, 2):
        run_main("run", images, f"{url}/s{i}", *options, "--shard", f"{i}/2")
    assert run_main("merge", f"{url}/s1", f"{url}/s2", tmp_path / "out") == 1, capsys.readouterr()
    for name in TABLES:
        assert (tmp_path / "out" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    assert run_main("merge", f"{url}/s1", f"{url}/s2", f"{url}/merged") == 1
    run = json.loads(bucket.Object("merged/run.json").get()["Body"].read())
    assert run["counts"]["done"] == 2
    assert "shards" not in run


def test_a_url_without_credentials_is_refused(bucket, tmp_path, monkeypatch, capsys):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("HOME", str(tmp_path))
    s3fs.S3FileSystem.clear_instance_cache()
    assert run_main("run", f"s3://{bucket.name}/images", tmp_path / "out") == 2
    told = capsys.readouterr().err
    assert "cannot be opened" in told
    assert "credentials" in told
    assert not (tmp_path / "out").exists()


def test_a_bucket_that_is_not_there_is_refused(bucket, images, tiny_model_folder, capsys):
    options = ["--model", tiny_model_folder, *SCALE]
    assert run_main("run", images, "s3://no-such-bucket-here/out", *options) == 2
    assert "no-such-bucket-here" in capsys.readouterr().err
    assert run_main("run", "s3://no-such-bucket-here/images", images / "out", *options) == 2
    assert "no such file or folder" in capsys.readouterr().err

"""The downloader against a server on this machine with answers of the real shape."""

import gzip
import hashlib
import json
import threading
import time
from collections import Counter

import numpy as np
import pytest
from atlas_server import FakeAtlas, composite_url, encode_tif, entry_xml, serving

from hpacells.core.errors import InputError, OutputError
from hpacells.images import decode
from hpacells.images.discover import discover_fields
from hpacells.images.download import dataset
from hpacells.images.download.client import AbsentError, AtlasClient, FetchError
from hpacells.images.download.dataset import download_fields
from hpacells.images.download.pace import Pace, StoppedError
from hpacells.images.download.selection import find_genes
from hpacells.images.download.site import mirror_site
from hpacells.images.download.table import FieldTable
from hpacells.images.read import read_field

GENES = ["ENSG00000000001", "ENSG00000000002"]
STEMS = ["1_A1_1", "1_A1_2", "2_B2_1_cr5b3a9c"]
FILES = [f"/7/{stem}_{c}.jpg" for stem in STEMS for c in ("red", "green", "blue", "yellow")]


@pytest.fixture
def server():
    with serving() as running:
        yield running


@pytest.fixture
def atlas(server):
    """Two genes: two fields of the first, one of the second."""
    for seed, stem in enumerate(STEMS):
        server.add_field(7, stem, seed=seed)
    for gene, stems, terms in (
        (GENES[0], STEMS[:2], ["Nucleoplasm", "Midbody"]),
        (GENES[1], STEMS[2:], ["Vesicles"]),
    ):
        urls = [composite_url(7, stem) for stem in stems]
        lines = [("U-2 OS", terms, urls)]
        server.files[f"/{gene}.xml"] = entry_xml(gene, f"N{gene[-1]}", [("HPA000007", lines)])
    server.genes = [
        {"Gene": "N1", "Ensembl": GENES[0], "Antibody": ["HPA000007", "CAB1"]},
        {"Gene": "N12", "Ensembl": GENES[1], "Antibody": "HPA000007, CAB2"},
    ]
    return server


def client_of(server: FakeAtlas, **options) -> AtlasClient:
    options = {"attempts": 4, "timeout_s": 2.0, **options}
    return AtlasClient(mirror_site(server.url), Pace(10_000, backoff_s=0.001), **options)


def download(server, out, *, genes=GENES, kind="jpg", limit=None, antibodies=(), **options):
    table = FieldTable(frozenset(antibodies), limit)
    return download_fields(genes, table, out, client=client_of(server, **options), kind=kind)


def fetch(server, path="/x", **options):
    options = {"max_bytes": 100_000, "check": lambda content: None, **options}
    with_client = client_of(server, **options.pop("client", {}))
    return with_client.fetch(server.url + path, **options)


def test_a_dataset_folder_that_reads_back(atlas, tmp_path):
    out = tmp_path / "out"
    summary = download(atlas, out)
    assert (summary.fields, summary.complete, summary.fetched, summary.failed) == (3, 3, 12, {})
    records = discover_fields(out)
    assert [(r.fov_id, r.image_locations, r.gene, r.antibody, r.cell_line) for r in records] == [
        ("1_A1_1", (0,), GENES[0], "HPA000007", "U-2 OS"),
        ("1_A1_2", (0,), GENES[0], "HPA000007", "U-2 OS"),
        ("2_B2_1_cr5b3a9c", (17,), GENES[1], "HPA000007", "U-2 OS"),
    ]
    assert {r.pixel_size_um for r in records} == {0.08}
    assert read_field(records[2]).pixels.shape == (4, 48, 64)
    for path in FILES:
        assert (out / "train" / path.rpartition("/")[2]).read_bytes() == atlas.files[path]
    sums = (out / "SHA256SUMS").read_text().splitlines()
    assert len(sums) == 12
    for line in sums:
        digest, name = line.split("  ")
        assert hashlib.sha256((out / name).read_bytes()).hexdigest() == digest
    assert "CC BY-SA" in (out / "ATTRIBUTION.md").read_text()
    assert (
        (out / "train.csv").read_text().splitlines()[1].startswith("1_A1_1,0,ENSG00000000001,N1,")
    )
    assert ",supported,Nucleoplasm;Midbody,0.08" in (out / "train.csv").read_text()
    assert all(agent.startswith("hpacells/") for agent in atlas.agents)


def test_a_second_run_fetches_nothing_not_even_entries(atlas, tmp_path):
    atlas.absent = {FILES[0], f"/{GENES[1]}.xml"}
    first = download(atlas, tmp_path)
    written = {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()}
    atlas.asked.clear()
    second = download(atlas, tmp_path)
    assert not atlas.asked
    assert (first.fetched, first.absent, first.complete) == (7, 1, 1)
    assert (second.fetched, second.kept, second.absent, second.complete) == (0, 7, 1, 1)
    assert len(first.missing) == len(second.missing) == 2
    for path, content in written.items():
        if path.name not in {"download.json", "failures.csv"}:
            assert path.read_bytes() == content, path
    assert "1_A1_1_red.jpg" in (tmp_path / "failures.csv").read_text()


def test_more_genes_into_the_same_folder(atlas, tmp_path):
    assert download(atlas, tmp_path, genes=GENES[:1]).fetched == 8
    assert download(atlas, tmp_path, genes=GENES[1:]).fetched == 4
    assert len(discover_fields(tmp_path)) == 3
    assert len((tmp_path / "train.csv").read_text().splitlines()) == 4


@pytest.mark.parametrize(
    "trouble",
    [
        "429",
        "500",
        "502",
        "503",
        "truncated",
        "cut",
        "reset",
        "redirect",
        "slow",
        "page",
        "damaged",
    ],
)
def test_troubles_that_pass(atlas, tmp_path, trouble):
    for path in (*FILES[::3], f"/{GENES[0]}.xml"):
        atlas.troubles[path] = [trouble, trouble]
    summary = download(atlas, tmp_path)
    assert (summary.complete, summary.fetched, summary.failed) == (3, 12, {})
    for path in FILES:
        assert (tmp_path / "train" / path.rpartition("/")[2]).read_bytes() == atlas.files[path]
    assert Counter({path: atlas.served[path] for path in FILES}) == Counter(FILES)


def test_what_does_not_pass_is_told_and_tried_again(atlas, tmp_path):
    atlas.troubles[FILES[0]] = ["500"] * 4
    atlas.troubles[FILES[5]] = ["truncated"] * 4
    atlas.troubles[f"/{GENES[1]}.xml"] = ["page"] * 4
    first = download(atlas, tmp_path)
    assert (first.fields, first.complete, first.fetched) == (2, 0, 6)
    assert {url.removeprefix(atlas.url) for url in first.failed} == {
        FILES[0],
        FILES[5],
        f"/{GENES[1]}.xml",
    }
    assert "4 attempts, the last: HTTP 500" in first.failed[atlas.url + FILES[0]]
    assert not list((tmp_path / "train").glob("*red.jpg*1_A1_1*"))
    second = download(atlas, tmp_path)
    assert (second.complete, second.fetched, second.kept, second.failed) == (3, 6, 6, {})


def test_a_killed_run_is_continued(atlas, tmp_path):
    download(atlas, tmp_path)
    notes = tmp_path / "atlas" / "files.jsonl"
    lines = notes.read_text().splitlines(keepends=True)
    notes.write_text("".join(lines[:-2]) + lines[-2][:20])  # one noted by half, one not at all
    one, two = (json.loads(lines[i])["name"] for i in (0, 1))
    (tmp_path / one).unlink()
    (tmp_path / two).write_bytes(b"cut off by a full disk")
    (tmp_path / "train" / ".1_A1_1_red.99.tmp.jpg").write_bytes(b"left over")
    (tmp_path / "train.csv").unlink()
    atlas.asked.clear()
    summary = download(atlas, tmp_path)
    assert (summary.fetched, summary.kept, summary.complete) == (2, 10, 3)
    assert set(atlas.asked) == {f"/7/{name.rpartition('/')[2]}" for name in (one, two)}
    assert len((tmp_path / "SHA256SUMS").read_text().splitlines()) == 12
    assert not list(tmp_path.rglob(".*.tmp*"))


def test_originals(server, tmp_path):
    server.add_field(7, "1_A1_1", seed=1, tif=True)
    lines = [("HeLa", ["Cytosol"], [composite_url(7, "1_A1_1")])]
    server.files[f"/{GENES[0]}.xml"] = entry_xml(GENES[0], "N", [("HPA000007", lines)])
    summary = download(server, tmp_path, genes=GENES[:1], kind="tif")
    assert summary.complete == 1
    (record,) = discover_fields(tmp_path)
    assert record.fov_id == "1_A1_1"
    assert read_field(record).pixels.dtype == np.uint16
    with pytest.raises(OutputError, match=r"holds \.tif\.gz files.*ask for --tif"):
        download(server, tmp_path, genes=GENES[:1])


def test_bombs_stop_at_their_limits(server, tmp_path, monkeypatch):
    monkeypatch.setattr(dataset, "_MAX_UNZIPPED_BYTES", 100_000)
    server.add_field(7, "1_A1_1", seed=1, tif=True)
    lines = [("HeLa", ["Cytosol"], [composite_url(7, "1_A1_1")])]
    server.files[f"/{GENES[0]}.xml"] = entry_xml(GENES[0], "N", [("HPA000007", lines)])
    server.files["/7/1_A1_1_red.tif.gz"] = gzip.compress(bytes(10_000_000))
    server.files["/7/1_A1_1_blue.tif.gz"] = encode_tif(np.zeros((20_001, 1), np.uint8))
    summary = download(server, tmp_path, genes=GENES[:1], kind="tif")
    reasons = {url.rpartition("_")[2]: reason for url, reason in summary.failed.items()}
    assert set(reasons) == {"red.tif.gz", "blue.tif.gz"}
    assert "unzips to more than" in reasons["red.tif.gz"]
    assert "expected sides of 1 to 20000" in reasons["blue.tif.gz"]
    assert len(list((tmp_path / "train").iterdir())) == 2


def test_only_some_antibodies_and_a_limit(atlas, tmp_path):
    assert download(atlas, tmp_path / "a", antibodies=["HPA000008"]).fields == 0
    assert download(atlas, tmp_path / "b", antibodies=["HPA000007"]).fields == 3
    assert download(atlas, tmp_path / "c", limit=2).fetched == 8
    assert [r.fov_id for r in discover_fields(tmp_path / "c")] == STEMS[:2]


def test_another_dataset_is_not_overwritten(atlas, tmp_path):
    (tmp_path / "train.csv").write_text("ID,Label\n")
    with pytest.raises(OutputError, match="is another dataset"):
        download(atlas, tmp_path)
    assert not atlas.asked


def test_without_a_network_it_gives_up_soon(tmp_path):
    with serving() as stopped:
        site = stopped
    genes = [f"ENSG{i:011}" for i in range(200)]
    started = time.monotonic()
    with pytest.raises(InputError, match=r"20th address in a row .*Check the network"):
        download(site, tmp_path, genes=genes, attempts=1)
    assert time.monotonic() - started < 20


def test_the_client_refuses_and_says_why(server):
    server.files["/x"] = bytes(1000)
    for troubles, message in (
        (["403"], "HTTP 403"),
        (["to https://evil.org/x"], r"leads to https://evil\.org/x, which is not an address"),
        (["to file:///etc/passwd"], "leads to file:"),
        (["to //evil.org/x"], r"leads to http://evil\.org/x"),
        (["to /x"] * 9, "redirected more than 3 times"),
        (["wait 7200"], "asks to wait 7200 s"),
        (["compressed"], "a compressed answer"),
    ):
        server.asked.clear()
        server.troubles["/x"] = list(troubles)
        with pytest.raises(FetchError, match=message):
            fetch(server)
        server.troubles["/x"] = []
        assert server.asked["/x"] <= 4
    with pytest.raises(FetchError, match=r"more than 0\.0005 MB"):
        fetch(server, max_bytes=500)
    with pytest.raises(AbsentError, match="HTTP 404"):
        fetch(server, "/nothing")
    assert server.asked["/nothing"] == 1
    with pytest.raises(FetchError, match="not an address of the atlas"):
        client_of(server).fetch("https://evil.org/", max_bytes=1, check=lambda content: None)


def test_content_that_is_refused_is_asked_for_again(server):
    server.files["/x"] = b"same"

    def check(content):
        raise InputError("not what was asked")

    with pytest.raises(FetchError, match="4 attempts, the last: not what was asked"):
        fetch(server, check=check)
    assert server.asked["/x"] == 4


def test_an_answer_that_drips_for_ever_is_given_up(server):
    server.files["/x"] = bytes(1000)
    server.troubles["/x"] = ["slow"]
    server.slow_s = 0.2
    assert fetch(server, client={"longest_s": 0.3}) == bytes(1000)  # the second attempt
    assert server.asked["/x"] == 2
    server.troubles["/x"] = ["slow"]
    server.slow_s = 1.0
    assert fetch(server, client={"timeout_s": 0.3}) == bytes(1000)
    assert server.asked["/x"] == 4


def test_retry_after_holds_every_thread(server):
    server.files |= {"/x": b"x", "/y": b"y"}
    server.troubles["/x"] = ["wait 1"]
    client = client_of(server)
    started = time.monotonic()
    check = {"max_bytes": 10, "check": lambda content: None}
    thread = threading.Thread(target=client.fetch, args=(server.url + "/x",), kwargs=check)
    thread.start()
    while not server.asked["/x"]:
        time.sleep(0.01)
    time.sleep(0.1)
    client.fetch(server.url + "/y", **check)
    assert time.monotonic() - started > 0.9
    thread.join()
    server.troubles["/x"] = ["wait nonsense"]
    assert client.fetch(server.url + "/x", **check) == b"x"


def test_the_rate_is_kept_by_all_threads_together():
    pace = Pace(50)
    started = time.monotonic()
    threads = [threading.Thread(target=pace.wait_turn) for _ in range(26)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert time.monotonic() - started >= 0.49


def test_waiting_ends_at_once_when_the_work_is_stopped(server):
    pace = Pace(0.01)
    pace.wait_turn()
    waiting = threading.Timer(0.1, pace.stop)
    waiting.start()
    started = time.monotonic()
    with pytest.raises(StoppedError):
        pace.wait_turn()
    assert time.monotonic() - started < 5
    with pytest.raises(StoppedError):
        pace.check()


def test_names_and_antibodies_are_looked_up(atlas):
    client = client_of(atlas)
    assert find_genes(["n1"], client) == (GENES[:1], {})  # N12 is found by the server, too
    assert find_genes(["HPA000007", GENES[1]], client) == (GENES, {})
    assert find_genes(["cab2"], client) == (GENES[1:], {})
    genes, unknown = find_genes(["N1", "NOPE"], client)
    assert genes == GENES[:1]
    assert unknown == {"NOPE": "the atlas has no such gene or antibody"}


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (b'{"no": "list"}', "expected a list"),
        (b"<html>", "expected JSON"),
        (b"[" * 100_000, "expected JSON"),
        (b'["text"]', "has no such gene"),
        (b'[{"Gene": null}]', "has no such gene"),
        (b'[{"Gene": "N1"}]', "has no such gene"),
        (b'[{"Gene": "N1", "Ensembl": "../x"}]', "has no such gene"),
    ],
)
def test_answers_of_the_search_of_another_shape(server, answer, reason):
    server.search_answer = answer
    genes, unknown = find_genes(["N1"], client_of(server))
    assert genes == []
    assert reason in unknown["N1"]


def test_the_reader_s_own_limit_stays(monkeypatch):
    monkeypatch.setattr(decode, "_MAX_UNZIPPED_BYTES", 10)
    from pathlib import Path  # noqa: PLC0415

    with pytest.raises(InputError, match="unzips to more"):
        decode.unzip(gzip.compress(bytes(11)), Path("a.tif.gz"))
    assert decode.unzip(gzip.compress(bytes(11)), Path("a.tif.gz"), max_bytes=11) == bytes(11)

"""The command as a user runs it, against a server on this machine."""

import json
import sys
from pathlib import Path

import pytest

from hpacells.cli.app import main

sys.path.insert(0, str(Path(__file__).parents[2] / "bench"))

from atlas_server import composite_url, entry_xml, serving

GENES = ["ENSG00000000001", "ENSG00000000002"]


@pytest.fixture
def server():
    with serving() as running:
        for number, gene in enumerate(GENES, 1):
            running.add_field(number, f"{number}_A1_1", seed=number)
            urls = [composite_url(number, f"{number}_A1_1")]
            lines = [("U-2 OS", ["Cytosol", "Cilium" if number == 2 else "Golgi apparatus"], urls)]
            xml = entry_xml(gene, f"N{number}", [(f"HPA00000{number}", lines)])
            running.files[f"/{gene}.xml"] = xml
            row = {"Gene": f"N{number}", "Ensembl": gene, "Antibody": [f"HPA00000{number}"]}
            running.genes.append(row)
        yield running


def run(*arguments):
    with pytest.raises(SystemExit) as ended:
        main(["download", *map(str, arguments)])
    return ended.value.code


def download(server, out, *arguments):
    return run(out, "--mirror", server.url, "--rate", 1000, *arguments)


def labels(out):
    rows = (out / "train.csv").read_text().splitlines()[1:]
    return [tuple(row.split(",")[:3]) for row in rows]


@pytest.mark.parametrize("words", ["n1,N2", ",".join(GENES)])
def test_genes_by_name_or_id_and_again(server, tmp_path, capsys, words):
    assert download(server, tmp_path / "out", "--genes", words) == 0
    assert labels(tmp_path / "out") == [("1_A1_1", "7|16", GENES[0]), ("2_A1_1", "16", GENES[1])]
    told = capsys.readouterr()
    assert "2 fields, 2 with all four stains: 8 files fetched" in told.out
    assert "Next: hpacells run" in told.out
    assert "unknown to hpacells: Cilium" in told.err
    assert "download: 8/8 files" in told.err
    assert download(server, tmp_path / "out", "--genes", words) == 0
    assert "nothing to fetch" in capsys.readouterr().out
    assert json.loads((tmp_path / "out" / "download.json").read_text())["counts"]["kept"] == 8


def test_the_atlas_s_table_and_a_limit(server, tmp_path):
    table = tmp_path / "subcellular_location.tsv"
    table.write_text("Gene\tGene name\n" + "".join(f"{gene}\tN\n" for gene in GENES[::-1]))
    assert download(server, tmp_path / "out", "--from", table, "--limit", 1) == 0
    assert labels(tmp_path / "out") == [("2_A1_1", "16", GENES[1])]


def test_antibodies(server, tmp_path, capsys):
    assert download(server, tmp_path / "out", "--antibodies", "HPA000002,HPA000099") == 1
    assert labels(tmp_path / "out") == [("2_A1_1", "16", GENES[1])]
    assert "not found: HPA000099: the atlas has no such" in capsys.readouterr().err


def test_what_failed_and_what_is_absent_is_listed_and_ends_with_1(server, tmp_path, capsys):
    server.absent.add("/1/1_A1_1_yellow.jpg")
    server.troubles["/2/2_A1_1_red.jpg"] = ["403"]
    assert download(server, tmp_path / "out", "--genes", "N1,N2") == 1
    told = capsys.readouterr()
    assert "absent: " in told.err
    assert "1_A1_1_yellow.jpg: HTTP 404" in told.err
    assert "2_A1_1_red.jpg: HTTP 403" in told.err
    assert "2 fields, 0 with all four stains: 6 files fetched" in told.out
    assert "Next" not in told.out
    assert (tmp_path / "out" / "failures.csv").read_text().count("http") == 2


def test_requests_that_cannot_be_carried_out(server, tmp_path, capsys):
    for arguments, message in (
        ([], "expected one of --genes, --from and --antibodies"),
        (["--genes", "N1", "--antibodies", "HPA000001"], "expected one of"),
        (["--genes", "NOPE"], "none of these genes or antibodies was found"),
        (["--genes", "../x"], "expected ids or names"),
        (["--from", tmp_path / "nowhere.tsv"], "cannot be read"),
        (["--genes", "N1", "--limit", 0], "--limit"),
    ):
        assert download(server, tmp_path / "out", *arguments) == 2
        assert message in capsys.readouterr().err
    assert run(tmp_path / "out", "--genes", "N1", "--mirror", "nonsense") == 2
    assert not (tmp_path / "out").exists()

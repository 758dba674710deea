"""``hpacells download`` from a local server on which 5 % of the files fail in each of 11 ways.

Ten ways pass (429, 500, 503, truncated, cut without a length, connection lost, redirect, slow, a
page instead of the image, a damaged image), one does not (404). Every file that exists must be
there, whole, and not have been fetched twice; a second run must fetch nothing.

    .venv/bin/python bench/download.py [--files 500] [--rate 200]
"""

import argparse
import hashlib
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from atlas_server import PASSING, FakeAtlas, composite_url, entry_xml, serving

from hpacells.core.storage import write_json

RESULT = Path(__file__).parent / "results" / "download.json"
SHARE = 0.05
FIELDS_PER_GENE = 5


def main() -> None:
    """Fill the server, download twice, compare."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--files", type=int, default=500)
    parser.add_argument("--rate", type=float, default=200.0)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    with serving() as server, tempfile.TemporaryDirectory() as folder:
        paths, genes = fill(server, options.files // 4)
        troubles = spoil(server, paths, np.random.default_rng(options.seed))
        out = Path(folder) / "atlas"
        started = time.perf_counter()
        first = download(server, out, genes, options.rate)
        seconds = time.perf_counter() - started
        files = {path: server.asked[path] for path in paths}
        found = judge(server, paths, out)
        server.asked.clear()
        second = download(server, out, genes, options.rate)
        again = sum(server.asked.values())
    result = {
        "files": len(paths),
        "troubles": troubles,
        **found,
        "requests for images": sum(files.values()),
        "requests of the second run": again,
        "seconds": round(seconds, 1),
        "exit codes": [first, second],
    }
    bad = ("existing files missing", "not whole", "absent ones there", "fetched twice")
    met = not any(result[name] for name in bad) and again == 0
    row = {
        "what": f"{len(paths)} files of a local server, 5 % with each of {len(troubles)} troubles",
        "asked": "all that exist, each whole, none twice; a second run fetches nothing",
        "measured": ", ".join(f"{name} {result[name]}" for name in ("exist", *bad))
        + f"; second run: {again} requests",
        "met": met,
    }
    write_json(RESULT, {"rows": [row], **result})
    print(json.dumps(result, indent=2))
    sys.exit(not met)


def fill(server: FakeAtlas, n_fields: int) -> tuple[list[str], list[str]]:
    """Put fields and the entries of their genes on the server."""
    paths, genes = [], []
    for first in range(0, n_fields, FIELDS_PER_GENE):
        gene, number = f"ENSG{first + 1:011}", first + 1
        stems = [f"{900 + first}_B{k + 1}_{k + 1}" for k in range(FIELDS_PER_GENE)]
        stems = stems[: n_fields - first]
        for k, stem in enumerate(stems):
            paths += server.add_field(number, stem, seed=first + k)
        urls = [composite_url(number, stem) for stem in stems]
        lines = [("U-2 OS", ["Nucleoplasm", "Cytosol"], urls)]
        xml = entry_xml(gene, f"GENE{first}", [(f"HPA{number:06}", lines)])
        server.files[f"/{gene}.xml"] = xml
        genes.append(gene)
    return paths, genes


def spoil(server: FakeAtlas, paths: list[str], rng: np.random.Generator) -> dict[str, int]:
    """Give 5 % of the files each trouble; a file may have several, one after the other."""
    n = round(SHARE * len(paths))
    server.absent = {paths[i] for i in rng.choice(len(paths), n, replace=False)}
    for trouble in PASSING:
        for i in rng.choice(len(paths), n, replace=False):
            server.troubles.setdefault(paths[i], []).append(trouble)
    return dict.fromkeys(("404", *PASSING), n)


def download(server: FakeAtlas, out: Path, genes: list[str], rate: float) -> int:
    """Run the command; give its exit code."""
    command = [sys.executable, "-m", "hpacells", "download", str(out), "--genes", ",".join(genes)]
    command += ["--mirror", server.url, "--rate", str(rate), "--workers", "8"]
    return subprocess.run(command, check=False).returncode


def judge(server: FakeAtlas, paths: list[str], out: Path) -> dict[str, int]:
    """Compare the folder with the server, byte for byte."""
    there = {path: out / "train" / Path(path).name for path in paths}
    exist = [path for path in paths if path not in server.absent]

    def is_whole(path: str) -> bool:
        got = hashlib.sha256(there[path].read_bytes()).digest()
        return got == hashlib.sha256(server.files[path]).digest()

    return {
        "exist": len(exist),
        "existing files missing": sum(not there[path].is_file() for path in exist),
        "not whole": sum(there[path].is_file() and not is_whole(path) for path in exist),
        "absent ones there": sum(there[path].exists() for path in server.absent),
        "fetched twice": sum(n > 1 for n in server.served.values()),
    }


if __name__ == "__main__":
    main()

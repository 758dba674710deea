"""The atlas's images of some genes as a dataset folder.

::

    OUT/train/<stem>_<colour>.jpg (or .tif.gz)   as fetched
    OUT/train.csv          fields with all four stains: ID, Label, gene, gene_name, antibody, …
    OUT/ATTRIBUTION.md     licence and source
    OUT/SHA256SUMS         for ``sha256sum -c``
    OUT/atlas/<gene>.json  what a gene's entry says of its images
    OUT/atlas/files.jsonl  what was fetched, or is absent
    OUT/failures.csv       what failed or is absent the last time, and why
    OUT/download.json      the settings and counts, written last

Asked again, what is there is not fetched, what the server said it does not have is not asked for,
and what failed is tried again. More genes may be asked for into the same folder.
"""

import csv
import json
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Literal

from hpacells.core.channels import CHANNELS
from hpacells.core.errors import InputError, OutputError
from hpacells.core.pools import keep_in_flight
from hpacells.core.progress import ProgressCallback, silent
from hpacells.core.provenance import sha256_bytes
from hpacells.core.storage import atomic_path, output_lock, remove_leftovers, write_json
from hpacells.images.decode import decode_image, unzip
from hpacells.images.download.client import AbsentError, AtlasClient, FetchError
from hpacells.images.download.entry import AtlasEntry, AtlasImage, parse_entry
from hpacells.images.download.ledger import FileNote, Ledger
from hpacells.images.download.notice import write_notice
from hpacells.images.download.table import FieldTable

__all__ = ["DownloadSummary", "download_fields"]

_SUFFIX = {"jpg": ".jpg", "tif": ".tif.gz"}
_MAX_BYTES = {"jpg": 50_000_000, "tif": 100_000_000}
_MAX_UNZIPPED_BYTES = 200_000_000
_MAX_ENTRY_BYTES = 200_000_000
_GIVE_UP_AFTER = 20


@dataclass
class DownloadSummary:
    """What a download did.

    Parameters
    ----------
    fields, complete
        Fields asked for, and those with all four stains.
    fetched, kept, absent
        Files fetched now, there before, and not on the server.
    failed
        Address to reason: to be tried again.
    missing
        Address to reason: the server has no such file or entry.
    refused
        Image addresses of entries that are not the atlas's, and fields that stand under two
        antibodies.
    without_location
        Fields passed over, for none of their terms has a class.
    unknown_terms
        Terms of the atlas that are neither merged nor known to have no class.
    failed_in_a_row
        Addresses that failed since the last one that did not.
    """

    fields: int = 0
    complete: int = 0
    fetched: int = 0
    kept: int = 0
    absent: int = 0
    failed: dict[str, str] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)
    refused: list[str] = field(default_factory=list)
    without_location: int = 0
    unknown_terms: list[str] = field(default_factory=list)
    failed_in_a_row: int = 0


def download_fields(
    genes: Sequence[str],
    table: FieldTable,
    out: Path,
    *,
    client: AtlasClient,
    kind: Literal["jpg", "tif"],
    workers: int = 4,
    progress: ProgressCallback = silent,
) -> DownloadSummary:
    """Fetch the fields of some genes.

    Parameters
    ----------
    genes
        Ensembl ids, in the order in which their fields are taken.
    table
        Empty; says which fields are taken.
    out
        Dataset folder, new or to be continued.
    client
        Of the atlas or a mirror.
    kind
        JPEG, or the original TIFF.
    workers
        Requests at the same time.
    progress
        Told of entries, then of files.

    Returns
    -------
    DownloadSummary
        Counts, and every failure with its reason.

    Raises
    ------
    OutputError
        The folder is another dataset's, holds files of the other kind, or cannot be written.
    InputError
        Nothing can be fetched any more: there is no network, or the site is down.
    """
    with output_lock(out):
        _check_folder(out, kind)
        remove_leftovers(out)
        remove_leftovers(out / "train")
        (out / "atlas").mkdir(exist_ok=True)
        write_notice(out)
        summary = DownloadSummary()
        pool = ThreadPoolExecutor(workers)
        try:
            with closing(client):
                job = _Job(out, client, kind, pool, workers, progress, summary)
                job.collect_fields(genes, table)
                ledger = Ledger(out / "atlas" / "files.jsonl")
                job.fetch_files(table, ledger)
        finally:
            client.pace.stop()  # threads that wait end now
            pool.shutdown(wait=True, cancel_futures=True)
        _write_results(out, kind, table, ledger, summary)
    return summary


@dataclass(frozen=True)
class _Job:
    """One download under way."""

    out: Path
    client: AtlasClient
    kind: Literal["jpg", "tif"]
    pool: ThreadPoolExecutor
    workers: int
    progress: ProgressCallback
    summary: DownloadSummary

    def collect_fields(self, genes: Sequence[str], table: FieldTable) -> None:
        """Read the genes' entries, in order, until the table is full."""
        step = 4 * self.workers  # a limit is not far overrun, and all threads have work
        for first in range(0, len(genes), step):
            if table.is_full:
                break
            some = genes[first : first + step]
            entries = dict(keep_in_flight(self._submit_entry, some, limit=self.workers))
            for gene in some:
                entry = entries[gene]
                if isinstance(entry, FetchError):
                    self._note_failure(self.client.site.entry_url(gene), entry)
                else:
                    self.summary.failed_in_a_row = 0
                    self.summary.refused += entry.refused
                    table.add(entry.images)
            self.progress(min(first + step, len(genes)), len(genes), "entries")
        self.summary.refused += table.conflicts
        self.summary.without_location = table.without_location
        self.summary.unknown_terms = sorted(table.unknown_terms)

    def fetch_files(self, table: FieldTable, ledger: Ledger) -> None:
        """Fetch what is missing of the table's fields, all four stains of each."""
        names = {
            f"train/{image.stem}_{channel.value}{_SUFFIX[self.kind]}": image.number
            for image in table.images()
            for channel in CHANNELS
        }
        wanted = [(name, number) for name, number in names.items() if self._is_wanted(name, ledger)]
        done = len(names) - len(wanted)
        for (name, number), note in keep_in_flight(
            self._submit_file, wanted, limit=2 * self.workers
        ):
            url = self._url(name, number)
            if isinstance(note, FileNote):
                ledger.add(note)
                self.summary.fetched += 1
                self.summary.failed_in_a_row = 0
            else:
                self._note_failure(url, note)
                if isinstance(note, AbsentError):
                    ledger.add(FileNote(name, "absent"))
                    self.summary.absent += 1
            done += 1
            self.progress(done, len(names), name.removeprefix("train/"))
        for name, number in names.items():
            note_before = ledger.find(name)
            if note_before is not None and note_before.status == "done":
                table.note_file(Path(name).name.split(".")[0])
            elif note_before is not None:
                self.summary.missing.setdefault(self._url(name, number), "absent")

    def _is_wanted(self, name: str, ledger: Ledger) -> bool:
        note = ledger.find(name)
        path = self.out / name
        size = path.stat().st_size if path.is_file() else None
        if note is None and size is not None:  # its process was killed before it was noted
            content = path.read_bytes()
            note = FileNote(name, "done", len(content), sha256_bytes(content))
            ledger.add(note)
        if note is not None and note.status == "absent":
            self.summary.absent += 1
            return False
        if note is not None and note.bytes == size:
            self.summary.kept += 1
            return False
        return True

    def _submit_entry(self, gene: str) -> Future[AtlasEntry | FetchError]:
        return self.pool.submit(self._entry, gene)

    def _submit_file(self, item: tuple[str, str]) -> Future[FileNote | FetchError]:
        return self.pool.submit(self._file, item)

    def _entry(self, gene: str) -> AtlasEntry | FetchError:
        """Give a gene's entry, from the folder where it was read before."""
        path = self.out / "atlas" / f"{gene}.json"
        if path.is_file():
            return _read_entry(path)
        site = self.client.site
        try:
            content = self.client.fetch(
                site.entry_url(gene),
                max_bytes=_MAX_ENTRY_BYTES,
                check=lambda text: _ignore(parse_entry(text, gene, site)),
            )
        except AbsentError as error:
            write_json(path, {"gene": gene, "absent": str(error)})
            return error
        except FetchError as error:
            return error
        entry = parse_entry(content, gene, site)
        write_json(path, asdict(entry))
        return entry

    def _file(self, item: tuple[str, str]) -> FileNote | FetchError:
        name, number = item
        path = self.out / name
        try:
            content = self.client.fetch(
                self._url(name, number),
                max_bytes=_MAX_BYTES[self.kind],
                check=partial(_check_image, path=path),
            )
        except FetchError as error:
            return error
        with atomic_path(path) as temporary:
            temporary.write_bytes(content)
        return FileNote(name, "done", len(content), sha256_bytes(content))

    def _url(self, name: str, number: str) -> str:
        return self.client.site.image_url(number, name.removeprefix("train/"))

    def _note_failure(self, url: str, error: FetchError) -> None:
        if isinstance(error, AbsentError):
            self.summary.missing[url] = str(error)
            self.summary.failed_in_a_row = 0
            return
        self.summary.failed[url] = str(error)
        self.summary.failed_in_a_row += 1
        if self.summary.failed_in_a_row >= _GIVE_UP_AFTER:
            raise InputError(
                f"{url}: the {_GIVE_UP_AFTER}th address in a row that could not be fetched "
                f"({error}). Check the network; the same command continues."
            )


def _ignore(_: object) -> None:
    """Pass over a result: only its errors were asked for."""


def _check_image(content: bytes, *, path: Path) -> None:
    """Refuse what is no whole image; a bomb stops at the limit before it is an image."""
    if path.suffix == ".gz":
        content = unzip(content, path, max_bytes=_MAX_UNZIPPED_BYTES)
        path = path.with_suffix("")
    decode_image(content, path)


def _read_entry(path: Path) -> AtlasEntry | FetchError:
    known = json.loads(path.read_text(encoding="utf-8"))
    if "absent" in known:
        return AbsentError(known["absent"])
    images = (AtlasImage(**{**row, "terms": tuple(row["terms"])}) for row in known["images"])
    return AtlasEntry(known["gene"], tuple(images), tuple(known["refused"]))


def _check_folder(out: Path, kind: str) -> None:
    if (out / "train.csv").exists() and not (out / "atlas").is_dir():
        raise OutputError(
            f"{out}: is another dataset, its train.csv would be lost. Choose another."
        )
    other = "tif" if kind == "jpg" else "jpg"
    if next((out / "train").glob(f"*{_SUFFIX[other]}"), None) is not None:
        raise OutputError(
            f"{out}: holds {_SUFFIX[other]} files; {_SUFFIX[kind]} files go to another folder, or "
            f"ask for --{other}."
        )


def _write_results(
    out: Path, kind: str, table: FieldTable, ledger: Ledger, summary: DownloadSummary
) -> None:
    summary.fields, summary.complete = table.write(out / "train.csv")
    ledger.write_checksums(out / "SHA256SUMS")
    _write_failures(out / "failures.csv", {**summary.missing, **summary.failed})
    counts = {k: v for k, v in asdict(summary).items() if isinstance(v, int)}
    counts |= {"failed": len(summary.failed), "missing": len(summary.missing)}
    write_json(out / "download.json", {"kind": kind, "counts": counts})


def _write_failures(path: Path, reasons: Mapping[str, str]) -> None:
    rows: Iterable[tuple[str, str]] = sorted(reasons.items())
    with atomic_path(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("url", "reason"))
        writer.writerows(rows)

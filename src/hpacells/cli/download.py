"""``hpacells download``: fields of the public atlas as a dataset folder."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from hpacells.cli.progress import show_progress
from hpacells.core.errors import ConfigError, InputError
from hpacells.images.download.client import AtlasClient
from hpacells.images.download.dataset import DownloadSummary, download_fields
from hpacells.images.download.notice import NOTICE_FILE
from hpacells.images.download.pace import Pace
from hpacells.images.download.selection import find_genes, read_gene_table, split_words
from hpacells.images.download.site import ATLAS, mirror_site
from hpacells.images.download.table import FieldTable

app = typer.Typer(add_completion=False, rich_markup_mode=None)

_EXIT_FAILED_FIELDS = 1
_SHOWN = 5


@app.command()
def download(
    out: Annotated[Path, typer.Argument(help="Dataset folder, new or to be continued.")],
    genes: Annotated[
        list[str] | None,
        typer.Option(help="Ensembl ids or gene names, with commas, or a file with one per line."),
    ] = None,
    table: Annotated[
        Path | None,
        typer.Option("--from", help="All genes of the atlas's subcellular_location.tsv."),
    ] = None,
    antibodies: Annotated[
        list[str] | None,
        typer.Option(help="Only these antibodies (HPA019661, ...), or a file with one per line."),
    ] = None,
    limit: Annotated[int | None, typer.Option(help="At most so many fields.", min=1)] = None,
    jpg: Annotated[
        bool, typer.Option("--jpg/--tif", help="JPEG, or the originals (.tif.gz, 8 or 16 bits).")
    ] = True,
    workers: Annotated[int, typer.Option(help="Requests at the same time.", min=1, max=16)] = 4,
    rate: Annotated[
        float, typer.Option(help="Requests a second, all together.", min=0.1, max=1000.0)
    ] = 8.0,
    mirror: Annotated[
        str | None, typer.Option(help="Ask this address instead, with the atlas's paths under it.")
    ] = None,
) -> None:
    """Fetch fields of the public Human Protein Atlas, with the labels that it gives them.

    One of --genes, --from and --antibodies says which. OUT becomes a dataset folder: train/,
    train.csv (19 classes, gene, antibody, cell line, reliability), the licence in ATTRIBUTION.md,
    and SHA256SUMS. Interrupted or asked again, it fetches only what is not there; what the atlas
    does not have is in failures.csv and not asked for again.

    Example: hpacells download atlas/ --genes TP53,ENSG00000134057 --limit 20
    """
    if sum(given is not None for given in (genes, table, antibodies)) != 1:
        raise ConfigError("expected one of --genes, --from and --antibodies. See --help.")
    client = AtlasClient(
        ATLAS if mirror is None else mirror_site(mirror), Pace(rate), connections=workers
    )
    names = split_words(antibodies, "--antibodies") if antibodies is not None else []
    unknown: dict[str, str] = {}
    if table is not None:
        wanted = read_gene_table(table)
    else:
        words = names or split_words(genes or [], "--genes")
        wanted, unknown = find_genes(words, client)
    if not wanted:
        _tell_reasons("not found", unknown)
        raise InputError("none of these genes or antibodies was found. Check the words above.")
    fields = FieldTable(frozenset(name.upper() for name in names), limit)
    with show_progress("download", unit="files") as progress:
        summary = download_fields(
            wanted,
            fields,
            out,
            client=client,
            kind="jpg" if jpg else "tif",
            workers=workers,
            progress=progress,
        )
    _tell(summary, unknown, out)
    if unknown or summary.failed or summary.missing or summary.refused:
        raise typer.Exit(_EXIT_FAILED_FIELDS)


def _tell(summary: DownloadSummary, unknown: dict[str, str], out: Path) -> None:
    _tell_reasons("not found", unknown)
    _tell_reasons("failed", summary.failed)
    _tell_reasons("absent", summary.missing)
    _tell_list("refused, not of the atlas or under two antibodies", summary.refused)
    _tell_list("terms of the atlas without a class, unknown to hpacells", summary.unknown_terms)
    if summary.failed:
        typer.echo("What failed is tried again by the same command.", err=True)
    if not summary.fetched and not summary.failed:
        typer.echo("nothing to fetch: every file that exists is there.")
    typer.echo(
        f"{summary.fields} fields, {summary.complete} with all four stains: {summary.fetched} "
        f"files fetched, {summary.kept} were there, {summary.absent} absent, "
        f"{len(summary.failed)} failed; {summary.without_location} fields have no class and "
        f"were passed over."
    )
    typer.echo(f"They are in {out}; {NOTICE_FILE} there says whose they are (CC BY-SA).")
    if summary.complete:
        typer.echo(f"Next: hpacells run {out} RUN, or hpacells train {out} MODEL")


def _tell_reasons(what: str, reasons: dict[str, str]) -> None:
    _tell_list(what, [f"{name}: {reason}" for name, reason in reasons.items()])


def _tell_list(what: str, items: Sequence[str]) -> None:
    for item in items[:_SHOWN]:
        typer.echo(f"{what}: {item}", err=True)
    if len(items) > _SHOWN:
        typer.echo(f"{what}: {len(items) - _SHOWN} more", err=True)

"""``hpacells review``: a page where experts go through a run's cells."""

from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hpacells.core.corrections import CORRECTIONS_FILE
from hpacells.core.errors import MissingExtraError
from hpacells.review.agreement import measure_agreement
from hpacells.review.cells import read_cells
from hpacells.review.config import ServerSettings
from hpacells.review.for_training import write_for_training
from hpacells.review.words import Word, read_words

if TYPE_CHECKING:
    from hpacells.review.serve import Opened

__all__ = ["app"]

app = typer.Typer(add_completion=False, rich_markup_mode=None)

_DEFAULT = ServerSettings()
_EXTRA = ("fastapi", "sklearn", "uvicorn")


@app.command()
def review(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Run folder made by 'hpacells run'.")],
    host: Annotated[
        str,
        typer.Option(
            help="Address to listen on. The default is seen by this machine alone; any other, "
            "0.0.0.0 for all, asks everybody for the token in the printed address."
        ),
    ] = _DEFAULT.host,
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="Port to listen on; 0: any free one.")
    ] = _DEFAULT.port,
    images: Annotated[
        Path | None, typer.Option(help="Where the run's images lie now, if moved.")
    ] = None,
    export: Annotated[
        bool,
        typer.Option(
            "--export", help="Only write what was said so far to corrections.parquet; no page."
        ),
    ] = False,
) -> None:
    """Serve a page where experts accept, correct or reject a run's cells, by keyboard.

    Every word is saved at once in RUN/review, with who and when; several people can work at a
    time. Ctrl-C ends it. What was said is then in RUN/corrections.parquet, for
    'hpacells train --corrections RUN'; the run's own tables stay as they are.

    Example: hpacells review results

    Example: hpacells review results --host 0.0.0.0 --port 9000

    Example: hpacells review results --export
    """
    cells = read_cells(run)
    if not export:
        _serve(run, ServerSettings(host=host, port=port), images)
    known = [word for word in read_words(run) if word.cell in cells.row_of]
    words = list({(word.cell, word.who): word for word in known}.values())
    if words or (run / CORRECTIONS_FILE).is_file():
        changed = write_for_training(run, words)
        typer.echo(f"{run / CORRECTIONS_FILE}: up to date ({changed} changed).")
    _tell(words)


def _serve(run: Path, settings: ServerSettings, images: Path | None) -> None:
    missing = [name for name in _EXTRA if find_spec(name) is None]
    if missing:
        raise MissingExtraError(
            f"the review page needs {', '.join(missing)}, not installed. "
            "Install it with: pip install 'hpacells[review]'"
        )
    from hpacells.review.serve import serve_review  # an extra  # noqa: PLC0415

    serve_review(run, settings, images=images, on_open=_tell_address)


def _tell_address(opened: "Opened") -> None:
    if opened.images_missing:
        typer.echo(f"The small previews are shown: {opened.images_missing}", err=True)
    typer.echo(f"{opened.n_cells} cells to review. Open {opened.address}")
    if "?token=" in opened.address:
        typer.echo("Whoever has this address can review. It is not encrypted: trusted networks.")
    typer.echo("Ctrl-C ends the review.")


def _tell(words: list[Word]) -> None:
    """Print who said how much, and how far they agree."""
    if not words:
        typer.echo("nothing was said of any cell yet.")
    for who in sorted({word.who for word in words}):
        typer.echo(f"{who}: {sum(word.who == who for word in words)} cells.")
    for pair in measure_agreement(words):
        kappa = "not defined" if pair.mean_kappa is None else f"{pair.mean_kappa:.2f}"
        typer.echo(
            f"{' and '.join(pair.who)} judged {pair.n_cells} cells both, {pair.n_same} alike; "
            f"Cohen's kappa, mean over locations: {kappa}."
        )

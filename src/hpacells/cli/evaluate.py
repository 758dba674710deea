"""``hpacells evaluate``: score a submission or masks against the truth."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hpacells.core.errors import ConfigError, OutputError
from hpacells.core.locations import LOCATIONS
from hpacells.core.storage import write_json

if TYPE_CHECKING:
    from hpacells.evaluate.masks import FolderScores, MaskScores
    from hpacells.evaluate.score_table import ScoreTable

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command()
def evaluate(
    first: Annotated[
        Path, typer.Argument(metavar="TRUTH", help="Truth CSV; with --masks the FOUND folder.")
    ],
    second: Annotated[
        Path,
        typer.Argument(metavar="SUBMISSION", help="Submission CSV; with --masks the TRUE folder."),
    ],
    masks: Annotated[
        bool, typer.Option("--masks", help="Compare two folders of <fov_id>_cells.* images.")
    ] = False,
    json: Annotated[Path | None, typer.Option(help="Write the scores to this file.")] = None,
    overlays: Annotated[
        Path | None, typer.Option(help="With --masks: draw the worst fields into this folder.")
    ] = None,
    images: Annotated[
        Path | None, typer.Option(help="The fields' IMAGES, to draw the overlays on.")
    ] = None,
    worst: Annotated[int, typer.Option(min=1, help="How many fields to draw.")] = 6,
) -> None:
    """Score a submission or masks against the truth.

    A submission gets the competition's score: the mean over the classes of the average precision
    of cell masks at IoU >= 0.6. Two folders of label images get F1 and average precision
    TP / (TP + FP + FN) at IoU 0.50 to 0.90, recall of the cells that the frame does not cut,
    matched pairs, merges and splits, and how many matched cells have their nucleus; FOUND may be a
    run folder, whose rejected cells count only where they match.

    Example: hpacells evaluate DATA/truth.csv RUN/submission.csv --json scores.json

    Example: hpacells evaluate --masks RUN/masks DATA/truth

    Example: hpacells evaluate --masks RUN DATA/truth --overlays WORST --images DATA/train
    """
    if not masks and (overlays is not None or images is not None):
        raise ConfigError("--overlays and --images: expected --masks with them. Add it.")
    if images is not None and overlays is None:
        raise ConfigError("--images: expected --overlays DIR with it, to draw into. Add it.")
    if json is not None and json.is_dir():
        raise OutputError(f"--json {json}: expected a file, there is a folder. Name a file in it.")
    if overlays is not None and overlays.is_file():
        raise OutputError(f"--overlays {overlays}: expected a folder, there is a file. Move it.")
    if masks:
        content = _evaluate_masks(first, second, overlays=overlays, images=images, worst=worst)
    else:
        from hpacells.evaluate.matching import match_submission  # noqa: PLC0415
        from hpacells.evaluate.strict import score_matches  # noqa: PLC0415

        matches = match_submission(first, second)
        scores = score_matches(matches)
        _print_submission(scores)
        n_truths_there = matches.n_truths.sum(axis=1)[matches.image]
        if len(matches.image) and not n_truths_there.any():
            typer.echo(
                "No detection is in an image that has truth: do the IDs of both files agree?"
            )
        content = {
            "map": scores.find("map").value,
            "ap": {str(x.class_id): scores.find("ap", x.key).value for x in LOCATIONS},
        }
    if json is not None:
        write_json(json, content)
        typer.echo(f"Scores written to {json}")


def _print_submission(scores: "ScoreTable") -> None:
    typer.echo(f"{'class':>5}  {'location':<26}{'AP':>8}{'truths':>9}{'detections':>12}")
    for location in LOCATIONS:
        score = scores.find("ap", location.key)
        typer.echo(
            f"{location.class_id:>5}  {location.title:<26}{_show(score.value):>8}"
            f"{score.n_truths:>9}{score.n_found:>12}"
        )
    mean = scores.find("map")
    typer.echo(
        f"{'':>5}  {'mean (mAP)':<26}{_show(mean.value):>8}{mean.n_truths:>9}{mean.n_found:>12}"
    )
    n_undefined = sum(scores.find("ap", x.key).value is None for x in LOCATIONS)
    if n_undefined:
        typer.echo(f"{n_undefined} of {len(LOCATIONS)} classes have no truth: left out of the mean")


def _evaluate_masks(
    found: Path, true: Path, *, overlays: Path | None, images: Path | None, worst: int
) -> dict[str, object]:
    """Score, print and draw; give what the JSON file holds."""
    # Imported here: the competition's score should not wait for the libraries of images.
    from hpacells.cli.progress import show_progress  # noqa: PLC0415
    from hpacells.evaluate.masks import score_masks, sum_fields  # noqa: PLC0415

    with show_progress("comparing masks") as progress:
        scores = score_masks(found, true, progress=progress)
    _print_masks(scores)
    if overlays is not None:
        from hpacells.evaluate.worst_fields import write_worst_fields  # noqa: PLC0415

        written = write_worst_fields(scores, found, true, overlays, images=images, n=worst)
        typer.echo(f"{len(written)} overlays of the worst fields written to {overlays}")
    fields = [{"fov_id": f.fov_id, **_mask_json(sum_fields([f]))} for f in scores.fields]
    return {
        **_mask_json(scores.total),
        "fields": len(scores.fields),
        "missing_found": scores.missing_found,
        "missing_true": scores.missing_true,
        "per_field": fields,
    }


def _print_masks(scores: "FolderScores") -> None:
    total = scores.total
    typer.echo(f"{'IoU':>5}{'F1':>9}{'AP':>9}{'matched':>9}{'recall inside':>15}")
    for name, f1 in total.f1.items():
        ap, matched, inside = total.ap[name], total.matched[name], total.recall_inside[name]
        typer.echo(f"{name:>5}{_show(f1):>9}{_show(ap):>9}{matched:>9}{_show(inside):>15}")
    typer.echo(
        f"{len(scores.fields)} fields: {total.n_found} cells found, {total.n_true} true "
        f"({total.n_inside} inside the frame), {total.merges} merges, {total.splits} splits"
    )
    if total.nuclei_expected:
        typer.echo(
            f"{total.nuclei_matched} of {total.nuclei_expected} matched cells have their nucleus "
            f"under their own id: {_show(total.nucleus_rate)}"
        )
    if scores.missing_found:
        typer.echo(f"{scores.missing_found} true fields have no found masks: all cells missed")
    if scores.missing_true:
        typer.echo(f"{scores.missing_true} found fields have no true masks: not scored")


def _mask_json(scores: "MaskScores") -> dict[str, object]:
    return {
        "f1": scores.f1,
        "ap": scores.ap,
        "recall_inside": scores.recall_inside,
        "matched": scores.matched["0.50"],
        "matched_at": scores.matched,
        "merges": scores.merges,
        "splits": scores.splits,
        "n_found": scores.n_found,
        "n_true": scores.n_true,
        "n_inside": scores.n_inside,
        "nucleus_rate": scores.nucleus_rate,
        "nuclei_matched": scores.nuclei_matched,
        "nuclei_expected": scores.nuclei_expected,
    }


def _show(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"

"""``hpacells demo``: a few simulated fields, and the main job on them."""

from pathlib import Path
from typing import Annotated

import typer

from hpacells.cli.progress import show_progress
from hpacells.cli.run import run_and_tell
from hpacells.core.errors import OutputError
from hpacells.predict.config import RunSettings
from hpacells.predict.plan import plan_execution
from hpacells.runtime.registry import DEFAULT_MODEL, resolve_model
from hpacells.simulate.config import SimulateConfig
from hpacells.simulate.dataset import write_dataset

app = typer.Typer(add_completion=False, rich_markup_mode=None)

_FIELDS = 6
_SEED = 98  # three cell lines and seven locations in six fields
_CONFIG = SimulateConfig()
_EXIT_FAILED_FIELDS = 1


@app.command()
def demo(
    out: Annotated[Path, typer.Argument(help="Gets images/ and the run folder run/.")] = Path(
        "demo"
    ),
    model: Annotated[
        str, typer.Option(help="A shipped model's name, or a model folder.")
    ] = DEFAULT_MODEL,
    fields: Annotated[int, typer.Option(help="How many fields.")] = _FIELDS,
) -> None:
    """Simulate a few fields of several cell lines and run on them with the shipped model.

    No network is needed. Asked again, what is there is kept.

    Example: hpacells demo demo/
    """
    folder = resolve_model(model)
    images, run_folder = out / "images", out / "run"
    _check_folder(out, (images, run_folder))
    plan = plan_execution(fields)
    with show_progress("simulate") as progress:
        dataset = write_dataset(
            images, _CONFIG, fields=fields, seed=_SEED, workers=plan.workers, progress=progress
        )
    typer.echo(f"{dataset.fields} simulated fields of {dataset.cells} cells are in {images}")
    settings = RunSettings(images=str(images.resolve()), model=str(folder))
    summary = run_and_tell(settings, run_folder)
    typer.echo(f"Next: hpacells run IMAGES OUT on your own; the truth here is {images}/truth.csv.")
    if summary.failures:
        raise typer.Exit(_EXIT_FAILED_FIELDS)


def _check_folder(out: Path, own: tuple[Path, ...]) -> None:
    """Refuse a folder that holds something else."""
    if out.is_dir():
        strange = sorted(path for path in out.iterdir() if path not in own)
        if strange:
            raise OutputError(
                f"{out}: expected a new folder or an earlier demo's, it holds {strange[0].name}. "
                "Choose another folder."
            )

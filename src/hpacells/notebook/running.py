"""``hpacells.run``: the main job from Python."""

from pathlib import Path
from typing import Any

from pydantic import ValidationError

from hpacells.core.errors import ConfigError
from hpacells.core.progress import ProgressCallback, silent
from hpacells.images.discover import discover_fields
from hpacells.notebook.opened_run import OpenedRun, open_run
from hpacells.predict.config import RunSettings
from hpacells.predict.engine import run_fields
from hpacells.predict.plan import plan_execution
from hpacells.report.page import write_report
from hpacells.runtime.registry import DEFAULT_MODEL, resolve_model

__all__ = ["run"]


def run(
    images: str | Path,
    out: str | Path,
    *,
    model: str = DEFAULT_MODEL,
    workers: int | None = None,
    progress: ProgressCallback = silent,
    **settings: Any,
) -> OpenedRun:
    """Outline every cell, say where its protein sits, and open the run folder.

    Parameters
    ----------
    images
        As ``hpacells run`` takes them.
    out
        Run folder, new or to be continued.
    model
        A model's name, or its folder.
    workers
        Fields at the same time; None: by cores and memory.
    progress
        Told after each field: (done, all, what).
    **settings
        Those of ``predict.config.RunSettings``: ``segmenter``, ``missing``, ``border``,
        ``pixel_size_um``, ``channels``, ``bit_depth``; ``runtime``, ``device`` and ``precision``,
        here ONNX Runtime on the CPU unless they are given.

    Returns
    -------
    OpenedRun
        Fields that failed are in its ``fields``, with the reason.

    Raises
    ------
    ConfigError
        When a setting is unknown or impossible.
    HpacellsError
        As ``hpacells run`` says.
    """
    source, folder = Path(images), Path(out)
    missing = settings.get("missing", ())
    try:
        asked = RunSettings.model_validate(
            {
                "images": str(source.resolve()),
                "model": str(resolve_model(model, missing=missing)),
                **settings,
            }
        )
    except ValidationError as error:
        told = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
        raise ConfigError(f"hpacells.run: {told}") from error
    records = discover_fields(
        source,
        pixel_size_um=asked.pixel_size_um,
        channels=asked.channels,
        bit_depth=asked.bit_depth,
    )
    plan = plan_execution(len(records), workers=workers)
    run_fields(records, folder, asked, plan=plan, progress=progress, finish=_write_report)
    return open_run(folder)


def _write_report(out: Path, provenance: dict[str, Any]) -> None:
    write_report(out, provenance=provenance)

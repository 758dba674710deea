"""A folder of three drawn fields, and a run over it."""

from collections.abc import Callable
from pathlib import Path

import pytest

from hpacells.images.discover import discover_fields
from hpacells.predict.config import RunSettings
from hpacells.predict.engine import run_fields
from hpacells.predict.plan import ExecutionPlan
from hpacells.predict.shard import Shard

PIXEL_SIZE_UM = 0.64


@pytest.fixture
def images(tmp_path: Path, write_quadruplet) -> Path:
    """Three fields, one of another shape."""
    folder = tmp_path / "images"
    for i, shape in enumerate([(150, 200), (210, 130), (150, 200)]):
        write_quadruplet(folder, f"field{i}", seed=i, shape=shape, pixel_size_um=PIXEL_SIZE_UM)
    return folder


@pytest.fixture
def model_with_terms(make_model_folder) -> Path:
    """A tiny model that tells six atlas terms apart beside the locations."""
    terms = ("Midbody", "Cell Junctions", "Centrosome", "Endosomes", "Lysosomes", "Vesicles")
    return make_model_folder("terms", terms=terms)


@pytest.fixture
def run(images: Path, tiny_model_folder: Path, tmp_path: Path) -> Callable[..., object]:
    """Runs on ``images``; keywords: out, workers, threads, shard, progress, finish, a setting."""

    def call(
        *,
        out: Path = tmp_path / "out",
        workers: int = 1,
        threads: int = 1,
        shard: Shard | None = None,
        **options,
    ):
        given = {name: options.pop(name) for name in ("progress", "finish") if name in options}
        settings = RunSettings(
            **{
                "images": str(images),
                "model": str(tiny_model_folder),
                "pixel_size_um": PIXEL_SIZE_UM,
                **options,
            }
        )
        records = discover_fields(Path(settings.images), pixel_size_um=settings.pixel_size_um)
        plan = ExecutionPlan(workers, threads, shard=shard)
        if shard is not None:
            records = shard.select(records)
        return run_fields(records, out, settings, plan=plan, **given)

    return call

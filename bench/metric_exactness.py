"""The strict metric against a brute-force implementation on random scenes.

Scenes hold overlapping masks, IoU of exactly 0.6, claimed truths, ties of IoU and of confidence,
empty masks on both sides, images in one file only, non-square images, and confidences below 0,
above 1 and equal up to the 12th digit.

    python bench/metric_exactness.py [number of scenes]
"""

import importlib.util
import sys
import tempfile
from pathlib import Path
from types import ModuleType

import numpy as np

from hpacells.core.locations import LOCATION_KEYS
from hpacells.core.storage import write_json
from hpacells.evaluate.score_table import ScoreTable
from hpacells.evaluate.strict import score_submission

ASKED = 1e-9
ROOT = Path(__file__).parent
RESULTS = ROOT / "results" / "metric_exactness.json"


def load_brute_force() -> ModuleType:
    """Load the independent implementation that the tests use too."""
    path = ROOT.parent / "tests" / "evaluate" / "brute_force.py"
    spec = importlib.util.spec_from_file_location("brute_force", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def compare(scores: ScoreTable, aps: list[float | None], mean: float | None) -> float:
    """Give the largest difference; infinite where only one of two is undefined."""
    pairs = [(scores.find("ap", key).value, ap) for key, ap in zip(LOCATION_KEYS, aps, strict=True)]
    pairs.append((scores.find("map").value, mean))
    worst = 0.0
    for ours, theirs in pairs:
        if (ours is None) != (theirs is None):
            return float("inf")
        if ours is not None:
            worst = max(worst, abs(ours - theirs))
    return worst


def main() -> int:
    n_scenes = int(sys.argv[1]) if len(sys.argv) > 1 else 500
    brute = load_brute_force()
    worst, n_defined, means = 0.0, 0, []
    for seed in range(n_scenes):
        with tempfile.TemporaryDirectory() as folder:
            truth, submission = brute.write_scene(np.random.default_rng(seed), Path(folder))
            aps, mean = brute.brute_score(truth, submission)
            worst = max(worst, compare(score_submission(truth, submission), aps, mean))
        n_defined += sum(ap is not None for ap in aps)
        means += [mean] if mean is not None else []
    print(f"{'strict metric against brute force':<36}{'asked':>10}{'measured':>12}")
    print(f"{f'{n_scenes} scenes, largest difference':<36}{ASKED:>10.0e}{worst:>12.1e}")
    print(f"{n_defined} average precisions compared; mAP {min(means):.3f} to {max(means):.3f}")
    row = {
        "what": f"strict metric against brute force, largest difference over {n_scenes} scenes "
        f"({n_defined} average precisions)",
        "asked": f"<= {ASKED:.0e}",
        "measured": f"{worst:.1e}",
        "met": bool(worst <= ASKED),
    }
    write_json(RESULTS, {"rows": [row]})
    return 0 if worst <= ASKED else 1


if __name__ == "__main__":
    sys.exit(main())

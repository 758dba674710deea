"""Cost of backbones: parameters, cells per second and memory of a forward pass on one CPU thread.

Each backbone has a process of its own, forked from one that has only imported. It computes a batch
of eight 128-px crops in torch, in turn with ``hpa_nfnet_nano``; what counts is the CPU time of the
thread, the least of the repeats, so that other work on the machine matters little, and the ratio
to ``hpa_nfnet_nano``, which carries over to other machines. Memory is the process's peak above what
it held before the network was built. ONNX Runtime, which predictions use on a CPU, is about 1.5
times as fast as torch, NFNets with folded weights up to twice.

Accuracy is kept in the result file (``accuracy``: name → text), filled in by hand from trainings.
``--table`` only writes the table of ``docs/backbones.md`` again.
"""

import argparse
import json
import multiprocessing
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import torch

from hpacells.core.storage import atomic_path, write_json
from hpacells.model.backbone import build_backbone
from hpacells.model.encoder_input import count_planes, make_input
from hpacells.model.network import encoder_input_of

ROOT = Path(__file__).parents[1]
RESULT = ROOT / "bench" / "results" / "backbones.json"
PAGE = ROOT / "docs" / "backbones.md"
BEGIN, END = "<!-- written by bench/backbones.py -->", "<!-- end -->"

REFERENCE = "hpa_nfnet_nano"
BACKBONES = [
    "hpa_nfnet_pico",
    "hpa_nfnet_nano",
    "hpa_nfnet_small",
    "eca_nfnet_l0",
    "nfnet_l0",
    "eca_nfnet_l1",
    "eca_nfnet_l2",
    "dm_nfnet_f0",
    "dm_nfnet_f1",
    "mobilenetv4_conv_small",
    "resnet10t",
    "resnet18d",
    "seresnext26d_32x4d",
    "resnest14d",
    "densenet121",
    "efficientnet_b0",
    "tf_efficientnetv2_b0",
    "convnext_atto",
    "convnextv2_atto",
    "convnext_tiny",
    "vit_tiny_patch16_224",
    "vit_small_patch16_224",
    "swin_tiny_patch4_window7_224",
    "subcell",
]
SHAPES_ONLY = [f"dm_nfnet_f{i}" for i in range(2, 7)]
CROP_PX, BATCH = 128, 8
FIGURES = ("parameters_m", "cells_per_s", "share_of_nano", "memory_mib")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", default=[*BACKBONES, *SHAPES_ONLY])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--table", action="store_true", help="write the page's table only")
    options = parser.parse_args()
    earlier = json.loads(RESULT.read_text(encoding="utf-8")) if RESULT.is_file() else {}
    found = {row["name"]: row for row in earlier.get("backbones", [])}
    for name in () if options.table else options.names:
        if name in SHAPES_ONLY:
            found[name] = {"name": name, "parameters_m": count_parameters(name)}
        else:
            found[name] = in_own_process(measure, name, options.repeats)
        print(found[name], flush=True)
        write_result({**earlier, "backbones": in_order(found)})
    write_page(json.loads(RESULT.read_text(encoding="utf-8")))


def in_own_process(function: Callable[..., dict], *arguments: object) -> dict:
    context = multiprocessing.get_context("fork")
    answers = context.SimpleQueue()
    child = context.Process(target=lambda: answers.put(function(*arguments)))
    child.start()
    child.join()
    if child.exitcode:
        sys.exit(f"{function.__name__} {arguments}: exit {child.exitcode}")
    return answers.get()


def measure(name: str, repeats: int) -> dict:
    """Compute a batch by the backbone and by the reference, in turn."""
    torch.set_num_threads(1)
    crops = torch.randint(0, 256, (BATCH, 4, CROP_PX, CROP_PX), dtype=torch.uint8)
    before = psutil.Process().memory_info().rss
    times: dict[str, list[float]] = {name: [], REFERENCE: []}
    run = forward(name, crops)
    run()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 - before
    reference = forward(REFERENCE, crops)
    reference()
    for _ in range(repeats):
        for which, compute in ((name, run), (REFERENCE, reference)):
            started = time.thread_time()
            compute()
            times[which].append(time.thread_time() - started)
    speed, reference_speed = (BATCH / min(times[which]) for which in (name, REFERENCE))
    return {
        "name": name,
        "parameters_m": count_parameters(name),
        "cells_per_s": round(speed, 1),
        "share_of_nano": round(speed / reference_speed, 3),
        "memory_mib": round(peak / 2**20),
    }


def forward(name: str, crops: torch.Tensor) -> Callable[[], None]:
    kind = encoder_input_of(name)
    planes = count_planes(kind, name)
    backbone = build_backbone(name, crop_px=CROP_PX, n_planes=planes).eval()
    backbone.to(memory_format=torch.channels_last)
    ready = make_input(kind, name, backbone)(crops, None)
    ready = ready.contiguous(memory_format=torch.channels_last)

    def compute() -> None:
        with torch.inference_mode():
            backbone(ready)

    return compute


def count_parameters(name: str) -> float:
    planes = count_planes(encoder_input_of(name), name)
    with torch.device("meta"):
        backbone = build_backbone(name, crop_px=CROP_PX, n_planes=planes)
    return round(sum(p.numel() for p in backbone.parameters()) / 1e6, 2)


def in_order(found: dict[str, dict]) -> list[dict]:
    order = {name: i for i, name in enumerate((*BACKBONES, *SHAPES_ONLY))}
    return sorted(found.values(), key=lambda row: order.get(row["name"], len(order)))


def write_result(content: dict) -> None:
    rows = [
        {
            "what": f"backbone {row['name']}, {CROP_PX} px, one thread, torch",
            "asked": "",
            "measured": f"{row['parameters_m']} M parameters, {row['cells_per_s']} cells/s "
            f"({row['share_of_nano']} of {REFERENCE}), {row['memory_mib']} MiB",
            "met": None,
        }
        for row in content["backbones"]
        if "cells_per_s" in row
    ]
    settings = {"crop_px": CROP_PX, "batch": BATCH, "torch": torch.__version__}
    accuracy = content.get("accuracy", {})
    filled = {**content, "accuracy": accuracy, "settings": settings, "rows": rows}
    write_json(RESULT, filled)


def write_page(content: dict) -> None:
    """Replace the table between the two marks of the page."""
    lines = [
        "| backbone | parameters, M | cells/s | of `hpa_nfnet_nano` | memory, MiB | accuracy |",
        "|---|---:|---:|---:|---:|---|",
    ]
    for row in content["backbones"]:
        cells = [f"`{row['name']}`"] + [str(row.get(key, "")) for key in FIGURES]
        lines.append(f"| {' | '.join(cells)} | {content['accuracy'].get(row['name'], '')} |")
    head, _, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
    tail = rest.partition(END)[2]
    with atomic_path(PAGE) as temporary:
        table = "\n".join(lines)
        temporary.write_text(f"{head}{BEGIN}\n{table}\n{END}{tail}", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())

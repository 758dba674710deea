"""The strict metric a second time, slowly: full boolean masks, plain Python, exact fractions.

Written from the description of the metric alone; shares no code with the package. Also draws the
random scenes on which the two are compared. Loaded by path from the tests and from bench/.
"""

import base64
import csv
import sys
import zlib
from fractions import Fraction

import numpy as np
from pycocotools import mask as coco

N_CLASSES = 19
HEADER = ["ID", "ImageWidth", "ImageHeight", "PredictionString"]


# ------------------------------------------------------------------ the metric
def read_file(path):
    """Give {ID: [(class, confidence, boolean mask)]}."""
    csv.field_size_limit(sys.maxsize)
    images = {}
    with path.open(newline="") as file:
        for row in csv.DictReader(file):
            words = row["PredictionString"].split()
            size = [int(row["ImageHeight"]), int(row["ImageWidth"])]
            images[row["ID"]] = [
                (int(words[i]), float(words[i + 1]), text_to_mask(words[i + 2], size))
                for i in range(0, len(words), 3)
            ]
    return images


def text_to_mask(text, size):
    height, width = size
    pixels = []
    for place, length in enumerate(read_counts(zlib.decompress(base64.b64decode(text)))):
        pixels += [place % 2 == 1] * length
    return np.array(pixels).reshape(width, height).T


def read_counts(raw):
    """Give COCO's run lengths: groups of five bits, each number a difference from the fourth on."""
    lengths, number, shift = [], 0, 0
    for character in raw:
        group = character - 48
        number |= (group & 31) << shift
        shift += 5
        if not group & 32:
            number -= (1 << shift) if group & 16 else 0
            lengths.append(number + (lengths[-2] if len(lengths) > 2 else 0))
            number, shift = 0, 0
    return lengths


def exact_iou(a, b):
    union = int((a | b).sum())
    return Fraction(int((a & b).sum()), union) if union else Fraction(0)


def judge_image(found, truths):
    """Give [(confidence, is true)] of one image and class."""
    claimed = set()
    judged = []
    for confidence, mask in sorted(found, key=lambda pair: -pair[0]):
        best, best_iou = None, Fraction(-1)
        for index, truth in enumerate(truths):
            iou = exact_iou(mask, truth)
            if iou > best_iou:
                best, best_iou = index, iou
        hit = best is not None and best_iou >= Fraction(3, 5) and best not in claimed
        if hit:
            claimed.add(best)
        judged.append((confidence, hit))
    return judged


def brute_average_precision(judged, n_truths):
    if n_truths == 0:
        return None
    judged = sorted(judged, key=lambda pair: (-pair[0], pair[1]))
    recalls, precisions, hits = [0.0], [0.0], 0
    for rank, (_, hit) in enumerate(judged, start=1):
        hits += hit
        recalls.append(hits / n_truths)
        precisions.append(hits / rank)
    recalls.append(1.0)
    precisions.append(0.0)
    for i in range(len(precisions) - 2, -1, -1):
        precisions[i] = max(precisions[i], precisions[i + 1])
    return sum((recalls[i] - recalls[i - 1]) * precisions[i] for i in range(1, len(recalls)))


def brute_score(truth_path, submission_path):
    """Give (list of 19 APs or None, mean or None)."""
    truth, found = read_file(truth_path), read_file(submission_path)
    scores = []
    for class_id in range(N_CLASSES):
        judged, n_truths = [], 0
        for image in sorted(set(truth) | set(found)):
            masks = [m for c, _, m in truth.get(image, []) if c == class_id and m.any()]
            candidates = [(s, m) for c, s, m in found.get(image, []) if c == class_id and m.any()]
            judged += judge_image(candidates, masks)
            n_truths += len(masks)
        scores.append(brute_average_precision(judged, n_truths))
    defined = [score for score in scores if score is not None]
    return scores, sum(defined) / len(defined) if defined else None


# ------------------------------------------------------------------ random scenes
def mask_to_text(mask, level=9):
    counts = coco.encode(np.asfortranarray(mask.astype(np.uint8)))["counts"]
    return base64.b64encode(zlib.compress(counts, level)).decode()


def rectangle(shape, r0, r1, c0, c1):
    mask = np.zeros(shape, bool)
    mask[r0:r1, c0:c1] = True
    return mask


def draw_mask(rng, shape):
    height, width = shape
    r0, c0 = rng.integers(0, height - 6), rng.integers(0, width - 6)
    mask = rectangle(shape, r0, r0 + rng.integers(5, 13), c0, c0 + rng.integers(5, 13))
    if rng.random() < 0.4:
        mask &= rng.random(shape) < 0.8
    return mask


def draw_confidence(rng):
    kind = rng.integers(6)
    if kind == 0:
        return float(rng.choice([0.25, 0.5, 0.75]))  # ties
    if kind == 1:
        return 0.123456789012 + 1e-12 * int(rng.integers(4))
    if kind == 2:
        return float(rng.choice([-3.5, 1.7, 1e300, -1e-300, 2e-5]))
    return float(rng.normal())


def answer_mask(rng, truth, shape):
    """Give a detection of a truth: the same, a part at IoU exactly 0.6, shifted, or another."""
    kind = rng.integers(6)
    pixels = np.argwhere(truth)
    if kind == 0 or not len(pixels):
        return truth.copy()
    if kind in (1, 2):  # exactly 0.6 where the area is a multiple of five, just below otherwise
        keep = pixels[rng.permutation(len(pixels))[: len(pixels) * 3 // 5]]
        mask = np.zeros(shape, bool)
        mask[keep[:, 0], keep[:, 1]] = True
        return mask
    if kind == 3:
        return np.roll(truth, rng.integers(-2, 3), axis=int(rng.integers(2)))
    if kind == 4:
        return truth & (rng.random(shape) < 0.7)
    return draw_mask(rng, shape)


def equal_rivals(rng, shape):
    """Give two truths that overlap one detection by the same IoU, and that detection."""
    r0, c0 = rng.integers(0, shape[0] - 5), rng.integers(0, shape[1] - 12)
    first = rectangle(shape, r0, r0 + 4, c0, c0 + 9)
    second = rectangle(shape, r0, r0 + 4, c0 + 2, c0 + 11)
    return first, second, rectangle(shape, r0, r0 + 4, c0 + 1, c0 + 10)


def draw_image(rng, shape, classes):
    truths, found = [], []
    for class_id in classes:
        masks = [draw_mask(rng, shape) for _ in range(rng.integers(0, 5))]
        if rng.random() < 0.3:
            *rivals, between = equal_rivals(rng, shape)
            masks += rivals
            found += [(class_id, draw_confidence(rng), between)] * int(rng.integers(1, 4))
        if rng.random() < 0.2 and masks:
            masks.append(masks[0].copy())  # the same truth twice
        if rng.random() < 0.3:
            masks.append(np.zeros(shape, bool))
        truths += [(class_id, 1.0, mask) for mask in masks]
        for mask in masks:
            for _ in range(rng.integers(0, 4)):
                found.append((class_id, draw_confidence(rng), answer_mask(rng, mask, shape)))
        for _ in range(rng.integers(0, 3)):
            found.append((class_id, draw_confidence(rng), draw_mask(rng, shape)))
        if rng.random() < 0.3:
            found.append((class_id, draw_confidence(rng), np.zeros(shape, bool)))
    order = rng.permutation(len(found))
    return truths, [found[i] for i in order]


def write_scene(rng, folder):
    """Write truth.csv and submission.csv of a few images; give their paths."""
    rows = {"truth": [], "submission": []}
    classes = rng.choice(N_CLASSES, int(rng.integers(1, 5)), replace=False).tolist()
    for i in range(int(rng.integers(1, 7))):
        shape = (int(rng.integers(14, 40)), int(rng.integers(14, 40)))
        truths, found = draw_image(rng, shape, classes)
        only = rng.choice(["both", "both", "both", "truth", "submission"])
        for name, triples in (("truth", truths), ("submission", found)):
            if only in ("both", name):
                words = [
                    f"{c} {s!r} {mask_to_text(m, int(rng.integers(1, 10)))}" for c, s, m in triples
                ]
                rows[name].append([f"im{i}", shape[1], shape[0], " ".join(words)])
    paths = []
    for name, lines in rows.items():
        path = folder / f"{name}.csv"
        with path.open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(HEADER)
            writer.writerows([lines[k] for k in rng.permutation(len(lines))])
        paths.append(path)
    return tuple(paths)

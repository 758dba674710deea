"""Cell masks as the competition's text: COCO run lengths, compressed by zlib, written in base64.

A mask becomes its lengths of runs in column-major order, beginning with a run of zeros; the
lengths become COCO's ``counts`` bytes (each the difference to the length two before it, in groups
of five bits); these are compressed (level 9; any level is read) and written in base64.

Writing works on the borders of a whole label image at once. Reading decodes many texts in one
pass of numpy and checks everything that pycocotools' C code would take on trust.
"""

import base64
import binascii
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from pycocotools import mask as coco_mask

from hpacells.core.errors import InputError, TableError

__all__ = ["MaskRuns", "decode_mask", "decode_masks", "encode_cells", "encode_mask"]

Indices = npt.NDArray[np.int64]

MAX_PIXELS = 2**31 - 1
"""Pixels of the largest image whose run lengths COCO's 32-bit counts hold."""

_MAX_COUNTS_BYTES = 2**26
_FIRST_CHARACTER = 48
_MAX_GROUPS = 7  # five bits each: enough for any difference of two lengths up to MAX_PIXELS
_ADVICE = "Write the mask again: COCO RLE counts (column-major), zlib, base64."


@dataclass(frozen=True)
class MaskRuns:
    """Masks of one image as the runs of pixels that belong to them.

    Parameters
    ----------
    starts, ends
        ``(R,)`` int64, half-open, in column-major pixel numbers; ascending within a mask.
    owners
        ``(R,)`` int64, ascending: the mask to which a run belongs.
    areas
        ``(N,)`` int64: pixels of each mask; 0 for an empty one.
    """

    starts: Indices
    ends: Indices
    owners: Indices
    areas: Indices


def encode_cells(cells: npt.NDArray[np.integer]) -> dict[int, str]:
    """Write the mask of every cell of a label image.

    Parameters
    ----------
    cells
        ``(H, W)`` integers, 0 = background.

    Returns
    -------
    dict
        Cell id → text, ids ascending. The counts are byte for byte those of
        ``pycocotools.mask.encode`` on the full mask.

    Raises
    ------
    InputError
        When the image is not two-dimensional, or empty.

    Examples
    --------
    >>> cells = np.zeros((4, 5), np.int32)
    >>> cells[1:3, 1:4] = 7
    >>> encode_cells(cells)
    {7: 'eNozNTIyMDAwBgAFgwFd'}
    """
    starts, ends, ids = _runs_in_column_order(cells)
    belongs = ids > 0
    starts, ends, ids = starts[belongs], ends[belongs], ids[belongs]
    by_id = np.argsort(ids, kind="stable")
    found, first = np.unique(ids[by_id], return_index=True)
    bounds = [*first.tolist(), ids.size]
    texts = {}
    for k, cell_id in enumerate(found.tolist()):
        rows = by_id[bounds[k] : bounds[k + 1]]
        texts[cell_id] = _text_of_runs(starts[rows], ends[rows], cells.shape)
    return texts


def encode_mask(mask: npt.NDArray[np.bool_]) -> str:
    """Write one mask ``(H, W)``, which may be empty; everything non-zero belongs to it.

    Raises
    ------
    InputError
        When the array is not two-dimensional, or has no pixels.

    Examples
    --------
    >>> encode_mask(np.zeros((2048, 2048), bool))
    'eNoLCAgIMAEABJkBdQ=='
    """
    starts, ends, inside = _runs_in_column_order(np.asarray(mask) != 0)
    return _text_of_runs(starts[inside != 0], ends[inside != 0], mask.shape)


def decode_mask(text: str, *, height: int, width: int, where: str) -> dict[str, object]:
    """Read and check one mask, as the run-length dictionary that pycocotools takes.

    Parameters
    ----------
    text
        The mask's text.
    height, width
        Of the image, in pixels.
    where
        Named in the error: file, image, position.

    Returns
    -------
    dict
        ``{"size": [height, width], "counts": bytes}``, safe to give to pycocotools.

    Raises
    ------
    TableError
        When the text is not ASCII, base64, zlib or COCO counts, unpacks to more than such a mask
        can need, or its lengths do not cover the image exactly.
    """
    decode_masks([text], height=height, width=width, where=lambda _: where)
    return {"size": [height, width], "counts": _unpack(text, height * width, lambda: where)}


def decode_masks(
    texts: Sequence[str], *, height: int, width: int, where: Callable[[int], str]
) -> MaskRuns:
    """Read and check many masks of one image at once.

    Parameters
    ----------
    texts
        N texts.
    height, width
        Of the image, in pixels.
    where
        Called with the position of a text at fault; names it in the error.

    Returns
    -------
    MaskRuns
        Of N masks, in the order of ``texts``.

    Raises
    ------
    TableError
        As ``decode_mask``; the first text at fault.
    """
    n_pixels = height * width
    if not (height > 0 and width > 0 and n_pixels <= MAX_PIXELS):
        raise TableError(
            f"{where(0)}: expected an image of 1 to {MAX_PIXELS} pixels for a mask, got "
            f"{width} x {height}. Correct the sizes."
        )
    packed = [
        _unpack(text, n_pixels, lambda i=i: where(i))  # type: ignore[misc]
        for i, text in enumerate(texts)
    ]
    lengths, counts = _read_lengths(packed, where)
    firsts = np.cumsum(counts) - counts
    ends = _restart_sums(np.cumsum(lengths), lengths, firsts, counts)
    is_negative = np.logical_or.reduceat(lengths < 0, firsts) if packed else np.zeros(0, bool)
    totals = ends[firsts + counts - 1]
    damaged = (totals != n_pixels) | is_negative
    if damaged.any():
        i = int(np.argmax(damaged))
        raise TableError(
            f"{where(i)}: expected runs that cover {width} x {height} = {n_pixels} pixels, got "
            f"{int(totals[i])} (or a negative length). {_ADVICE}"
        )
    inside = np.arange(lengths.size) - np.repeat(firsts, counts)
    belongs = np.flatnonzero((inside & 1) & (lengths > 0))
    lengths, ends = lengths[belongs], ends[belongs]
    owners = np.repeat(np.arange(len(packed)), counts)[belongs]
    areas = np.bincount(owners, lengths, len(packed)).astype(np.int64)
    return MaskRuns(ends - lengths, ends, owners, areas)


def _runs_in_column_order(
    image: npt.NDArray[np.integer | np.bool_],
) -> tuple[Indices, Indices, npt.NDArray[np.integer | np.bool_]]:
    """Cut an image, read column by column, into runs of one value: starts, ends, values.

    Only changes between a pixel and the one above it are looked for, so that the image need not
    be transposed.
    """
    if image.ndim != 2 or image.size == 0:
        raise InputError(f"expected a mask or label image (H, W) with pixels, got {image.shape}")
    height, width = image.shape
    changes = np.flatnonzero(image[1:] != image[:-1])
    rows, columns = changes // width + 1, changes % width
    new_column = np.append(True, image[0, 1:] != image[-1, :-1])
    tops = np.flatnonzero(new_column)
    rows = np.concatenate([rows, np.zeros_like(tops)])
    columns = np.concatenate([columns, tops])
    starts = columns * height + rows
    order = np.argsort(starts)
    starts = starts[order]
    ends = np.append(starts[1:], image.size)
    return starts, ends, image[rows[order], columns[order]]


def _text_of_runs(starts: Indices, ends: Indices, shape: tuple[int, ...]) -> str:
    height, width = shape
    edges = np.stack([starts, ends], axis=1).ravel()
    lengths = np.diff(edges, prepend=0)
    if edges.size == 0 or edges[-1] < height * width:
        lengths = np.append(lengths, height * width - (edges[-1] if edges.size else 0))
    rle = coco_mask.frPyObjects({"size": [height, width], "counts": lengths}, height, width)
    return base64.b64encode(zlib.compress(rle["counts"], 9)).decode("ascii")


def _unpack(text: str, n_pixels: int, where: Callable[[], str]) -> bytes:
    """Undo base64 and zlib; never unpack more than a mask of that image can need."""
    try:
        compressed = base64.b64decode(text.encode("ascii"), validate=True)
    except (UnicodeEncodeError, binascii.Error) as error:
        raise TableError(f"{where()}: expected a mask in base64 ({error}). {_ADVICE}") from error
    limit = min(2 * n_pixels + 16, _MAX_COUNTS_BYTES)
    stream = zlib.decompressobj()
    try:
        counts = stream.decompress(compressed, limit + 1)
    except zlib.error as error:
        raise TableError(f"{where()}: the mask does not unpack ({error}). {_ADVICE}") from error
    if len(counts) > limit:
        raise TableError(
            f"{where()}: the mask unpacks to more than the {limit} bytes that an image of "
            f"{n_pixels} pixels can need. {_ADVICE}"
        )
    if not stream.eof or stream.unused_data or not counts:
        raise TableError(f"{where()}: the mask is cut short or has a tail. {_ADVICE}")
    return counts


def _read_lengths(packed: Sequence[bytes], where: Callable[[int], str]) -> tuple[Indices, Indices]:
    """Read COCO counts: run lengths ``(M,)``, all masks in a row, and how many each mask has."""
    raw = np.frombuffer(b"".join(packed), np.uint8)
    groups = raw - np.uint8(_FIRST_CHARACTER)  # characters below it wrap around, above 63
    lasts = np.flatnonzero((groups & 32) == 0)
    firsts = np.append(0, lasts[:-1] + 1) if lasts.size else lasts
    sizes = lasts - firsts + 1
    after = np.cumsum([len(counts) for counts in packed], dtype=np.int64)
    wrong = [
        np.searchsorted(after, np.flatnonzero(groups > 63), side="right"),
        np.flatnonzero((groups[after - 1] & 32) != 0),
        np.searchsorted(after, lasts[sizes > _MAX_GROUPS], side="right"),
    ]
    if any(places.size for places in wrong):
        i = int(np.concatenate(wrong).min())
        raise TableError(f"{where(i)}: not COCO run-length counts. {_ADVICE}")
    numbers = (groups[firsts] & 31).astype(np.int64)
    for place in range(1, int(sizes.max(initial=1))):
        longer = np.flatnonzero(sizes > place)
        numbers[longer] += (groups[firsts[longer] + place] & 31).astype(np.int64) << (5 * place)
    negative = np.flatnonzero(groups[lasts] & 16)
    numbers[negative] -= np.int64(1) << (5 * sizes[negative])
    counts = np.diff(np.searchsorted(lasts, after), prepend=0)
    return _undo_differences(numbers, counts), counts


def _undo_differences(numbers: Indices, counts: Indices) -> Indices:
    """From the fourth number of a mask on, each is a difference to the number two before it.

    So the numbers at odd places are one running sum, those at even places from 2 on another.
    """
    firsts = np.cumsum(counts) - counts
    is_odd = (np.arange(numbers.size) - np.repeat(firsts, counts)) & 1
    odd_numbers = numbers * is_odd
    even_numbers = numbers - odd_numbers
    even_numbers[firsts] = 0
    odd = _restart_sums(np.cumsum(odd_numbers), odd_numbers, firsts, counts)
    even = _restart_sums(np.cumsum(even_numbers), even_numbers, firsts, counts)
    lengths = np.where(is_odd, odd, even)
    lengths[firsts] = numbers[firsts]
    return lengths


def _restart_sums(sums: Indices, values: Indices, firsts: Indices, counts: Indices) -> Indices:
    """Make running sums begin anew with each mask."""
    return sums - np.repeat(sums[firsts] - values[firsts], counts)

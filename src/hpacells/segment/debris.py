"""Specks that are no cells, on the working grid of any segmenter."""

import numpy as np
import numpy.typing as npt

__all__ = ["drop_debris"]


def drop_debris(ids: npt.NDArray[np.int32], least_px: float) -> npt.NDArray[np.int32]:
    """Drop what is too small, unless the frame cuts it: there the rest may lie outside.

    Parameters
    ----------
    ids
        ``(h, w)`` int32, 0 = background.
    least_px
        Fewer pixels than this are debris.

    Returns
    -------
    ndarray
        ``(h, w)`` int32 with the ids that are kept, unchanged.
    """
    keep = np.bincount(ids.ravel()) >= least_px
    for edge in (ids[0], ids[-1], ids[:, 0], ids[:, -1]):
        keep[edge] = True
    keep[0] = False
    return np.where(keep[ids], ids, 0).astype(np.int32)

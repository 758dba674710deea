"""What an image's label says of a single cell: measured on real images, used wherever it matters.

From 5,090 manually labelled cells in 328 public images of the Human Protein Atlas: of the cells of
images with a location on their label, the share that shows it (``PRESENCE``), and how much that
share differs between images (``CLUSTERING``, the intraclass correlation of a beta-binomial: 0 every
image the same, 1 all cells of an image or none). A location that the label lacks stands in fewer
than ``STRAY`` of the cells. Negative has no entry: it is what remains.
"""

import numpy as np
import numpy.typing as npt

__all__ = ["CLUSTERING", "NEGATIVE_SHARE", "PRESENCE", "STRAY", "chance_of_label"]

# class              0    1    2    3    4    5    6    7    8    9   10   11   12   13   14
PRESENCE = np.array([.78, .74, .64, .45, .87, .39, .70, .49, .79, .75, .59, .07, .24, .70, .85,
                     .68, .82, .55])  # fmt: skip
"""``(18,)`` mean share of a label's cells that show each location."""
CLUSTERING = np.array([.52, .41, .30, .35, .30, .35, .63, .29, .29, .17, .48, .0, .21, .75, .33,
                       .35, .55, .49])  # fmt: skip
"""``(18,)`` intraclass correlation of that share; aggresome by two images only: a guess."""
STRAY = 0.03
"""Most cells that show a location which their image's label lacks, as a share."""
NEGATIVE_SHARE = 0.10
"""Share of the cells of images *not* labelled Negative that show none of their label's locations:
half of what it would be if a cell lacked one location independently of the others."""

PRESENCE.flags.writeable = False
CLUSTERING.flags.writeable = False


def chance_of_label(frequency: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
    """Give the probability that a cell which lacks a location is in an image labelled with it.

    Parameters
    ----------
    frequency
        ``(18,)`` share π of the images whose label has each location.

    Returns
    -------
    ndarray
        ``(18,)`` π (1 - p) / (1 - π p) with the presence p, by Bayes' rule; 1 where every image
        has the location.
    """
    lacking = frequency * (1 - PRESENCE)
    return np.asarray(lacking / np.maximum(lacking + 1 - frequency, 1e-12))

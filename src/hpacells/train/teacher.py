"""How often a location of the label is found: the teacher's answers, shifted to what was measured.

A network taught by image labels finds a location in too many cells of the images that have it, or,
once its own answers are its targets, in ever fewer. The share that shows it is known
(``core.label_noise.PRESENCE``), so the teacher's logits get one shift per location.
"""

import torch
from torch import Tensor, nn

from hpacells.core.label_noise import PRESENCE
from hpacells.core.locations import N_LOCATIONS

__all__ = ["PresencePrior", "measured_presence", "shift_to_mean"]

_LIMIT = 12.0
_HALVINGS = 30
_SLOWEST = 0.02


class PresencePrior(nn.Module):
    """A running mean of each location's shift; nothing in it is learned by gradients."""

    shift: Tensor
    seen: Tensor
    wanted: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("shift", torch.zeros(N_LOCATIONS))
        self.register_buffer("seen", torch.zeros(N_LOCATIONS))
        self.register_buffer("wanted", measured_presence(), persistent=False)

    @torch.no_grad()
    def forward(self, logits: Tensor, present: Tensor) -> Tensor:
        """Learn from a step's answers, and shift them.

        Parameters
        ----------
        logits
            ``(cells, K)`` the teacher's.
        present
            ``(cells, K)`` bool: the location is on the label of the cell's image.

        Returns
        -------
        Tensor
            ``(cells, K)`` shifted logits. A step's own shift enters a running mean, the first ones
            equally, later ones by 2 %; locations that no label has stay as they were.
        """
        judged = present.any(dim=0) & (self.wanted < 1)
        fresh = shift_to_mean(logits, present, self.wanted)
        self.seen += judged
        rate = (1 / self.seen.clamp_min(1)).clamp_min(_SLOWEST)
        self.shift += torch.where(judged, rate * (fresh - self.shift), 0.0)
        return logits + self.shift


def measured_presence() -> Tensor:
    """Give the share of a label's cells that show each location, ``(K,)`` float32; 1 for Negative.

    Negative has no measured one: it is what remains.
    """
    presence = torch.ones(N_LOCATIONS)
    presence[: len(PRESENCE)] = torch.tensor(PRESENCE)
    return presence


def shift_to_mean(logits: Tensor, chosen: Tensor, wanted: Tensor) -> Tensor:
    """Find what to add to a column's logits to give its chosen probabilities a mean.

    Parameters
    ----------
    logits
        ``(M, K)`` float32.
    chosen
        ``(M, K)`` bool, the entries that are averaged.
    wanted
        ``(K,)`` means in (0, 1).

    Returns
    -------
    Tensor
        ``(K,)`` from -12 to 12, by bisection; without meaning where nothing is chosen.
    """
    low = torch.full_like(wanted, -_LIMIT)
    high = torch.full_like(wanted, _LIMIT)
    n = chosen.sum(dim=0).clamp_min(1)
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        mean = (torch.sigmoid(logits + middle) * chosen).sum(dim=0) / n
        low = torch.where(mean < wanted, middle, low)
        high = torch.where(mean < wanted, high, middle)
    return (low + high) / 2

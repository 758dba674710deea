"""What a classifier says of the cells of one field."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hpacells.core.errors import ModelError
from hpacells.core.locations import LOCATION_KEYS, N_LOCATIONS

__all__ = ["PredictionTable"]


@dataclass(frozen=True)
class PredictionTable:
    """Scores of one field's cells, in the order of its cells table.

    Parameters
    ----------
    cell
        ``(N, K)`` float32 in [0, 1]: each cell judged alone.
    image
        ``(K,)`` float32 in [0, 1]: the field as a whole.
    blend
        ``(N, K)`` float32 in [0, 1]: the competition's choice, for the submission only.
    embedding
        ``(N, D)`` float32.
    model_id
        Name and weight hash of the model.
    locations
        Ordered vocabulary; must be the project's own.
    """

    cell: npt.NDArray[np.float32]
    image: npt.NDArray[np.float32]
    blend: npt.NDArray[np.float32]
    embedding: npt.NDArray[np.float32]
    model_id: str
    locations: tuple[str, ...] = LOCATION_KEYS

    def __post_init__(self) -> None:
        if self.locations != LOCATION_KEYS:
            raise ModelError(
                f"model {self.model_id}: its locations are not this version's, in this order"
            )
        n = self.cell.shape[0]
        shapes = (self.cell.shape, self.blend.shape, self.image.shape, self.embedding.shape[:1])
        if shapes != ((n, N_LOCATIONS), (n, N_LOCATIONS), (N_LOCATIONS,), (n,)):
            raise ModelError(f"model {self.model_id}: scores of wrong shapes {shapes}")
        for name in ("cell", "image", "blend"):
            scores = getattr(self, name)
            if scores.dtype != np.float32 or not bool(((scores >= 0) & (scores <= 1)).all()):
                raise ModelError(
                    f"model {self.model_id}: {name} scores must be finite float32 in [0, 1]. "
                    "The weights may be damaged: check with 'hpacells models verify'."
                )

"""Settings of the simulator."""

from typing import Literal

from pydantic import BaseModel, ConfigDict

from hpacells.core.errors import ConfigError
from hpacells.simulate.cell_lines import CELL_LINES
from hpacells.simulate.designed_variation import VariationChoice
from hpacells.simulate.label_model import SampleSize
from hpacells.simulate.label_sets import Frequencies

__all__ = [
    "MAX_FIELDS",
    "MAX_FIELD_SIDE_UM",
    "PIXEL_SIZE_LIMITS_UM",
    "PRESENCE_LIMITS",
    "SIZE_LIMITS_PX",
    "SimulateConfig",
]

SIZE_LIMITS_PX = (256, 4096)
PIXEL_SIZE_LIMITS_UM = (0.04, 0.4)
MAX_FIELD_SIDE_UM = 400.0
MAX_FIELDS = 999_999
PRESENCE_LIMITS = (0.05, 1.0)
_MAX_SEED = 2**31 - 1


class SimulateConfig(BaseModel):
    """What every field of a simulated dataset has in common.

    Raises
    ------
    ConfigError
        From ``check``, when a number is outside its limits; the message quotes the option.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    size_px: int = 2048
    """Rows and columns of a field, in pixels, 256-4096. It cuts the field, not the scale."""

    pixel_size_um: float = 0.08
    """µm per pixel, 0.04-0.4."""

    bit_depth: Literal[8, 16] = 8
    """Bits of a stored grey value; full scale is 255 or 65535."""

    class_frequencies: Frequencies = "uniform"
    """``uniform``: each location in about as many *cells*; ``atlas``: image counts of the atlas."""

    cell_lines: tuple[str, ...] = ()
    """Names of the cell lines to draw from, all alike; none: all known lines by their weights."""

    variation: VariationChoice = "default"
    """Designed variation of every sample that allows it; ``default``: drawn by sample."""

    presence: float = 1.0
    """Factor on the share of an image's cells that carry a location of its label, 0.05-1; the
    spindle, which mitosis decides, is left out. Below 1 labels say less of single cells."""

    samples: SampleSize = "atlas"
    """``atlas``: one to six fields with one label; ``single``: each field has a gene or cell line
    of its own, so that a training set of few fields holds as many labels as fields."""

    @property
    def side_um(self) -> float:
        """Side of the field in µm."""
        return self.size_px * self.pixel_size_um

    @property
    def max_value(self) -> int:
        """Grey value of full scale."""
        return (1 << self.bit_depth) - 1

    def check(self, *, seed: int = 0, fields: int = 1) -> None:
        """Refuse what cannot be simulated, quoting the option."""
        low, high = SIZE_LIMITS_PX
        if not low <= self.size_px <= high:
            raise ConfigError(f"--size: expected {low}-{high} pixels, got {self.size_px}.")
        smallest, largest = PIXEL_SIZE_LIMITS_UM
        if not smallest <= self.pixel_size_um <= largest:
            raise ConfigError(
                f"--pixel-size-um: expected {smallest}-{largest} µm, got {self.pixel_size_um}."
            )
        if self.side_um > MAX_FIELD_SIDE_UM:
            raise ConfigError(
                "--size times --pixel-size-um: expected a side of at most "
                f"{MAX_FIELD_SIDE_UM:g} µm, got {self.side_um:g} µm. Make one of them smaller."
            )
        least, most = PRESENCE_LIMITS
        if not least <= self.presence <= most:
            raise ConfigError(f"--presence: expected {least:g}-{most:g}, got {self.presence}.")
        known = [line.name for line in CELL_LINES]
        if unknown := sorted(set(self.cell_lines) - set(known)):
            raise ConfigError(
                f"--cell-line: expected one of {', '.join(sorted(known))}; "
                f"got {', '.join(unknown)}."
            )
        if not 0 <= seed <= _MAX_SEED:
            raise ConfigError(f"--seed: expected 0-{_MAX_SEED}, got {seed}.")
        if not 1 <= fields <= MAX_FIELDS:
            raise ConfigError(f"--fields: expected 1-{MAX_FIELDS}, got {fields}.")

"""The four stains of an atlas field, by name. Nothing else knows their order."""

from enum import StrEnum

__all__ = ["CHANNELS", "Channel"]


class Channel(StrEnum):
    """A stain; its value is the colour that file names and manifests use."""

    MICROTUBULES = "red"
    PROTEIN = "green"
    NUCLEUS = "blue"
    ER = "yellow"

    @property
    def position(self) -> int:
        """Position along the channel axis of every ``(C, H, W)`` array."""
        return CHANNELS.index(self)


CHANNELS: tuple[Channel, ...] = (
    Channel.MICROTUBULES,
    Channel.PROTEIN,
    Channel.NUCLEUS,
    Channel.ER,
)
"""Order of the channel axis: red, green, blue, yellow."""

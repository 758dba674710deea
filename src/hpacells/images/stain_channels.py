"""Which channel of a file is which stain: declared by the user or by the file, never by order.

A declaration names a channel as the file does, capitals aside, or gives its number counted from 1,
as Fiji and QuPath show it. Without one, a file declares its stains itself where its channels are
named by colour (``red``, ``green``, ``blue``, ``yellow``) or by role (``microtubules``,
``protein``, ``nucleus``, ``er``). Names of dyes and antibodies say nothing here.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

from hpacells.core.channels import CHANNELS, Channel
from hpacells.core.errors import ConfigError, ImageError

__all__ = ["BY_FILE", "find_channels", "parse_channels"]

BY_FILE: Mapping[Channel, str] = {channel: channel.value for channel in CHANNELS}
"""The declaration of files that name their channels by colour or role."""

_EXAMPLE = "red=Tubulin,green=GFP,blue=DAPI,yellow=ER"


def parse_channels(text: str) -> dict[Channel, str]:
    """Read ``--channels``.

    Parameters
    ----------
    text
        ``stain=channel`` for each of the four stains, separated by commas.

    Returns
    -------
    dict
        Stain to the channel's name or number.

    Raises
    ------
    ConfigError
        Malformed, a stain unknown, missing or given twice.

    Examples
    --------
    >>> parse_channels("red=2, green=GFP, blue=1, yellow=4")[Channel.PROTEIN]
    'GFP'
    """
    wanted: dict[Channel, str] = {}
    for part in text.split(","):
        stain, sign, name = (piece.strip() for piece in part.partition("="))
        known = stain.lower() in {channel.value for channel in CHANNELS}
        if not (sign and name and known) or Channel(stain.lower()) in wanted:
            raise ConfigError(
                f"--channels: expected each of the four stains once, as in {_EXAMPLE} "
                f"(a channel's name, or its number from 1), got {part.strip()!r} in {text!r}."
            )
        wanted[Channel(stain.lower())] = name
    missing = [channel.value for channel in CHANNELS if channel not in wanted]
    if missing:
        raise ConfigError(
            f"--channels: expected each of the four stains once, as in {_EXAMPLE}; there is no "
            f"{', '.join(missing)} in {text!r}."
        )
    return wanted


def find_channels(
    names: Sequence[str], wanted: Mapping[Channel, str], path: Path
) -> dict[Channel, int]:
    """Find the declared channels in a file.

    Parameters
    ----------
    names
        The file's channels in its order, empty where one has no name.
    wanted
        Stain to name or number.
    path
        Named in errors.

    Returns
    -------
    dict
        Stain to the channel's position, from 0.

    Raises
    ------
    ImageError
        A channel is not there, its name stands twice, or two stains are one channel.
    """
    found: dict[Channel, int] = {}
    for stain, word in wanted.items():
        places = _places(names, stain, word)
        if len(places) != 1:
            problem = f"{len(places)} channels" if places else "no channel"
            raise ImageError(
                f"{path}: expected the stain {stain.value} as channel {word!r}, there is "
                f"{problem} of that name or number; {_describe(names)}. Say which channel is "
                f"which stain: --channels {_EXAMPLE} (names, or numbers from 1), or the columns "
                "red_channel, green_channel, ... of a manifest."
            )
        found[stain] = places[0]
    for stain, place in found.items():
        twins = [other.value for other, at in found.items() if at == place and other != stain]
        if twins:
            raise ImageError(
                f"{path}: expected a channel of its own for each stain, got channel {place + 1} "
                f"for {stain.value} and {', '.join(twins)}. Correct the declaration."
            )
    return found


def _places(names: Sequence[str], stain: Channel, word: str) -> list[int]:
    words = {word.casefold()}
    if word.casefold() == stain.value:
        words.add(stain.name.casefold())
    places = [i for i, name in enumerate(names) if name.strip().casefold() in words]
    if not places and word.isascii() and word.isdigit() and 1 <= int(word) <= len(names):
        return [int(word) - 1]
    return places


def _describe(names: Sequence[str]) -> str:
    if not any(names):
        return f"it has {len(names)} channel(s) without names"
    listed = ", ".join(f"{i} {name or '(no name)'}" for i, name in enumerate(names, 1))
    return f"its channels are: {listed}"

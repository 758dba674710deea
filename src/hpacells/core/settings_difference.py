"""What differs between the settings that a folder was made with and those asked for."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

__all__ = ["describe_difference"]

_NOTHING = "nothing"


def describe_difference(found: Mapping[str, Any], wanted: Mapping[str, Any]) -> str:
    """Name the settings that differ, with both values.

    Parameters
    ----------
    found, wanted
        JSON-ready settings, nested or not.

    Returns
    -------
    str
        ``measure_settings.border (there keep, asked for flag); …`` in the order of the names;
        empty where nothing differs.
    """
    found, wanted = (json.loads(json.dumps(settings)) for settings in (found, wanted))
    return "; ".join(
        f"{name} (there {there}, asked for {asked})"
        for name, there, asked in _differing(found, wanted, "")
    )


def _differing(
    found: Mapping[str, Any], wanted: Mapping[str, Any], prefix: str
) -> Iterator[tuple[str, object, object]]:
    for key in sorted({*found, *wanted}):
        there, asked = found.get(key, _NOTHING), wanted.get(key, _NOTHING)
        if isinstance(there, dict) and isinstance(asked, dict):
            yield from _differing(there, asked, f"{prefix}{key}.")
        elif there != asked:
            yield f"{prefix}{key}", there, asked

"""Where a run came from, as the page tells it: its settings as a short table.

The content of ``run.json`` belongs to the stage that writes it; here it is read as any JSON object,
and long lists (a hash per input) are counted, not shown.
"""

import json
from pathlib import Path
from typing import Any

from hpacells.core.errors import InputError

__all__ = ["flatten_provenance", "read_provenance"]

_FILES = ("run.json", "settings.json")
_MAX_ITEMS = 24


def read_provenance(run_folder: Path) -> dict[str, Any]:
    """Read ``run.json``, or ``settings.json`` while the run is not finished; else nothing.

    Raises
    ------
    InputError
        When the file is not a JSON object.
    """
    for name in _FILES:
        path = run_folder / name
        if path.is_file():
            try:
                content = json.loads(path.read_text(encoding="utf-8"))
            except ValueError as error:
                raise InputError(f"{path}: not JSON ({error}). Make the run again.") from error
            if not isinstance(content, dict):
                raise InputError(f"{path}: expected a JSON object, got {type(content).__name__}")
            return content
    return {}


def flatten_provenance(content: Any, prefix: str = "") -> list[tuple[str, str]]:
    """List a JSON value as (dotted key, text), keys sorted; what is long is counted instead."""
    if isinstance(content, dict | list) and len(content) > _MAX_ITEMS and prefix:
        return [(prefix, f"{len(content)} entries, see run.json")]
    if isinstance(content, dict) and content:
        return [
            line
            for key in sorted(content)
            for line in flatten_provenance(content[key], f"{prefix}.{key}" if prefix else str(key))
        ]
    if isinstance(content, list) and any(isinstance(item, dict | list) for item in content):
        return [
            line
            for i, item in enumerate(content)
            for line in flatten_provenance(item, f"{prefix}[{i}]")
        ]
    text = content if isinstance(content, str) else json.dumps(content, ensure_ascii=False)
    return [(prefix, text)]

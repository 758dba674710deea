"""What was fetched before: one line per file, appended as files arrive.

A line is JSON: ``name``, ``status`` (done | absent), ``bytes``, ``sha256``. A killed process leaves
at most half a line, which is passed over; its file is looked at again.
"""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from hpacells.core.storage import atomic_path

__all__ = ["FileNote", "Ledger"]


@dataclass(frozen=True)
class FileNote:
    """One file as it was fetched; absent where the server has none."""

    name: str
    status: str
    bytes: int = 0
    sha256: str = ""


class Ledger:
    """The notes of a dataset folder.

    Parameters
    ----------
    path
        Of the notes; need not exist.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._notes: dict[str, FileNote] = {}
        lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
        for line in lines:
            try:
                note = FileNote(**json.loads(line))
            except (ValueError, TypeError):  # half a line of a killed process
                continue
            self._notes[note.name] = note

    def find(self, name: str) -> FileNote | None:
        """Give a file's note, None where there is none."""
        return self._notes.get(name)

    def add(self, note: FileNote) -> None:
        """Note a file; on disk when this returns."""
        self._notes[note.name] = note
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(asdict(note)) + "\n")

    def write_checksums(self, path: Path) -> None:
        """Write the hashes of all files as ``sha256sum -c`` reads them."""
        done = sorted((n for n in self._notes.values() if n.status == "done"), key=lambda n: n.name)
        with atomic_path(path) as temporary:
            text = "".join(f"{note.sha256}  {note.name}\n" for note in done)
            temporary.write_text(text, encoding="utf-8")

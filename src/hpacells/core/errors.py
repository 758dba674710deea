"""Every error that hpacells raises on purpose, in one small tree.

::

    HpacellsError                 anything below; the command line prints it and exits 2
    ├── InputError                what the user gave cannot be used
    │   ├── ImageError            one field's files: missing, unreadable, of the wrong kind or size
    │   ├── PixelSizeError        the size of a pixel cannot be known
    │   ├── TableError            train.csv, a manifest, a submission: malformed
    │   └── ConfigError           options that contradict each other or are out of range
    ├── ModelError                a model folder is damaged or does not match the request
    ├── OutputError               the output folder: another run's, locked, full, not writable
    ├── WorkerError               a worker process died, or its GPU has no memory left
    └── MissingExtraError         an optional package is not installed

A message says what was expected, what came, where, and what to do. ``ImageError`` is the one
error that a run records against a field (status ``failed``) and passes over.
"""

__all__ = [
    "ConfigError",
    "HpacellsError",
    "ImageError",
    "InputError",
    "MissingExtraError",
    "ModelError",
    "OutputError",
    "PixelSizeError",
    "TableError",
    "WorkerError",
]


class HpacellsError(Exception):
    """Root of every error that hpacells raises on purpose."""


class InputError(HpacellsError):
    """What the user gave cannot be used."""


class ImageError(InputError):
    """The files of one field are missing, unreadable, or of the wrong kind or size."""


class PixelSizeError(InputError):
    """The size of a pixel cannot be known from the files; it has to be given."""


class TableError(InputError):
    """A table (train.csv, manifest, submission, truth) is malformed."""


class ConfigError(InputError):
    """Options that contradict each other or are out of range."""


class ModelError(HpacellsError):
    """A model folder is damaged, or does not match what is asked of it."""


class OutputError(HpacellsError):
    """The output folder belongs to something else, is locked, full or not writable."""


class WorkerError(HpacellsError):
    """A worker process died (killed from outside, or for lack of memory), or its GPU is full."""


class MissingExtraError(HpacellsError):
    """An optional package is needed and not installed."""

"""Where a result came from: versions and content hashes."""

import hashlib
import json
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

__all__ = ["hash_settings", "installed_versions", "sha256_bytes", "sha256_file"]

_REPORTED = (
    "hpacells",
    "numpy",
    "opencv-python-headless",
    "scikit-image",
    "onnxruntime",
    "pyarrow",
    "torch",
    "timm",
)


def sha256_bytes(content: bytes) -> str:
    """Hash bytes, in hexadecimal."""
    return hashlib.sha256(content).hexdigest()


def sha256_file(path: Path) -> str:
    """Hash a file's content, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def hash_settings(settings: dict[str, Any]) -> str:
    """Hash settings by their canonical JSON (keys sorted)."""
    return sha256_bytes(json.dumps(settings, sort_keys=True, allow_nan=False).encode())


def installed_versions() -> dict[str, str]:
    """Give the versions of Python and of the packages that can change a result."""
    versions = {"python": platform.python_version()}
    for name in _REPORTED:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            continue
    return versions

import hashlib
import platform

import numpy as np
import pytest

from hpacells.core.provenance import hash_settings, installed_versions, sha256_bytes, sha256_file


def test_content_hashes(tmp_path):
    (tmp_path / "a").write_bytes(b"cells")
    expected = hashlib.sha256(b"cells").hexdigest()
    assert sha256_bytes(b"cells") == sha256_file(tmp_path / "a") == expected


def test_settings_hash_by_content_not_by_order():
    assert hash_settings({"a": 1, "b": {"c": None}}) == hash_settings({"b": {"c": None}, "a": 1})
    assert hash_settings({"a": 1}) != hash_settings({"a": 2})
    with pytest.raises(ValueError, match="not JSON compliant"):
        hash_settings({"a": float("nan")})


def test_versions_of_what_is_installed(monkeypatch):
    monkeypatch.setattr("hpacells.core.provenance._REPORTED", ("numpy", "no-such-package-here"))
    versions = installed_versions()
    assert versions == {"python": platform.python_version(), "numpy": np.__version__}

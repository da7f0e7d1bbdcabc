"""Where the wheels' OpenSSL comes from: the pinned tarball, or none."""

from __future__ import annotations

import hashlib
from pathlib import Path

import openssl  # of release/, see conftest.py
import pytest


@pytest.fixture
def cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """An empty one; Debian has nothing, and the pinned tarball is b"good"."""

    def nothing(version: str, folder: Path) -> Path:
        raise LookupError("Debian has none")

    monkeypatch.setattr(openssl, "CACHE", tmp_path)
    monkeypatch.setattr(openssl, "SHA256", hashlib.sha256(b"good").hexdigest())
    monkeypatch.setattr(openssl, "fetch_from_debian", nothing)
    return tmp_path


def from_makers(monkeypatch: pytest.MonkeyPatch, content: bytes) -> None:
    def fetch(version: str, folder: Path) -> Path:
        (folder / "found").write_bytes(content)
        return folder / "found"

    monkeypatch.setattr(openssl, "fetch_from_makers", fetch)


def test_a_tarball_with_other_bytes_ends_the_build(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And is not kept."""
    from_makers(monkeypatch, b"bad")
    with pytest.raises(SystemExit, match=f"is not the OpenSSL {openssl.VERSION}"):
        openssl.source()
    assert list(cache.iterdir()) == []


def test_the_tarball_is_kept_and_looked_at_again(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next build needs no network, unless somebody has changed it."""
    from_makers(monkeypatch, b"good")
    kept, version = openssl.source()
    assert (kept.read_bytes(), version) == (b"good", openssl.VERSION)
    from_makers(monkeypatch, b"bad")
    assert openssl.source() == (kept, version)
    kept.write_bytes(b"changed")
    with pytest.raises(SystemExit, match="is not the OpenSSL"):
        openssl.source()


def test_without_the_pinned_tarball_it_is_said_where_to_put_it(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With every reason."""

    def fetch(version: str, folder: Path) -> Path:
        raise OSError("no network")

    monkeypatch.setattr(openssl, "fetch_from_makers", fetch)
    with pytest.raises(SystemExit) as caught:
        openssl.source()
    said = str(caught.value)
    assert f"put it at {cache}" in said
    assert "Debian has none" in said
    assert "no network" in said

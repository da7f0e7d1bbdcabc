"""Certificates of a site, as PEM files: an authority, a server's and a client's, and bad ones."""

from __future__ import annotations

import datetime
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest


@dataclass
class Site:
    """An authority and what it has signed, in a folder. Made by `site_in`."""

    folder: Path
    _authority: Any

    @property
    def ca(self) -> Path:
        return self.folder / "ca.pem"

    def issue(self, name: str, *hosts: str, **options: Any) -> dict[str, Path]:
        """NAME.pem and NAME.key for these hosts, as arguments of a Server."""
        made = self._authority.issue_cert(*hosts, **options)
        files = {"tls_cert": self.folder / f"{name}.pem", "tls_key": self.folder / f"{name}.key"}
        chain = b"".join(each.bytes() for each in made.cert_chain_pems)
        for path, text in zip(files.values(), (chain, made.private_key_pem.bytes()), strict=True):
            # Whole, as cert-manager and the SPIFFE helper replace theirs.
            draft = path.with_suffix(".draft")
            draft.write_bytes(text)
            draft.replace(path)
        return files

    def expired(self, name: str, *hosts: str) -> dict[str, Path]:
        yesterday = datetime.datetime.now(datetime.timezone.utc) - datetime.timedelta(days=1)
        before = yesterday - datetime.timedelta(days=1)
        return self.issue(name, *hosts, not_before=before, not_after=yesterday)


def site_in(folder: Path) -> Site:
    """An authority of its own. Skips the test without the package `trustme`."""
    trustme: Any = pytest.importorskip("trustme", reason="no trustme here: pip install trustme")
    authority = trustme.CA()
    folder.mkdir(parents=True, exist_ok=True)
    authority.cert_pem.write_to_path(folder / "ca.pem")
    return Site(folder, authority)

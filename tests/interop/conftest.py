"""Fixtures of the tests beside torch."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from support.torchrun import Job


@pytest.fixture
def job(tmp_path: Path) -> Iterator[Job]:
    job = Job(tmp_path)
    try:
        yield job
    finally:
        job.close()

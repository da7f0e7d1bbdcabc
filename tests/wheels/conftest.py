"""What the tests of wheels share: the wheels of a folder, and pure Python to test them with.

`nox -s wheels_tests` runs them. RDZV_WHEELS names the folder that `nox -s wheels` has filled,
RDZV_TEST_PACKAGES one with pytest, for Pythons that have none.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
# The scripts that build the wheels know where there are Pythons, and make Debian systems.
sys.path.insert(0, str(ROOT / "release"))


@pytest.fixture(scope="session")
def dist() -> Path:
    """The folder with the wheels."""
    folder = os.environ.get("RDZV_WHEELS")
    if not folder:
        pytest.skip("RDZV_WHEELS names no folder of wheels; `nox -s wheels wheels_tests` does")
    return Path(folder)


@pytest.fixture(scope="session")
def wheel_of(dist: Path) -> Callable[[str, str], Path]:
    """wheel_of("cp311", "x86_64"): that wheel."""

    def find(tag: str, processor: str) -> Path:
        found = sorted(dist.glob(f"*-{tag}-{tag}-*_{processor}.whl"))
        if not found:
            pytest.skip(f"no wheel for {tag} on {processor} was built")
        return found[-1]

    return find


@pytest.fixture(scope="session")
def packages() -> Path:
    """A folder for PYTHONPATH, with pytest for every Python."""
    folder = os.environ.get("RDZV_TEST_PACKAGES")
    if not folder:
        pytest.skip("RDZV_TEST_PACKAGES names no folder of packages; `nox -s wheels_tests` does")
    return Path(folder)

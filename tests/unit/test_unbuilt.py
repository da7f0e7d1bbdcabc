"""The package among its sources, where nothing is compiled: an import says what to do."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import rendezvous


@pytest.mark.parametrize(
    "code",
    [
        "import rendezvous; rendezvous.TCPStore",
        "from rendezvous import open_store",
        "from rendezvous.handler import DynamicRendezvousHandler",
        "from rendezvous.cli.main import main",
    ],
)
def test_an_import_without_the_compiled_part_says_how_to_get_it(tmp_path: Path, code: str) -> None:
    sources = Path(rendezvous.__file__).parent
    shutil.copytree(sources, tmp_path / "rendezvous", ignore=shutil.ignore_patterns("*.so"))

    done = subprocess.run(
        [sys.executable, "-S", "-c", code],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )

    last = done.stderr.splitlines()[-1]
    assert last.startswith("ImportError: rendezvous was found in ")
    assert str(tmp_path) in last
    assert "pip install ." in last
    assert "pip install -e ." in last

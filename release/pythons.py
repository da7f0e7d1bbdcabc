"""The Pythons that wheels are built with: on PATH, pyenv's, or Debian's in a chroot.

Whichever it is, `command` says how to run it. What it builds against is its own headers.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import chroots

# Where Debian has them. Those of the tests of wheels, so that one system serves both.
DEBIAN = {
    "cp311": chroots.Chroot("bookworm", "x86_64", ("python3", "python3-venv")),
    "cp313": chroots.Chroot("trixie", "x86_64", ("python3", "python3-venv", "python3-dev")),
    "cp314": chroots.Chroot("forky", "x86_64", ("python3", "python3-venv", "python3-dev")),
}
ASK_HEADERS = "import sysconfig; print(sysconfig.get_paths()['include'])"


@dataclass(frozen=True)
class Python:
    """An interpreter of this machine's processor, with its headers."""

    tag: str  # cp311, cp314t
    path: Path
    headers: Path  # where this machine sees them
    chroot: chroots.Chroot | None = None

    def command(self, words: Sequence[str | Path], *shared: Path) -> list[str]:
        """What runs these words, of which the first is a program of this Python's world."""
        if self.chroot is not None:
            return self.chroot.command(words, *shared)
        return [str(word) for word in words]


def name_of(tag: str) -> str:
    match = re.fullmatch(r"cp3(\d+)(t?)", tag)
    if match is None:
        raise SystemExit(f"{tag!r} is no tag of a Python; write one like cp312 or cp314t")
    return f"python3.{match[1]}{match[2]}"


def find(tag: str, *, in_debian: bool = True) -> Python | str:
    """The Python of a tag like cp312 or cp314t, or why there is none.

    `in_debian`: one in a chroot will do.
    """
    name = name_of(tag)
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    found = [Path(each) for each in [shutil.which(name)] if each]
    found += sorted(pyenv.glob(f"versions/*/bin/{name}"), reverse=True)
    for path in found:
        headers = headers_of([path])
        if headers is not None and (headers / "Python.h").exists():
            return Python(tag, path, headers)
    if tag not in DEBIAN or not in_debian:
        return f"no {name} with its headers is here"
    return find_in_debian(tag, name)


def find_in_debian(tag: str, name: str) -> Python | str:
    chroot = DEBIAN[tag]
    where = f"no {name} with its headers is here, nor in a chroot of Debian's {chroot.suite}"
    try:
        chroot.make()
    except chroots.NoChrootError as error:
        return f"{where}: {error}"
    path = Path("/usr/bin") / name
    headers = headers_of(chroot.command([path]))
    if headers is None or not (chroot.path / headers.relative_to("/") / "Python.h").exists():
        return where
    return Python(tag, path, chroot.path / headers.relative_to("/"), chroot)


def headers_of(command: Sequence[str | Path]) -> Path | None:
    words = [*command, "-c", ASK_HEADERS]
    shown = subprocess.run(words, capture_output=True, text=True, check=False)
    return Path(shown.stdout.strip()) if shown.returncode == 0 else None

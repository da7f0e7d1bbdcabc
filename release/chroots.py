"""Small Debian systems in folders, made by debootstrap and kept: Pythons and C libraries that this
machine does not have.

A system of this machine's processor is installed as usual. One of another processor is unpacked
only: Python needs none of the scripts that packages run, and they are slow under qemu-user.
Commands run in mount and process name spaces of their own, so nothing is left mounted. All of it
needs root.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "build" / "chroots"
MIRROR = os.environ.get("RDZV_DEBIAN_MIRROR", "http://deb.debian.org/debian")
SCRIPTS = Path("/usr/share/debootstrap/scripts")
PROCESSORS = {"x86_64": "amd64", "aarch64": "arm64"}
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
BINFMT = Path("/proc/sys/fs/binfmt_misc")
# How the kernel knows a program for aarch64. F: the emulator is opened now, so that it is found
# from within every chroot.
AARCH64_PROGRAM = (
    r":qemu-aarch64:M::\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\xb7\x00:"
    r"\xff\xff\xff\xff\xff\xff\xff\x00\xff\xff\xff\xff\xff\xff\xff\xff\xfe\xff\xff\xff:"
)


class NoChrootError(Exception):
    """There cannot be one here; the message says why."""


@dataclass(frozen=True)
class Chroot:
    """One system. `packages` are Debian's names."""

    suite: str
    processor: str
    packages: tuple[str, ...]

    @property
    def path(self) -> Path:
        return FOLDER / f"{self.suite}-{PROCESSORS[self.processor]}"

    @property
    def is_made(self) -> bool:
        """With these packages, to its end."""
        made = self._mark
        return made.exists() and made.read_text().split() == sorted(self.packages)

    def make(self) -> None:
        """Raises NoChrootError. Takes a minute or two the first time."""
        self.check()
        if self.is_made:
            return
        shutil.rmtree(self.path, ignore_errors=True)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        words = ["debootstrap", "--variant=minbase", f"--arch={PROCESSORS[self.processor]}"]
        words += [f"--include={','.join(self.packages)}"] if self.packages else []
        words += ["--foreign"] if self._is_foreign else []
        words += [self.suite, str(self.path), MIRROR]
        if not (SCRIPTS / self.suite).exists():  # a suite that this debootstrap is too old to know
            words.append(str(SCRIPTS / "sid"))
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            end = "\n".join((done.stdout + done.stderr).splitlines()[-5:])
            raise NoChrootError(f"{' '.join(words)} failed:\n{end}")
        if self._is_foreign:
            for package in sorted((self.path / "var/cache/apt/archives").glob("*.deb")):
                subprocess.run(["dpkg-deb", "-x", package, self.path], check=True)
        self._mark.write_text(" ".join(sorted(self.packages)))

    def check(self) -> None:
        """Raises NoChrootError where commands cannot run in it, or it cannot be made."""
        if os.geteuid() != 0:
            raise NoChrootError("chroots need root")
        if shutil.which("unshare") is None or not can_mount():
            raise NoChrootError("this machine lets nobody mount")
        if not self.is_made and shutil.which("debootstrap") is None:
            raise NoChrootError(
                "debootstrap is not installed (Debian: apt-get install debootstrap)"
            )
        if self._is_foreign:
            register_emulator(self.processor)

    def command(self, words: Sequence[str | Path], *shared: Path) -> list[str]:
        """What runs these words in it. `shared`: folders that it has under their own names."""
        root = self.path
        script = [f"mount --rbind /dev {root}/dev", f"mount -t proc proc {root}/proc"]
        for folder in shared:
            script.append(f"mkdir -p {root}{folder}")
            script.append(f"mount --bind {folder} {root}{folder}")
        script.append(f'exec chroot {root} "$@"')
        spaces = ["unshare", "--mount", "--pid", "--fork", "--kill-child"]
        return [*spaces, "sh", "-ec", "; ".join(script), "sh", *(str(word) for word in words)]

    def run(
        self,
        words: Sequence[str | Path],
        *shared: Path,
        environment: Mapping[str, str] | None = None,
        timeout_s: float | None = None,
    ) -> subprocess.CompletedProcess[str]:
        """Runs them to their end; the output is kept, and nothing is raised for a bad one."""
        return subprocess.run(
            self.command(words, *shared),
            env=clean_environment(environment),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=timeout_s,
        )

    @property
    def _is_foreign(self) -> bool:
        return self.processor != os.uname().machine

    @property
    def _mark(self) -> Path:
        return self.path.with_name(f"{self.path.name}.made")


def clean_environment(more: Mapping[str, str] | None = None) -> dict[str, str]:
    """Nothing of this machine's own: its pip may be told of folders that a chroot lacks."""
    return {"PATH": PATH, "HOME": "/root", "LC_ALL": "C.UTF-8", **(more or {})}


def can_mount() -> bool:
    words = ["unshare", "--mount", "--pid", "--fork", "mount", "-t", "tmpfs", "none", "/mnt"]
    return subprocess.run(words, capture_output=True, check=False).returncode == 0


def register_emulator(processor: str) -> None:
    """Tells the kernel who runs this processor's programs. Raises NoChrootError."""
    emulator = shutil.which(f"qemu-{processor}-static")
    if emulator is None:
        raise NoChrootError("qemu is not installed (Debian: apt-get install qemu-user-static)")
    if not (BINFMT / "register").exists():
        words = ["mount", "-t", "binfmt_misc", "binfmt_misc", str(BINFMT)]
        subprocess.run(words, capture_output=True, check=False)
    if (BINFMT / f"qemu-{processor}").exists():
        return
    try:
        (BINFMT / "register").write_text(f"{AARCH64_PROGRAM}{emulator}:F\n")
    except OSError as error:
        raise NoChrootError(f"the kernel takes no emulator (binfmt_misc): {error}") from None

"""Wheels in Debian systems of their own, as a training image has them: without a compiler.

Older and newer C libraries and Pythons than this machine has, and another processor under qemu.
"""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import chroots  # of release/, see conftest.py
import pytest
import pythons

ROOT = Path(__file__).resolve().parents[2]

INSTALL = "python3 -m venv {venv} && {venv}/bin/pip install --quiet --no-index {wheel}"
# What the Python makes a difference to, and the contract that all stores keep, of compiled ones.
TESTS = (
    "contract/test_store_contract.py",
    "integration/test_subinterpreters.py",
    "unit/test_signatures.py",
)
SOME = "hash or tcp or file or subinterpreter or signature"
# Under qemu, which is slow.
SHORT = "hash or (tcp and not prefix and not c10d and not aio)"


@dataclass(frozen=True)
class System:
    """A Debian with one of our wheels in a virtual environment, which is gone with the test."""

    chroot: chroots.Chroot
    folder: Path
    wheel: Path

    def run(self, *words: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
        done: subprocess.CompletedProcess[str] = self.chroot.run(
            words, self.folder, ROOT, environment=environment
        )
        return done

    @property
    def venv(self) -> Path:
        return self.folder / "venv"


SYSTEMS = {
    "debian-12": (pythons.DEBIAN["cp311"], "cp311"),
    "debian-13": (pythons.DEBIAN["cp313"], "cp313"),
    "debian-14": (pythons.DEBIAN["cp314"], "cp314"),
    "debian-12-aarch64": (
        chroots.Chroot("bookworm", "aarch64", ("python3", "python3-venv")),
        "cp311",
    ),
}


def made(chroot: chroots.Chroot) -> chroots.Chroot:
    try:
        chroot.make()
    except chroots.NoChrootError as error:
        pytest.skip(str(error))
    return chroot


@pytest.fixture(params=SYSTEMS)
def system(
    request: pytest.FixtureRequest, tmp_path: Path, wheel_of: Callable[[str, str], Path]
) -> Iterator[System]:
    """Each of them, with the wheel for its Python at hand."""
    chroot, tag = SYSTEMS[request.param]
    wheel = wheel_of(tag, chroot.processor)
    system = System(made(chroot), tmp_path, Path(shutil.copy2(wheel, tmp_path)))
    yield system
    # The mount point within the system, which is kept.
    shutil.rmtree(chroot.path / tmp_path.relative_to("/"), ignore_errors=True)


def test_a_wheel_installs_without_a_compiler_and_its_demo_meets(system: System) -> None:
    """Four processes find each other, seconds after pip began."""
    assert system.run("sh", "-c", "! command -v cc gcc g++ c++ clang").returncode == 0
    assert system.run("python3", "-m", "venv", system.venv).returncode == 0
    begun_s = time.monotonic()
    done = system.run(system.venv / "bin" / "pip", "install", "--no-index", system.wheel)
    assert done.returncode == 0, done.stdout + done.stderr
    installed_s = time.monotonic() - begun_s
    done = system.run(system.venv / "bin" / "rendezvous", "demo", "--nodes", "4")
    print(
        f"{system.wheel.name}: installed in {installed_s:.1f} s, with the demo "
        f"{time.monotonic() - begun_s:.1f} s"
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_token_opens_a_store_where_the_system_s_openssl_is_another(system: System) -> None:
    """Python's and the wheel's shake hands in one process; the demo meets with a token, too."""
    system.run("sh", "-c", INSTALL.format(venv=system.venv, wheel=system.wheel))
    done = system.run(system.venv / "bin" / "python", ROOT / "tests/wheels/two_openssls.py")
    print(done.stdout)
    assert done.returncode == 0, done.stdout + done.stderr
    assert ", in the wheel; Python's: OpenSSL " in done.stdout
    demo = (system.venv / "bin" / "rendezvous", "demo", "--nodes", "4")
    done = system.run(*demo, RENDEZVOUS_TOKEN="0123456789abcdef0123456789abcdef")
    assert done.returncode == 0, done.stdout + done.stderr


def test_stores_keep_their_contract_where_the_wheel_is_installed(
    system: System, packages: Path
) -> None:
    """The contract tests pass, of the stores that need nothing else; subinterpreters are told."""
    system.run("sh", "-c", INSTALL.format(venv=system.venv, wheel=system.wheel))
    shutil.copytree(packages, system.folder / "packages")
    is_emulated = system.chroot.processor == "aarch64"
    done = system.run(
        *(system.venv / "bin" / "python", "-m", "pytest", "-q", "-p", "no:cacheprovider"),
        *("-c", ROOT / "pyproject.toml", "--rootdir", ROOT),
        *(ROOT / "tests" / each for each in (TESTS[:1] if is_emulated else TESTS)),
        *("-k", SHORT if is_emulated else SOME),
        PYTHONPATH=str(system.folder / "packages"),
    )
    print(done.stdout.splitlines()[-1] if done.stdout else done.stderr)
    assert done.returncode == 0, done.stdout + done.stderr


def test_an_old_c_library_has_all_that_the_extensions_need(
    tmp_path: Path, wheel_of: Callable[[str, str], Path]
) -> None:
    """Debian 11's loader finds every symbol version of both, and starts the core.

    Its Python is too old to import them.
    """
    chroot = made(chroots.Chroot("bullseye", "x86_64", ("python3",)))
    shutil.unpack_archive(wheel_of("cp310", "x86_64"), tmp_path, "zip")
    extensions = sorted(tmp_path.rglob("*.so"))
    assert len(extensions) == 2
    for extension in extensions:
        done = chroot.run(["/lib64/ld-linux-x86-64.so.2", "--list", extension], tmp_path)
        assert done.returncode == 0, done.stdout + done.stderr
        assert "not found" not in done.stdout + done.stderr
    # Functions of newer Pythons would be asked for when they are called.
    code = (
        "import ctypes, os, sys\n"
        "ctypes.CDLL(sys.argv[1], os.RTLD_LAZY)\n"
        "print(*os.confstr('CS_GNU_LIBC_VERSION').split())\n"
    )
    done = chroot.run(["python3", "-c", code, extensions[0]], tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.split() == ["glibc", "2.31"]

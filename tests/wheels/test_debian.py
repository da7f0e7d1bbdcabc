"""Wheels in Debian systems of their own, as a training image has them: without a compiler.

Older and newer C libraries and Pythons than this machine has, and another processor under qemu.
"""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import chroots  # of release/, see conftest.py
import pytest
import pythons

ROOT = Path(__file__).resolve().parents[2]

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
    """A Debian with one of our wheels in a virtual environment, which is gone after the tests."""

    chroot: chroots.Chroot
    folder: Path
    wheel: Path
    installed_s: float = 0.0  # what pip took

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


@pytest.fixture(scope="module", params=SYSTEMS)
def system(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    wheel_of: Callable[[str, str], Path],
) -> Iterator[System]:
    """Each of them, with the wheel for its Python installed."""
    chroot, tag = SYSTEMS[request.param]
    wheel = wheel_of(tag, chroot.processor)
    folder = tmp_path_factory.mktemp(request.param)
    system = System(made(chroot), folder, Path(shutil.copy2(wheel, folder)))
    done = system.run("python3", "-m", "venv", system.venv)
    assert done.returncode == 0, done.stdout + done.stderr
    begun_s = time.monotonic()
    done = system.run(system.venv / "bin" / "pip", "install", "--no-index", system.wheel)
    assert done.returncode == 0, done.stdout + done.stderr
    yield replace(system, installed_s=time.monotonic() - begun_s)
    # The mount point within the system, which is kept.
    shutil.rmtree(chroot.path / folder.relative_to("/"), ignore_errors=True)


def test_a_wheel_installs_without_a_compiler_and_its_demo_meets(system: System) -> None:
    """Four processes find each other, seconds after pip began."""
    assert system.run("sh", "-c", "! command -v cc gcc g++ c++ clang").returncode == 0
    begun_s = time.monotonic()
    done = system.run(system.venv / "bin" / "rendezvous", "demo", "--nodes", "4")
    print(
        f"{system.wheel.name}: installed in {system.installed_s:.1f} s, with the demo "
        f"{system.installed_s + time.monotonic() - begun_s:.1f} s"
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_token_opens_a_store_where_the_system_s_openssl_is_another(system: System) -> None:
    """Python's and the wheel's shake hands in one process; the demo meets with a token, too."""
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

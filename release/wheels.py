"""Builds the wheels: for every Python that is here and every processor, with one compiler.

Run by `nox -s wheels`, which installs what it needs. What is built is said in pyproject.toml
([tool.cibuildwheel]), for this script and for cibuildwheel, which people with runners use.
The compiler is Zig, because it has the headers and symbol lists of old C libraries and of other
processors: a wheel for aarch64, and one that loads on a system of 2014, come from any machine. Its
C++ library is linked statically. What does not depend on Python, the core, is compiled once a
processor.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import chroots
import clocks
import openssl
import pythons

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).resolve().parent.parent
WORK = ROOT / "build" / "wheel-builds"
# So that the same sources give the same bytes: 1980 is the first year that a zip file knows.
EPOCH = openssl.EPOCH
GLIBC = openssl.GLIBC
# Where Zig keeps the C++ libraries that it compiles, minutes of work, once for each processor.
ZIG_CACHE = Path(os.environ.get("ZIG_GLOBAL_CACHE_DIR", Path.home() / ".cache" / "zig"))
# What a build of a wheel reads; the rest of the repository makes no difference to it.
SOURCES = (
    "CMakeLists.txt",
    "LICENSE",
    "README.md",
    "csrc",
    "pyproject.toml",
    "release",
    "rendezvous",
)
OBJCOPY = "llvm-objcopy"
# Of all that is linked, CMake's look at the compiler included: for others, Zig compiles its C++
# library once more.
FLAGS = ("-O3", "-g1")
Words: TypeAlias = list[str | Path]


@dataclass(frozen=True)
class Place:
    """Where sources are, and where what they become is put."""

    sources: Path
    work: Path

    def core_folder(self, processor: str) -> Path:
        return self.work / f"core-{processor}"


@dataclass(frozen=True)
class Core:
    """What does not depend on Python, for a processor."""

    library: Path
    tls: Path  # a folder with OpenSSL

    def cmake_settings(self) -> dict[str, str]:
        return {"RDZV_CORE": str(self.library), "RDZV_BUNDLED_TLS": str(self.tls)}


@dataclass(frozen=True)
class Target:
    """A Python and a processor."""

    python: pythons.Python
    processor: str

    @property
    def name(self) -> str:
        return f"{self.python.tag}-{self.processor}"

    @property
    def is_cross(self) -> bool:
        return self.processor != os.uname().machine

    @property
    def module_suffix(self) -> str:
        return f".cpython-{self.python.tag.removeprefix('cp')}-{self.processor}-linux-gnu.so"


def configuration() -> dict[str, list[str]]:
    """Tags of Pythons and names of processors, as pyproject.toml has them."""
    table = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["cibuildwheel"]
    return {
        "pythons": [each.partition("-")[0] for each in table["build"]],
        "processors": table["linux"]["archs"],
    }


def platform_of(processor: str) -> str:
    return f"manylinux_{GLIBC.replace('.', '_')}_{processor}"


def run(*command: str | Path, environment: dict[str, str] | None = None) -> None:
    subprocess.run([str(each) for each in command], check=True, env=environment)


def tool(name: str) -> str:
    """A program that the session's environment has."""
    return str(Path(sysconfig.get_path("scripts")) / name)


def zig_folder() -> Path:
    spec = importlib.util.find_spec("ziglang")
    if spec is None or spec.origin is None:
        raise SystemExit("ziglang is not installed; `nox -s wheels` installs it")
    return Path(spec.origin).parent


def compiler_environment(place: Place, processor: str) -> dict[str, str]:
    return {
        "CXX": str(place.sources / "release" / "zig-c++"),
        "ZIG": str(zig_folder() / "zig"),
        "ZIG_TARGET": f"{processor}-linux-gnu.{GLIBC}",
        "ZIG_GLOBAL_CACHE_DIR": str(ZIG_CACHE),
        "ZIG_LOCAL_CACHE_DIR": str(ZIG_CACHE),
        "SOURCE_DATE_EPOCH": EPOCH,
    }


def compiler_settings(
    place: Place, processor: str, python: pythons.Python | None = None
) -> dict[str, str]:
    """CMake's. Debug information is small, and names no folder of this machine."""
    names = {place.sources: ".", place.work: "build", zig_folder(): "zig", openssl.CACHE: "openssl"}
    if python is not None:
        names |= {python.headers: "python", WORK / f"venv-{python.tag}": "venv"}
    flags = [*FLAGS, *(f"-ffile-prefix-map={old}={new}" for old, new in names.items())]
    settings = {
        "CMAKE_CXX_FLAGS": " ".join(flags),
        # This machine's may not know another processor's code.
        "CMAKE_AR": str(place.sources / "release" / "zig-ar"),
        "CMAKE_RANLIB": str(place.sources / "release" / "zig-ranlib"),
        "CMAKE_STRIP": "",  # pybind11 would; symbols are taken out into files of their own
        # As one program, the core would be optimised for a minute in each extension of each Python.
        "RDZV_IPO": "OFF",
        "CMAKE_INTERPROCEDURAL_OPTIMIZATION": "OFF",  # and for pybind11
        "RDZV_PCH": "ON",
    }
    if processor != os.uname().machine:
        settings |= {"CMAKE_SYSTEM_NAME": "Linux", "CMAKE_SYSTEM_PROCESSOR": processor}
    return settings


def compile_zigs_libraries(environment: dict[str, str]) -> None:
    """Those that it links into what we link: one core's work, so it goes beside other work."""
    with tempfile.TemporaryDirectory() as folder:
        program = Path(folder, "empty.cc")
        program.write_text("int main() {}\n")
        out = program.with_suffix("")
        run(environment["CXX"], *FLAGS, program, "-o", out, environment=environment)


def compile_core(place: Place, processor: str, *, any_openssl: bool) -> Core:
    """The static library, without Python, and the OpenSSL for it."""
    folder = place.core_folder(processor)
    environment = os.environ | compiler_environment(place, processor)
    environment["PATH"] = f"{sysconfig.get_path('scripts')}{os.pathsep}{os.environ['PATH']}"
    with ThreadPoolExecutor() as pool:
        libraries = pool.submit(compile_zigs_libraries, environment)
        tls = openssl.build(processor, environment, any_of_series=any_openssl)
        libraries.result()
    settings = compiler_settings(place, processor) | {
        "CMAKE_BUILD_TYPE": "Release",
        "RDZV_PYTHON": "OFF",
        "RDZV_BUNDLED_TLS": str(tls),
    }
    words: Words = ["-S", place.sources, "-B", folder, "-G", "Ninja"]
    words += [f"-D{name}={value}" for name, value in settings.items()]
    begun_s = time.monotonic()
    run(tool("cmake"), *words, "--log-level=WARNING", environment=environment)
    run(tool("cmake"), "--build", folder, "--target", "rdzv", environment=environment)
    print(f"the core for {processor}: {time.monotonic() - begun_s:.0f} s", flush=True)
    return Core(folder / "librdzv.a", tls)


def make_environment(place: Place, python: pythons.Python) -> Path:
    """A virtual environment with what a build needs, the same for all of this Python's wheels."""
    venv = WORK / f"venv-{python.tag}"
    if (venv / "made").exists():
        return venv
    shutil.rmtree(venv, ignore_errors=True)
    project = tomllib.loads((place.sources / "pyproject.toml").read_text())
    requires = ["cmake>=3.21", "ninja", *project["build-system"]["requires"]]
    in_python(python, [python.path, "-m", "venv", venv])
    if python.chroot is None:
        pip: Words = [venv / "bin" / "python", "-m", "pip", "--quiet"]
        run(*pip, "install", *requires)
    else:
        # A chroot has neither this machine's certificates nor its settings of pip.
        store = WORK / f"packages-{python.tag}"
        version = f"--python-version=3.{python.tag.removeprefix('cp3').removesuffix('t')}"
        pip = [sys.executable, "-m", "pip", "--quiet"]
        run(*pip, "download", "--only-binary=:all:", "--dest", store, version, *requires)
        pip = [venv / "bin" / "python", "-m", "pip", "--quiet"]
        in_python(python, [*pip, "install", "--no-index", "--find-links", store, *requires])
    (venv / "made").touch()
    return venv


def in_python(python: pythons.Python, words: Words, more: dict[str, str] | None = None) -> None:
    """Runs them where this Python is."""
    environment = chroots.clean_environment(more) if python.chroot else os.environ | (more or {})
    command = python.command(words, ROOT, zig_folder(), ZIG_CACHE, openssl.CACHE)
    run(*command, environment=dict(environment))


def compile_wheel(place: Place, target: Target, core: Core, folder: Path) -> Path:
    """The wheel as the build makes it, with debug information and the plain tag."""
    venv = make_environment(place, target.python)
    headers = adapt_headers(target)
    environment = compiler_environment(place, target.processor)
    path = chroots.PATH if target.python.chroot else os.environ["PATH"]
    environment["PATH"] = f"{venv / 'bin'}{os.pathsep}{path}"
    cmake = compiler_settings(place, target.processor, target.python)
    cmake["CMAKE_CXX_FLAGS"] += f" -I{headers}" if headers else ""
    cmake |= core.cmake_settings()
    # Bindings, six at a time: what they instantiate of pybind11 takes longer than what is theirs.
    cmake |= {"CMAKE_UNITY_BUILD": "ON", "CMAKE_UNITY_BUILD_BATCH_SIZE": "6"}
    if target.is_cross:
        # What the interpreter says of its own machine; sysconfig and scikit-build-core look here.
        environment["_PYTHON_HOST_PLATFORM"] = f"linux-{target.processor}"
        environment["SETUPTOOLS_EXT_SUFFIX"] = target.module_suffix
        cmake["PYTHON_MODULE_EXTENSION"] = target.module_suffix
        cmake["PYTHON_MODULE_DEBUG_POSTFIX"] = ""
    build = place.work / target.name
    shutil.rmtree(build, ignore_errors=True)
    settings = {"build-dir": str(build), "install.strip": "false"}
    settings |= {f"cmake.define.{name}": value for name, value in cmake.items()}
    words: Words = [venv / "bin" / "python", "-m", "pip", "wheel", "--quiet", "--no-deps"]
    words += ["--no-build-isolation", "--wheel-dir", folder]
    words += [f"--config-settings={name}={value}" for name, value in settings.items()]
    in_python(target.python, [*words, place.sources], environment)
    (wheel,) = folder.glob("*.whl")
    return wheel


def adapt_headers(target: Target) -> Path | None:
    """A folder of headers that this Python's own lack for the processor.

    Debian's pyconfig.h only includes the one of the processor, and has that of this machine's
    alone. The two say the same: both processors have the same sizes and byte order.
    """
    own = target.python.headers
    here = own.parent / f"{os.uname().machine}-linux-gnu" / own.name / "pyconfig.h"
    if not here.exists():
        return None
    folder = WORK / f"headers-{target.name}"
    there = folder / f"{target.processor}-linux-gnu" / own.name / "pyconfig.h"
    there.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(here, there)
    return folder


def dated() -> dict[str, str]:
    """For what writes zip files."""
    return {**os.environ, "SOURCE_DATE_EPOCH": EPOCH}


def take_out_symbols(wheel: Path, target: Target, debug: Path) -> Path:
    """The wheel without debug information, which goes to `debug`, a file for each extension.

    Before, it is what tells whether something waits by the wall clock.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        run(tool("wheel"), "unpack", "--dest", folder, wheel)
        (content,) = folder.iterdir()
        debug.mkdir(parents=True, exist_ok=True)
        for extension in sorted(content.rglob("*.so")):
            if not extension.name.endswith(target.module_suffix):
                raise SystemExit(f"{extension.name} does not end with {target.module_suffix}")
            clocks.check(extension)
            symbols = debug / f"{extension.name}.debug"
            run(OBJCOPY, "--only-keep-debug", extension, symbols)
            run(OBJCOPY, "--strip-unneeded", extension)
        wheel.unlink()
        run(tool("wheel"), "pack", "--dest", wheel.parent, content, environment=dated())
    return wheel


def finish_wheel(wheel: Path, processor: str) -> Path:
    """Gives it the tag of what it needs, if it needs no more than that."""
    words = [tool("auditwheel"), "show", str(wheel)]
    shown = subprocess.run(words, capture_output=True, text=True, check=False)
    platform = platform_of(processor)
    if f'platform tag: "{platform}"' not in " ".join(shown.stdout.split()):
        raise SystemExit(f"{wheel.name} needs more than {platform}:\n{shown.stdout}")
    # It writes one of the files anew.
    run(tool("wheel"), "tags", "--remove", f"--platform-tag={platform}", wheel, environment=dated())
    (tagged,) = wheel.parent.glob("*.whl")
    return tagged


def build(place: Place, target: Target, core: Core, dist: Path) -> Path:
    begun_s = time.monotonic()
    dist.mkdir(parents=True, exist_ok=True)
    place.work.mkdir(parents=True, exist_ok=True)
    # Within the folder that a chroot shares.
    with tempfile.TemporaryDirectory(dir=place.work) as name:
        wheel = compile_wheel(place, target, core, Path(name))
        wheel = take_out_symbols(wheel, target, dist / "debug")
        wheel = finish_wheel(wheel, target.processor)
        wheel = Path(shutil.move(wheel, dist / wheel.name))
    size_kb = wheel.stat().st_size / 1000
    print(f"{wheel.name}: {size_kb:.0f} kB, {time.monotonic() - begun_s:.0f} s", flush=True)
    return wheel


def build_all(
    place: Place,
    found: list[pythons.Python],
    processors: list[str],
    dist: Path,
    *,
    any_openssl: bool,
) -> list[Path]:
    made = []
    for processor in processors:
        core = compile_core(place, processor, any_openssl=any_openssl)
        made += [build(place, Target(python, processor), core, dist) for python in found]
    return made


def note_commit(copy: Path) -> None:
    """Of a checkout, for a copy that is none: the extension tells it."""
    if not (ROOT / ".git").exists():
        return
    words = ["git", "-C", str(ROOT), "rev-parse", "--short=12", "HEAD"]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    (copy / "release" / "commit.txt").write_text(done.stdout)


def compare_with_second_build(
    made: list[Path],
    found: list[pythons.Python],
    processors: list[str],
    *,
    any_openssl: bool,
) -> None:
    """Builds the same again, from a copy of the sources in another folder."""
    folder = WORK / "again"
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "sources").mkdir(parents=True)
    for name in SOURCES:
        source, copy = ROOT / name, folder / "sources" / name
        shutil.copytree(source, copy) if source.is_dir() else shutil.copy2(source, copy)
    note_commit(folder / "sources")
    place = Place(folder / "sources", folder / "work")
    again = build_all(place, found, processors, folder / "dist", any_openssl=any_openssl)
    for first, second in zip(made, again, strict=True):
        digests = [hashlib.sha256(each.read_bytes()).hexdigest() for each in (first, second)]
        if len(set(digests)) != 1:
            raise SystemExit(f"{first.name} has other bytes when it is built again: {second}")
        print(f"{first.name}: built twice, sha256 {digests[0]}", flush=True)
    shutil.rmtree(folder)


def main() -> None:
    wanted = configuration()
    parser = argparse.ArgumentParser(description="Build the wheels; see docs/wheels.md.")
    parser.add_argument("--python", action="append", metavar="TAG", help="as cp312; default: all")
    parser.add_argument("--processor", action="append", choices=wanted["processors"])
    parser.add_argument("--dist", type=Path, default=ROOT / "dist", help="default: dist/")
    parser.add_argument(
        "--twice", action="store_true", help="build all again elsewhere, and compare the bytes"
    )
    parser.add_argument(
        "--any-openssl",
        action="store_true",
        help="where the pinned OpenSSL is gone, take a newer one of Debian's; not for a release",
    )
    arguments = parser.parse_args()
    for program, package in {OBJCOPY: "llvm", "make": "make", "perl": "perl"}.items():
        if shutil.which(program) is None:
            raise SystemExit(f"{program} is not here (Debian: apt-get install {package})")
    any_openssl = arguments.any_openssl
    tags = arguments.python or wanted["pythons"]
    seen = {tag: pythons.find(tag) for tag in tags}
    found = [each for each in seen.values() if isinstance(each, pythons.Python)]
    processors = arguments.processor or wanted["processors"]
    place = Place(ROOT, WORK)
    made = build_all(place, found, processors, arguments.dist, any_openssl=any_openssl)
    if arguments.twice:
        compare_with_second_build(made, found, processors, any_openssl=any_openssl)
    for tag, reason in seen.items():
        if isinstance(reason, str):
            print(f"{tag} skipped: {reason}")


if __name__ == "__main__":
    main()

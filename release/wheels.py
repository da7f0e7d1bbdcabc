"""Builds the wheels: for every Python that is here and every processor, with one compiler.

Run by `nox -s wheels`, which installs what it needs. What is built is said in pyproject.toml
([tool.cibuildwheel]), for this script and for cibuildwheel, which people with runners use.
The compiler is Zig, because it has the headers and symbol lists of old C libraries and of other
processors: a wheel for aarch64, and one that loads on a system of 2014, come from any machine. Its
C++ library is linked statically.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).resolve().parent.parent
WORK = ROOT / "build" / "wheel-builds"
# So that the same sources give the same bytes: 1980 is the first year that a zip file knows.
EPOCH = "315532800"
GLIBC = "2.17"


@dataclass(frozen=True)
class Target:
    """A Python and a processor."""

    tag: str  # cp311, cp314t
    python: Path
    processor: str

    @property
    def name(self) -> str:
        return f"{self.tag}-{self.processor}"

    @property
    def platform(self) -> str:
        return f"manylinux_{GLIBC.replace('.', '_')}_{self.processor}"

    @property
    def is_cross(self) -> bool:
        return self.processor != os.uname().machine


def configuration() -> dict[str, list[str]]:
    """Tags of Pythons and names of processors, as pyproject.toml has them."""
    table = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["cibuildwheel"]
    return {
        "pythons": [each.partition("-")[0] for each in table["build"]],
        "processors": table["linux"]["archs"],
    }


def find_python(tag: str) -> Path | None:
    """The interpreter of a tag like cp312 or cp314t: on PATH, or one of pyenv's."""
    match = re.fullmatch(r"cp3(\d+)(t?)", tag)
    if match is None:
        raise SystemExit(f"{tag!r} is no tag of a Python; write one like cp312 or cp314t")
    name = f"python3.{match[1]}{match[2]}"
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    found = [Path(each) for each in [shutil.which(name)] if each]
    found += sorted(pyenv.glob(f"versions/*/bin/{name}"), reverse=True)
    return next((each for each in found if has_headers(each)), None)


def has_headers(python: Path) -> bool:
    code = "import sysconfig; print(sysconfig.get_paths()['include'])"
    shown = subprocess.run([python, "-c", code], capture_output=True, text=True, check=False)
    return shown.returncode == 0 and (Path(shown.stdout.strip()) / "Python.h").exists()


def run(*command: str | Path, environment: dict[str, str] | None = None) -> None:
    subprocess.run([str(each) for each in command], check=True, env=environment, cwd=ROOT)


def tool(name: str) -> str:
    """A program that the session's environment has."""
    return str(Path(sysconfig.get_path("scripts")) / name)


def environment_of(target: Target, python: Path) -> dict[str, str]:
    environment = dict(os.environ)
    environment |= {
        "CXX": str(ROOT / "release" / "zig-c++"),
        "ZIG_PYTHON": sys.executable,
        "ZIG_TARGET": f"{target.processor}-linux-gnu.{GLIBC}",
        "SOURCE_DATE_EPOCH": EPOCH,
        "PATH": f"{python.parent}{os.pathsep}{environment['PATH']}",
    }
    if target.is_cross:
        # What the interpreter says of its own machine; sysconfig and scikit-build-core look here.
        environment["_PYTHON_HOST_PLATFORM"] = f"linux-{target.processor}"
        environment["SETUPTOOLS_EXT_SUFFIX"] = module_suffix(target)
    return environment


def module_suffix(target: Target) -> str:
    return f".cpython-{target.tag.removeprefix('cp')}-{target.processor}-linux-gnu.so"


def settings_of(target: Target) -> list[str]:
    """CMake's and scikit-build-core's, as pip takes them."""
    prefix_map = f"-ffile-prefix-map={ROOT}=."
    settings = {
        "build-dir": str(WORK / target.name),
        "install.strip": "false",
        # Small debug information, which is taken out into a file of its own. pybind11 would strip.
        "cmake.define.CMAKE_CXX_FLAGS": f"-g1 {prefix_map}",
        "cmake.define.CMAKE_STRIP": "",
    }
    if target.is_cross:
        settings |= {
            "cmake.define.CMAKE_SYSTEM_NAME": "Linux",
            "cmake.define.CMAKE_SYSTEM_PROCESSOR": target.processor,
            "cmake.define.PYTHON_MODULE_EXTENSION": module_suffix(target),
            "cmake.define.PYTHON_MODULE_DEBUG_POSTFIX": "",
        }
    return [f"--config-settings={name}={value}" for name, value in settings.items()]


def compile_wheel(target: Target, folder: Path) -> Path:
    """The wheel as the build makes it, with debug information and the plain tag."""
    venv = WORK / f"venv-{target.tag}"
    python = venv / "bin" / "python"
    if not python.exists():
        run(target.python, "-m", "venv", venv)
        requires = tomllib.loads((ROOT / "pyproject.toml").read_text())["build-system"]["requires"]
        run(python, "-m", "pip", "install", "--quiet", "cmake>=3.21", "ninja", *requires)
    shutil.rmtree(WORK / target.name, ignore_errors=True)
    words = [python, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation"]
    words += ["--wheel-dir", folder, *settings_of(target), "."]
    run(*words, environment=environment_of(target, python))
    (wheel,) = folder.glob("*.whl")
    return wheel


def take_out_symbols(wheel: Path, debug: Path) -> Path:
    """The wheel without debug information, which goes to `debug`, a file for each extension."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        run(tool("wheel"), "unpack", "--dest", folder, wheel)
        (content,) = folder.iterdir()
        debug.mkdir(parents=True, exist_ok=True)
        for extension in sorted(content.rglob("*.so")):
            symbols = debug / f"{extension.name}.debug"
            run("llvm-objcopy", "--only-keep-debug", extension, symbols)
            run("llvm-objcopy", "--strip-unneeded", extension)
            run("llvm-objcopy", f"--add-gnu-debuglink={symbols}", extension)
        wheel.unlink()
        environment = {**os.environ, "SOURCE_DATE_EPOCH": EPOCH}
        run(tool("wheel"), "pack", "--dest", wheel.parent, content, environment=environment)
    return wheel


def finish_wheel(target: Target, wheel: Path, dist: Path) -> Path:
    """Gives it the tag of what it needs, if it needs no more than that."""
    shown = subprocess.run(
        [tool("auditwheel"), "show", wheel], capture_output=True, text=True, check=False
    )
    seen = " ".join(shown.stdout.split())
    if f'platform tag: "{target.platform}"' not in seen:
        raise SystemExit(f"{wheel.name} needs more than {target.platform}:\n{shown.stdout}")
    run(tool("wheel"), "tags", "--remove", f"--platform-tag={target.platform}", wheel)
    (tagged,) = wheel.parent.glob("*.whl")
    dist.mkdir(parents=True, exist_ok=True)
    return Path(shutil.move(tagged, dist / tagged.name))


def build(target: Target, dist: Path) -> Path:
    begun_s = time.monotonic()
    with tempfile.TemporaryDirectory() as name:
        wheel = compile_wheel(target, Path(name))
        wheel = take_out_symbols(wheel, dist / "debug")
        wheel = finish_wheel(target, wheel, dist)
    size_kb = wheel.stat().st_size / 1000
    print(f"{wheel.name}: {size_kb:.0f} kB, {time.monotonic() - begun_s:.0f} s", flush=True)
    return wheel


def main() -> None:
    wanted = configuration()
    parser = argparse.ArgumentParser(description="Build the wheels; see CONTRIBUTING.md.")
    parser.add_argument("--python", action="append", metavar="TAG", help="as cp312; default: all")
    parser.add_argument("--processor", action="append", choices=wanted["processors"])
    parser.add_argument("--dist", type=Path, default=ROOT / "dist", help="default: dist/")
    arguments = parser.parse_args()
    if shutil.which("llvm-objcopy") is None:
        raise SystemExit("llvm-objcopy is not here (Debian: apt-get install llvm)")
    skipped = []
    for tag in arguments.python or wanted["pythons"]:
        python = find_python(tag)
        if python is None:
            skipped.append(tag)
            continue
        for processor in arguments.processor or wanted["processors"]:
            build(Target(tag, python, processor), arguments.dist)
    if skipped:
        print(f"skipped, as no such Python with its headers is here: {', '.join(skipped)}")


if __name__ == "__main__":
    main()

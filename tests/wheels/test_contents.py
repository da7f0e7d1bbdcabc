"""What is in a wheel: its extensions, and what they need of the system."""

from __future__ import annotations

import io
import json
import re
import shutil
import subprocess
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

elffile = pytest.importorskip("elftools.elf.elffile", reason="pyelftools is not installed")

GLIBC = (2, 17)
MACHINES = {"x86_64": "EM_X86_64", "aarch64": "EM_AARCH64"}
# Of the C library's own; libstdc++ and libgcc are linked in.
LIBRARIES = {
    "libc.so.6",
    "libpthread.so.0",
    "libm.so.6",
    "libdl.so.2",
    "librt.so.1",
    "ld-linux-x86-64.so.2",
    "ld-linux-aarch64.so.1",
}


@pytest.fixture
def wheels(dist: Path) -> list[Path]:
    found = sorted(dist.glob("*.whl"))
    assert found, f"no wheels in {dist}"
    return found


@contextmanager
def extensions(wheel: Path) -> Iterator[dict[str, Path]]:
    """Name in the wheel, and file."""
    with zipfile.ZipFile(wheel) as archive, tempfile.TemporaryDirectory() as folder:
        names = [name for name in archive.namelist() if name.endswith(".so")]
        yield {name: Path(archive.extract(name, folder)) for name in names}


def parts(wheel: Path) -> tuple[str, str]:
    """The tag of its Python, and the processor."""
    match = re.search(r"-(cp\d+t?)-cp\d+t?-manylinux_2_17_(\w+)\.whl$", wheel.name)
    assert match is not None, wheel.name
    return match[1], match[2]


def test_a_wheel_has_all_of_the_package_and_nothing_else(wheels: list[Path]) -> None:
    """Modules, stubs, the mark of a typed package, completions; two extensions; its description."""
    package = Path(__file__).resolve().parents[2] / "rendezvous"
    expected = {
        str(path.relative_to(package.parent))
        for path in package.rglob("*")
        if path.suffix in {".py", ".pyi", ".bash", ".fish", ".zsh", ".html"}
        or path.name == "py.typed"
    }
    for wheel in wheels:
        with zipfile.ZipFile(wheel) as archive:
            names = {name for name in archive.namelist() if ".dist-info/" not in name}
        compiled = {name.partition(".")[0] for name in names if name.endswith(".so")}
        assert compiled == {"rendezvous/_core", "rendezvous/aio/_native"}
        assert {name for name in names if not name.endswith(".so")} == expected


def test_extensions_are_of_the_python_and_processor_of_the_tag(wheels: list[Path]) -> None:
    """Names and machine codes fit the wheel's name."""
    for wheel in wheels:
        tag, processor = parts(wheel)
        suffix = f".cpython-{tag.removeprefix('cp')}-{processor}-linux-gnu.so"
        with extensions(wheel) as found:
            assert sorted(found) == [f"rendezvous/_core{suffix}", f"rendezvous/aio/_native{suffix}"]
            for path in found.values():
                elf = elffile.ELFFile(io.BytesIO(path.read_bytes()))
                assert elf["e_machine"] == MACHINES[processor], path


def test_extensions_need_no_more_than_the_c_library_of_the_tag(wheels: list[Path]) -> None:
    """No symbol version is newer, and no other library is asked for."""
    for wheel in wheels:
        with extensions(wheel) as found:
            for path in found.values():
                elf = elffile.ELFFile(io.BytesIO(path.read_bytes()))
                needed = {
                    tag.needed for tag in elf.get_section_by_name(".dynamic").iter_tags("DT_NEEDED")
                }
                assert needed <= LIBRARIES, path
                versions = [
                    each.name
                    for _, entries in elf.get_section_by_name(".gnu.version_r").iter_versions()
                    for each in entries
                ]
                assert versions
                for version in versions:
                    numbers = tuple(map(int, re.findall(r"\d+", version)))
                    assert version.startswith("GLIBC_"), (path, version)
                    assert numbers <= GLIBC, (path, version)


def test_debug_information_is_apart_and_leaves_no_trace_in_a_wheel(
    wheels: list[Path], dist: Path
) -> None:
    """It is in a file that has the extension's name. Its checksum is not the same everywhere."""
    for wheel in wheels:
        with extensions(wheel) as found:
            for name, path in found.items():
                elf = elffile.ELFFile(io.BytesIO(path.read_bytes()))
                assert elf.get_section_by_name(".debug_info") is None, path
                assert elf.get_section_by_name(".gnu_debuglink") is None, path
                debug = dist / "debug" / f"{Path(name).name}.debug"
                symbols = elffile.ELFFile(io.BytesIO(debug.read_bytes()))
                assert symbols.get_section_by_name(".debug_info") is not None, debug


def test_nothing_in_a_wheel_waits_by_the_wall_clock(wheels: list[Path], dist: Path) -> None:
    """Neither what the extensions call, nor, by their symbols, what was compiled into them."""
    import clocks

    for wheel in wheels:
        with extensions(wheel) as found:
            for path in found.values():
                assert clocks.wall_clock_waits(path) == []
                assert clocks.wall_clock_waits(dist / "debug" / f"{path.name}.debug") == []


def test_a_wheel_names_no_folder_of_the_machine_that_built_it(wheels: list[Path]) -> None:
    """Else another machine's would have other bytes."""
    root = str(Path(__file__).resolve().parents[2]).encode()
    for wheel in wheels:
        with zipfile.ZipFile(wheel) as archive:
            for name in archive.namelist():
                data = archive.read(name)
                assert root not in data, name
                assert str(Path.home()).encode() + b"/" not in data, name


def test_extensions_show_nothing_but_python_s_entries(wheels: list[Path]) -> None:
    """The OpenSSL in them is nobody else's: no other library of a process finds a name of it."""
    for wheel in wheels:
        with extensions(wheel) as found:
            for name, path in found.items():
                elf = elffile.ELFFile(io.BytesIO(path.read_bytes()))
                shown = [
                    symbol.name
                    for symbol in elf.get_section_by_name(".dynsym").iter_symbols()
                    if symbol["st_shndx"] != "SHN_UNDEF"
                ]
                assert f"PyInit_{Path(name).name.partition('.')[0]}" in shown, path
                assert [each for each in shown if not each.startswith("PyInit_")] == [], path


def test_openssl_is_in_one_extension_and_its_licence_and_version_in_the_wheel(
    wheels: list[Path], dist: Path
) -> None:
    """It is in the core, which lends it to asyncio's; the version is the one that is pinned.

    The extensions' symbols are in their debug files.
    """
    import openssl

    for wheel in wheels:
        with extensions(wheel) as found:
            have = {
                name.partition(".")[0]
                for name, path in found.items()
                if "SSL_CTX_new" in symbols_of(dist / "debug" / f"{path.name}.debug")
            }
        assert have == {"rendezvous/_core"}, wheel
        with zipfile.ZipFile(wheel) as archive:
            (information,) = {
                name.partition("/")[0] for name in archive.namelist() if ".dist-info/" in name
            }
            assert b"Apache License" in archive.read(f"{information}/licenses/openssl/LICENSE.txt")
            assert b"Apache License" in archive.read(f"{information}/licenses/LICENSE")
            parts = json.loads(archive.read(f"{information}/sboms/openssl.cdx.json"))
            (component,) = parts["components"]
            assert component["name"] == "openssl"
            assert component["version"].startswith(f"{openssl.SERIES}.")
            core = next(name for name in archive.namelist() if "/_core." in name and ".so" in name)
            assert f"OpenSSL {component['version']} ".encode() in archive.read(core)


def symbols_of(path: Path) -> set[str]:
    with path.open("rb") as file:
        table = elffile.ELFFile(file).get_section_by_name(".symtab")
        return {symbol.name for symbol in table.iter_symbols()}


@pytest.mark.parametrize(
    ("calls", "found"),
    [
        ("sem_timedwait(0, 0);", "sem_timedwait knows no clock but the wall clock"),
        ("pthread_mutex_timedlock(0, 0);", "pthread_mutex_timedlock knows no clock"),
        ("pthread_cond_timedwait(0, 0, 0);", "nothing calls pthread_condattr_setclock"),
        ("pthread_cond_timedwait(0, 0, 0); pthread_condattr_setclock(0, CLOCK_MONOTONIC);", None),
        ("clock_gettime(CLOCK_REALTIME, 0);", None),
    ],
)
def test_what_waits_by_the_wall_clock_is_found(
    calls: str, found: str | None, tmp_path: Path
) -> None:
    """In a library that has such calls; to read the clock is none."""
    import clocks

    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler is installed")
    source, library = tmp_path / "calls.c", tmp_path / "calls.so"
    source.write_text(
        "#define _GNU_SOURCE\n#include <pthread.h>\n#include <semaphore.h>\n#include <time.h>\n"
        f"void call(void) {{ {calls} }}\n"
    )
    words = [compiler, "-w", "-shared", "-fPIC", "-o", str(library), str(source)]
    subprocess.run(words, check=True)
    assert (found or "") in "".join(clocks.wall_clock_waits(library))
    assert bool(clocks.wall_clock_waits(library)) == (found is not None)

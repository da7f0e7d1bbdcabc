"""The session that fuzzes: libFuzzer's programs of tests/fuzz, and the corpus that is kept of them.

A corpus is one file a target, tests/fuzz/corpus/TARGET: each input behind its size, a little-endian
u32. The C++ tests replay it.
"""

from __future__ import annotations

import os
import shutil
import struct
from pathlib import Path

import nox

from tasks.steps import NO_DOCTEST, ROOT, has_doctest

KEPT = ROOT / "tests" / "fuzz" / "corpus"
# Of each target; small inputs first, which show most for their size.
KEPT_BYTES = 48 * 1024
INPUT_BYTES = 8192


@nox.session
def fuzz(session: nox.Session) -> None:
    """Fuzz decoders, the server's core and TLS, with AddressSanitizer: `-- 5`, 5 minutes each.

    `-- 5 native state`: these targets alone. With `--keep`, what is found is made small and kept in
    tests/fuzz/corpus. What goes wrong lies in build/fuzz/found; its program repeats it.
    """
    if shutil.which("clang++") is None:
        session.skip("clang is not installed (Debian: apt-get install clang); skipped")
    if not has_doctest():
        session.skip(NO_DOCTEST)
    words = [each for each in session.posargs if each != "--keep"]
    minutes = float(words.pop(0)) if words and words[0].replace(".", "").isdigit() else 1.0
    session.install("cmake>=3.21", "ninja")
    session.run("cmake", "--preset", "fuzz")
    session.run("cmake", "--build", "--preset", "fuzz")
    build = ROOT / "build" / "fuzz"
    programs = build / "tests" / "fuzz"
    found = build / "found"
    found.mkdir(exist_ok=True)
    session.run(str(programs / "fuzz_seeds"), str(build / "corpus"), external=True)
    names = sorted(each.name.removeprefix("fuzz_") for each in programs.glob("fuzz_*"))
    targets = words or [each for each in names if (build / "corpus" / each).is_dir()]
    for target in targets:
        corpus = build / "corpus" / target
        unpack(KEPT / target, corpus)
        program = [str(programs / f"fuzz_{target}"), f"-max_len={INPUT_BYTES}"]
        options = ["-timeout=60", "-rss_limit_mb=4096", f"-artifact_prefix={found}{os.sep}"]
        options += [f"-max_total_time={round(60 * minutes)}", "-print_final_stats=1"]
        session.run(*program, *options, str(corpus), external=True)
        if "--keep" in session.posargs:
            small = build / "small" / target
            shutil.rmtree(small, ignore_errors=True)
            small.mkdir(parents=True)
            session.run(*program, "-merge=1", str(small), str(corpus), external=True)
            pack(small, KEPT / target)


def unpack(path: Path, folder: Path) -> None:
    if not path.exists():
        return
    data = path.read_bytes()
    at = number = 0
    while at < len(data):
        (size,) = struct.unpack_from("<I", data, at)
        at += 4
        (folder / f"kept{number}").write_bytes(data[at : at + size])
        at += size
        number += 1


def pack(folder: Path, path: Path) -> None:
    inputs = sorted(
        (each.read_bytes() for each in folder.iterdir()), key=lambda each: (len(each), each)
    )
    packed = b""
    for each in inputs:
        if len(packed) + 4 + len(each) > KEPT_BYTES:
            break
        packed += struct.pack("<I", len(each)) + each
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(packed)

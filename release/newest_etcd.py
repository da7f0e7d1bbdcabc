"""Prints the path of a program that is the etcd of Debian's testing release, newer than the others
that tests use. It runs on this system, with the C library of its own. Run by `nox -s etcd`.
"""

from __future__ import annotations

import os
import sys

import chroots

SUITE = "forky"


def main() -> int:
    chroot = chroots.Chroot(SUITE, os.uname().machine, ("etcd-server",))
    try:
        chroot.make()
    except chroots.NoChrootError as error:
        print(error, file=sys.stderr)
        return 1
    root = chroot.path
    (loader,) = root.glob("usr/lib*/ld-linux-*.so.*")
    libraries = root / "usr" / "lib" / f"{os.uname().machine}-linux-gnu"
    program = chroots.FOLDER / f"etcd-of-{SUITE}"
    words = f"{loader} --library-path {libraries} --argv0 etcd {root}/usr/bin/etcd"
    program.write_text(f'#!/bin/sh\nexec {words} "$@"\n')
    program.chmod(0o755)
    print(program)
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Looks through an extension for what could wait by the wall clock, which may be set back.

A wheel for old C libraries has no pthread_cond_clockwait, so a standard library's time-outs follow
CLOCK_REALTIME there. Ours are base/monotonic_condition.h's: pthread_cond_timedwait on conditions
whose clock is set. Both are seen in an extension that has its symbols still.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

from elftools.elf.elffile import ELFFile
from elftools.elf.sections import SymbolTableSection

# Of the C library, without a say in which clock.
WALL_CLOCK = {
    "cnd_timedwait",
    "mq_timedreceive",
    "mq_timedsend",
    "mtx_timedlock",
    "pthread_mutex_timedlock",
    "pthread_rwlock_timedrdlock",
    "pthread_rwlock_timedwrlock",
    "pthread_timedjoin_np",
    "sem_timedwait",
}
# Of the C++ library (libc++'s and libstdc++'s), compiled in: they call pthread_cond_timedwait.
STANDARD_WAIT = re.compile(r"__do_timed_wait|condition_variable.*wait_(for|until)|__timed_mutex")
TIMED_WAIT, SET_CLOCK = "pthread_cond_timedwait", "pthread_condattr_setclock"


def wall_clock_waits(extension: Path) -> list[str]:
    """What is wrong, a line each."""
    with extension.open("rb") as file:
        tables = [
            each for each in ELFFile(file).iter_sections() if isinstance(each, SymbolTableSection)
        ]
        names = {symbol.name for table in tables for symbol in table.iter_symbols()}
    plain = {name.partition("@")[0] for name in names}
    found = [f"{name} knows no clock but the wall clock" for name in sorted(plain & WALL_CLOCK)]
    found += [
        f"{name} waits by the wall clock where the C library is old"
        for name in sorted(plain)
        if STANDARD_WAIT.search(name)
    ]
    if TIMED_WAIT in plain and SET_CLOCK not in plain:
        found.append(f"{TIMED_WAIT} is used, and nothing calls {SET_CLOCK}")
    return found


def check(extension: Path) -> None:
    found = wall_clock_waits(extension)
    if found:
        lines = "\n".join(found)
        raise SystemExit(f"{extension.name} may wait by the wall clock:\n{lines}")


if __name__ == "__main__":
    for name in sys.argv[1:]:
        check(Path(name))

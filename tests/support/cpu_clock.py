"""How much processor time another process has had, to the microsecond where the system allows it.

The clock of another process moves with the kernel's tick while that runs, by 4 ms as a rule. A
counter of the kernel's (perf_event_open(2), its task clock) is read where it is; whoever may not
have one gets the clock.
"""

from __future__ import annotations

import ctypes
import os
import platform
import struct
import time

from support.proc import threads

_CALL = {"x86_64": 298, "aarch64": 241}
_SOFTWARE, _TASK_CLOCK, _ATTRIBUTE_BYTES = 1, 1, 128
_CLOSE_ON_EXEC = 8


class CpuClock:
    """Of the threads that the process has now. In seconds, from somewhere."""

    def __init__(self, pid: int) -> None:
        self._clock = (~pid << 3) | 2  # of that process: see clock_getcpuclockid(3)
        self._counters = [_counter(tid) for tid in threads(pid)]
        self.is_exact = all(counter >= 0 for counter in self._counters)

    def __call__(self) -> float:
        if not self.is_exact:
            return time.clock_gettime(self._clock)
        counts = (struct.unpack("<Q", os.read(each, 8))[0] for each in self._counters)
        return float(sum(counts)) * 1e-9

    def close(self) -> None:
        for counter in self._counters:
            if counter >= 0:
                os.close(counter)


def _counter(tid: int) -> int:
    call = _CALL.get(platform.machine())
    if call is None:
        return -1
    attribute = bytearray(_ATTRIBUTE_BYTES)
    struct.pack_into("<IIQ", attribute, 0, _SOFTWARE, _ATTRIBUTE_BYTES, _TASK_CLOCK)
    buffer = (ctypes.c_char * _ATTRIBUTE_BYTES).from_buffer(attribute)
    system_call = ctypes.CDLL(None, use_errno=True).syscall
    return int(system_call(call, buffer, tid, -1, -1, ctypes.c_ulong(_CLOSE_ON_EXEC)))

"""Kills the command's process group when `rendezvous exec` itself was killed.

Runs as a process of its own, as a script: `python -I -S _guard.py`, so it imports nothing of ours
and starts in 10 ms. Its stdin is a pipe whose only other end `exec` holds. Each line is the
process group to kill, 0 for none. The end of file without a line 0 before it means that `exec`
died: nobody is left to wait for the command or to report what became of it, and a new `exec` may
start on this machine at once, so the group gets SIGKILL.

Why not a parent-death signal (prctl): it reaches the command itself and not what the command
started (`bash train.sh` dies, the training goes on), it is lost when the command changes its
user, and only Linux has it.
"""

import contextlib
import os
import signal
import sys


def main() -> None:
    """Follow stdin to its end, then kill the group last named."""
    group = 0
    for line in sys.stdin:
        group = int(line)
    # Never 1 or below: to killpg those mean "my own group" or nonsense.
    if group > 1:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(group, signal.SIGKILL)


if __name__ == "__main__":
    main()

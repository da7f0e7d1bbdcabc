"""What the exit codes of `rendezvous` mean, and the error that ends a command with one.

The table is repeated for users in docs/cli.md and in the help texts.
"""

from __future__ import annotations

import signal

from rendezvous._base.exit_codes import DO_NOT_RESTART as _DO_NOT_RESTART

OK = 0
# The answer is no (no such key, or none in time; not swapped), or `serve`, `exec` or `demo` failed.
NO = 1
FAILED = 1
# argparse exits with the same code.
USAGE = 2
# The server could not be reached, or did not answer in time.
UNREACHABLE = 3
# Of `status`: the run is there, and its round is not complete.
NOT_COMPLETE = 4
# Of `exec`: the job has failed for good, and to start this node again is of no use.
DO_NOT_RESTART = _DO_NOT_RESTART
# As in a shell: the command of `exec` is there but cannot be run; is not there.
NOT_EXECUTABLE = 126
NOT_FOUND = 127


def of_signal(signum: int) -> int:
    """The exit code, as in a shell, of what was ended by signal `signum`."""
    return 128 + signum


def of_child(returncode: int) -> int:
    """The exit code, as in a shell, for a `returncode` of `subprocess`."""
    return of_signal(-returncode) if returncode < 0 else returncode


def signal_name(signum: int) -> str:
    """`SIGTERM` for 15; `signal 40` where the number has no name."""
    try:
        return signal.Signals(signum).name
    except ValueError:
        return f"signal {signum}"


class CommandError(Exception):
    """Ends the command with a message on stderr, one line and no traceback, and an exit code."""

    def __init__(self, message: str, code: int = FAILED) -> None:
        super().__init__(message)
        self.code = code

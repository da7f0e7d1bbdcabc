"""Opens the store of a c10d rendezvous: decides whether this process serves it, and connects.

Owns that decision, and the connections and server that result. Knows nothing about the state in the
store.
"""

import logging
import os
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote, urlencode

from rendezvous import _core
from rendezvous._base.api import RendezvousParameters
from rendezvous._base.deadline import Deadline
from rendezvous._base.endpoint import format_endpoint, is_unix, parse_endpoint
from rendezvous._base.errors import (
    RendezvousConnectionError,
    StoreAddressInUseError,
    StoreConnectionError,
    StoreError,
    StoreProtocolError,
    StoreRefusedError,
    StoreTimeoutError,
)
from rendezvous._base.hosts import (
    is_refused,
    is_served,
    is_wildcard,
    match_host,
    plan_hosting,
    serve_on,
)
from rendezvous._base.security import Security
from rendezvous._base.settings import read_seconds

__all__ = ["DEFAULT_PORT", "StoreConnection", "open_store"]

_log = logging.getLogger(__name__)

DEFAULT_PORT = 29400
_READ_TIMEOUT_S = 60.0
_JOIN_TIMEOUT_S = 600.0
# When a node that cannot connect says so, at first and again.
_FIRST_WORD_S, _WORD_S = 1.0, 10.0
# The second connection goes where the first has just got through, even if that took all the time.
_CONNECT_S_MIN = 1.0


@dataclass(frozen=True)
class StoreConnection:
    """The objects opened for one handler, closed with it.

    Attributes:
        store: for the nodes' own keys.
        control: for the rendezvous, on a separate connection: its timeouts follow the rendezvous'
            deadlines, which must not affect users of `store`.
        endpoint: where the store is, `host:port` or a path.
        address: the run's own key space there, as a URL that `rendezvous.open_store` takes.
        host: of the endpoint; None for a file.
        server: the store's server, if this process is its host.
        temporary: a file that no other process knows, removed at the end.
        opening_s: how long opening took, which is part of the first join's time.
        run_id: of the handler.
        security: by which it was opened.
    """

    store: _core.TCPStore | _core.FileStore
    control: _core.TCPStore | _core.FileStore
    endpoint: str
    host: str | None = None
    server: _core.Server | None = None
    temporary: Path | None = None
    opening_s: float = 0.0
    run_id: str = ""
    security: Security = field(default_factory=Security)

    @property
    def address(self) -> str:
        # Escaped, so that no run's keys are among those of another one.
        space = f"runs/{quote(self.run_id, safe='')}"
        if isinstance(self.store, _core.TCPStore):
            host = self.host if self.host and not is_wildcard(self.host) else self.store.host
            said = self.security.in_url
            if is_unix(host):
                return f"{host}?{urlencode({'prefix': space} | said)}"
            scheme = "tcps" if said or self.security.tls else "tcp"
            query = "?" + urlencode(said) if said else ""
            return f"{scheme}://{format_endpoint(host, self.store.port)}/{quote(space)}{query}"
        return f"{Path(self.endpoint).absolute().as_uri()}?prefix={quote(space, safe='')}"

    @property
    def is_of_one_job(self) -> bool:
        """Whether it ends with the job, so that other jobs do not use it."""
        if isinstance(self.control, _core.TCPStore):
            return self.server is not None or self.control.is_of_one_job
        return self.temporary is not None

    def is_gone(self) -> bool:
        """Whether nothing listens any longer where the store was: its host has ended."""
        if self.server is not None or not isinstance(self.control, _core.TCPStore):
            return False
        return is_refused(self.control.host, self.control.port)

    def release(self, deadline: Deadline) -> None:
        """The handler has left. A server, or a file, keeps nothing for it."""

    def close(self) -> None:
        """Close the connections, and the server if it is ours. May be called again."""
        for store in (self.control, self.store):
            if isinstance(store, _core.TCPStore):
                store.close()
        if self.server is not None:
            self.server.close()
        if self.temporary is not None:
            self.temporary.unlink(missing_ok=True)


@dataclass(frozen=True)
class _Role:
    """Whether this process serves the store, and why, for errors."""

    server: _core.Server | None
    connect: str
    reason: str
    # Where it would have served, had nobody listened there. Who that is, is looked for when an
    # error shall name it: among all processes, which costs more than all the rest of opening.
    contested: tuple[str, ...] = ()

    def why(self, port: int) -> str:
        """The reason, with the holder of the port."""
        return f"{self.reason}: {self.holder(port)}" if self.contested else self.reason

    def holder(self, port: int) -> str:
        """What stands in the way of serving, as text."""
        try:
            serve_on(self.contested, port, allow=()).close()
        except StoreError as error:
            return str(error)
        return "the port was in use, but is free again"


def open_store(params: RendezvousParameters) -> StoreConnection:
    """Open the store that `params` describe; for TCP, serve it if that is this process's part.

    Configuration:
        store_type: `tcp`, the default, or `file`: then the endpoint is a path that all nodes share;
            without one, a temporary file, which makes a run of this node alone.
        is_host: whether this process serves the store. Default: it does if the endpoint's host is
            this machine and no server is there already.
        listen_fd: a descriptor of a bound socket to serve on, at the endpoint's port: this process
            is the host then.
        read_timeout: seconds that one request may take; default 60.
        on_server: called with the server, if this process serves the store.
        token, token_file, tls_cert, tls_key, tls_ca, tls_name, tls, insecure: see docs/security.md.
        join_timeout: seconds for connecting, as clients may start long before the server, and for
            the first round; default 600.

    Raises ValueError for bad parameters, RendezvousConnectionError when the store cannot be served
    or reached.
    """
    store_type = params.get("store_type", "tcp")
    kind = store_type.strip().lower() if isinstance(store_type, str) else store_type
    if kind == "tcp":
        return _open_tcp(params)
    if kind == "file":
        return _open_file(params)
    raise ValueError(f"store_type is {store_type!r}; use 'tcp' or 'file'")


def _open_file(params: RendezvousParameters) -> StoreConnection:
    path, temporary = params.endpoint, None
    if not path:
        try:
            handle, path = tempfile.mkstemp(prefix="rendezvous-")
        except OSError as error:
            raise RendezvousConnectionError(
                f"cannot create a temporary file for the rendezvous store: {error}; use a path "
                "as the endpoint, or set TMPDIR to a writable directory"
            ) from error
        os.close(handle)
        temporary = Path(path)
    try:
        timeout_s = read_seconds(params, "read_timeout", _READ_TIMEOUT_S)
        store = _core.FileStore(path, timeout=timeout_s)
        control = _core.FileStore(path, timeout=timeout_s)
    except BaseException as error:
        if temporary is not None:
            temporary.unlink(missing_ok=True)
        if isinstance(error, StoreError):
            raise RendezvousConnectionError(
                f"cannot open the file {path!r} of the rendezvous store: {error}"
            ) from error
        raise
    return StoreConnection(store, control, path, temporary=temporary)


def _open_tcp(params: RendezvousParameters) -> StoreConnection:
    read_timeout_s = read_seconds(params, "read_timeout", _READ_TIMEOUT_S)
    connect_timeout_s = read_seconds(params, "join_timeout", _JOIN_TIMEOUT_S)
    deadline = Deadline.after(connect_timeout_s)
    host, port = parse_endpoint(params.endpoint, DEFAULT_PORT)
    security = Security.of(params)
    listen_fd = params.get_as_int("listen_fd")
    if listen_fd is None:
        role = _take_role(host, port, params.get_as_bool("is_host"), security)
    else:
        role = _serve_on_descriptor(host, port, listen_fd, security)
    named = security
    if role.server is not None:
        named = security.named(None)
    elif role.connect != host and not is_wildcard(host):
        named = security.named(host)
    if role.server is not None:
        port = role.server.port
    elif port == 0 and not is_unix(host):
        raise ValueError(
            f"the endpoint {params.endpoint!r} has port 0, which only the host may use "
            f"({role.reason}); use the port that the host listens on"
        )
    opened: list[_core.TCPStore] = []
    try:
        while len(opened) < 2:
            store = _connect(role, port, format_endpoint(host, port), deadline, named)
            opened.append(store)
            store.set_timeout(read_timeout_s)
            deadline = deadline.at_least(_CONNECT_S_MIN)
    except BaseException as error:
        for store in opened:
            store.close()
        if role.server is not None:
            role.server.close()
        if isinstance(error, StoreError):
            raise _cannot_connect(host, port, role, connect_timeout_s, error) from error
        raise
    store, control = opened
    endpoint = format_endpoint(host, port)
    if role.server is not None and (on_server := params.get("on_server")) is not None:
        on_server(role.server)
    return StoreConnection(
        store,
        control,
        endpoint,
        host,
        role.server,
        opening_s=deadline.elapsed_s,
        security=security,
    )


def _connect(
    role: _Role, port: int, endpoint: str, deadline: Deadline, security: Security
) -> _core.TCPStore:
    """Connect until the deadline, with a log line after a second, and then every ten.

    Raises StoreError: the last failure, or a permanent failure at once.
    """
    slice_s, told = _FIRST_WORD_S, False
    while True:
        attempt = deadline.sooner(slice_s)
        try:
            store = _core.TCPStore(
                role.connect,
                port,
                timeout=attempt.left_s,
                wait_for_workers=False,
                **security.of_client,
            )
        except (StoreProtocolError, StoreRefusedError):
            raise
        except (StoreConnectionError, StoreTimeoutError) as error:
            if deadline.is_over:
                raise
            _log.warning(
                "no store answers at %s yet (%s); trying for another %.0f s: %s",
                endpoint,
                role.reason,
                deadline.left_s,
                error,
            )
            slice_s, told = _WORD_S, True
        else:
            if told:
                _log.warning("the store at %s answers", endpoint)
            return store


def _take_role(host: str, port: int, is_host: bool | None, security: Security) -> _Role:
    if is_host is False:
        if is_wildcard(host):
            raise ValueError(
                f"the endpoint's host {host!r} means every interface, so a node cannot connect "
                "to it (is_host is false); use the machine that hosts the store"
            )
        return _Role(None, host, "is_host is false")
    if is_host is None:
        match = match_host(host)
        if not match.matched:
            return _Role(None, host, match.reason)
        reason = match.reason
    else:
        reason = "is_host is true"
    plan = plan_hosting(host)
    if is_host is None and (port != 0 or is_unix(host)) and is_served(plan.connect, port):
        # Usually the first of several launchers on this machine.
        _log.info("connecting to the store already at %s", format_endpoint(host, port))
        return _Role(
            None, plan.connect, f"{reason}, but another process already listens there", plan.bind
        )
    try:
        server = serve_on(plan.bind, port, of_one_job=True, **security.of_server)
    except StoreRefusedError as error:
        # Nobody else will serve it: this node says how to go on.
        raise RendezvousConnectionError(str(error)) from error
    except StoreError as error:
        endpoint = format_endpoint(host, port)
        is_in_use = isinstance(error, StoreAddressInUseError)
        role = _Role(None, plan.connect, f"{reason}, but serving failed", plan.bind)
        if is_host:
            raise RendezvousConnectionError(
                f"cannot serve the rendezvous store at {endpoint}, although is_host is true: "
                f"{role.holder(port) if is_in_use else error}"
            ) from error
        if is_in_use:
            _log.info("connecting to the process that already has the port of %s", endpoint)
            return role
        _log.warning("the store cannot be served here; connecting as a client: %s", error)
        return _Role(None, plan.connect, f"{role.reason}: {error}")
    if plan.warning:
        _log.warning("%s", plan.warning)
    _log.info("serving the rendezvous store at %s (%s)", format_endpoint(host, server.port), reason)
    return _Role(server, plan.connect, reason)


def _serve_on_descriptor(host: str, port: int, listen_fd: int, security: Security) -> _Role:
    try:
        os.set_inheritable(listen_fd, False)  # it is no command's
        server = _core.Server(listen_fd=listen_fd, of_one_job=True, **security.of_server)
    except (OSError, ValueError, StoreError) as error:
        raise RendezvousConnectionError(
            f"cannot serve the rendezvous store on the given descriptor {listen_fd}: {error}"
        ) from error
    if port not in (0, server.port):
        found = server.port
        server.close()
        raise ValueError(
            f"the descriptor {listen_fd} is bound to port {found}, but the endpoint has port "
            f"{port}, which the other nodes use; make both the same"
        )
    endpoint = format_endpoint(host, server.port)
    _log.info("serving the rendezvous store at %s (on a given socket)", endpoint)
    return _Role(server, plan_hosting(host).connect, "listen_fd is given")


def _cannot_connect(
    host: str, port: int, role: _Role, timeout_s: float, error: StoreError
) -> RendezvousConnectionError:
    endpoint = format_endpoint(host, port)
    if role.server is not None:
        return RendezvousConnectionError(
            f"cannot connect to the rendezvous store at {endpoint}, which this process serves "
            f"({role.reason}): {error}"
        )
    if isinstance(error, StoreRefusedError):
        return RendezvousConnectionError(
            f"the rendezvous store at {endpoint} and this process do not take each other: {error}"
        )
    if isinstance(error, StoreProtocolError):
        return RendezvousConnectionError(
            f"cannot connect to the rendezvous store at {endpoint}: another program has that port. "
            f"This process is a client of the store ({role.why(port)}). {error}. Use another "
            "port in the endpoint of all nodes, or stop that program"
        )
    return RendezvousConnectionError(
        f"cannot connect to the rendezvous store at {endpoint} within {timeout_s:g} s. This "
        f"process is a client of it ({role.why(port)}). Last error: {error}. Check that the host "
        "is running, that the endpoint is its address, and that its port can be reached; "
        "is_host=1 makes a process the host, join_timeout lets clients wait longer for it"
    )

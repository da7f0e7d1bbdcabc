"""Who may look over HTTP, and at what.

On loopback: everybody on this machine, at everything, unless there is a token file. Beyond it, by
TLS alone, and only those who show a token whose role is reader: at the name space that it names,
or, of `*`, at everything. Knows no HTTP but the value of a header.
"""

from __future__ import annotations

import hashlib
import hmac
import logging
import os
import re
import ssl
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeAlias, TypeVar

from rendezvous import _core
from rendezvous._base.endpoint import format_endpoint
from rendezvous._base.errors import StoreRefusedError

__all__ = ["EVERYTHING", "Access", "Certificate", "MonitorSecurity", "Scope", "may_host_be_named"]

_log = logging.getLogger(__name__)

_T = TypeVar("_T")

# Of a token: all name spaces, and what the server as a whole does.
EVERYTHING = "*"
_PREFIX = "rendezvous:"
_SECRET_CHARS_MIN, _SECRET_CHARS_MAX = 16, 1024
_FILE_BYTES_MAX = 1_000_000
_TOKENS_MAX = 4096
_SPACE = re.compile(r"[A-Za-z0-9._-]{1,64}")
_HOST = re.compile(r"(\[[^\[\]]*\]|[^:\[\]]*)(?::[0-9]*)?")
_LOOPBACK_NAMES = ("localhost", "127.0.0.1", "[::1]")

# The name space that may be looked at; None: everything.
Scope: TypeAlias = str | None


@dataclass(frozen=True)
class MonitorSecurity:
    """What HTTP is protected by. Each a path, or None.

    Attributes:
        cert, key: files (PEM) of the certificate, with those between it and its authority, and of
            its key. They are read again when they change.
        token_file: the tokens that readers show, one a line. It is read again when it changes.
    """

    cert: str | os.PathLike[str] | None = None
    key: str | os.PathLike[str] | None = None
    token_file: str | os.PathLike[str] | None = None

    def check(self, where: str, port: int, *, is_loopback: bool) -> None:
        """Raises StoreRefusedError where others than this machine could look without a proof.

        Raises ValueError for a certificate without a key.
        """
        if (self.cert is None) != (self.key is None):
            there, other = ("cert", "key") if self.key is None else ("key", "cert")
            raise ValueError(f"the {there} for HTTP needs its {other} (--http-{other})")
        needed = (("a certificate", self.cert), ("a token for readers", self.token_file))
        missing = [name for name, value in needed if value is None]
        if is_loopback or not missing:
            return
        raise StoreRefusedError(
            f"cannot serve HTTP at {where} without {' and '.join(missing)}: it is for other "
            "machines as well, and everybody who can reach it could see the job. Make a token for "
            "readers, which is not the job's own, and name a certificate:\n"
            "  (umask 077 && rendezvous token --space '*' --role reader > reader.token)\n"
            f"  --http {where} --http-token-file reader.token --http-cert CERT.pem "
            "--http-key KEY.pem\n"
            "or serve this machine alone, and come by a tunnel:\n"
            f"  --http {format_endpoint('127.0.0.1', port)}\n"
            f"  ssh -L {port}:localhost:{port} THIS_MACHINE"
        )


def may_host_be_named(header: str, host: str) -> bool:
    """Whether a browser that was led here by a foreign name could not have sent this `Host`.

    Only for a server on loopback: whoever reaches another one has a token.
    """
    found = _HOST.fullmatch(header.strip().lower())
    if found is None:
        return False
    name = found[1]
    own = f"[{host}]" if ":" in host else host.lower()
    return name in (*_LOOPBACK_NAMES, own) or name.endswith(".localhost")


class _Followed(Generic[_T]):
    """What was made of some files, and is made again when they change. Any thread.

    Raises what `make` does, at first; later, the last good one stays, and the log says why.
    """

    def __init__(self, what: str, paths: Sequence[Path], make: Callable[[], _T]) -> None:
        self._what, self._paths, self._make = what, paths, make
        self._lock = threading.RLock()
        # Of the last failure, which every request would meet again.
        self._said = ""
        self._made = (self._look(), make())

    def current(self) -> _T:
        with self._lock:
            stamps, value = self._made
        try:
            found = self._look()
            if found == stamps:
                return value
            stamps = found
            value = self._make()
        except (OSError, ValueError) as error:
            said = str(error)
            if said != self._said:
                _log.warning("%s as they were: %s", self._what, error)
        else:
            said = ""
        with self._lock:
            self._made, self._said = (stamps, value), said
        return value

    def _look(self) -> list[tuple[int, ...]]:
        states = (path.stat() for path in self._paths)
        return [(state.st_mtime_ns, state.st_size, state.st_ino) for state in states]


class Access:
    """The tokens of readers, as their file has them. Any thread. Raises ValueError, OSError."""

    def __init__(self, security: MonitorSecurity) -> None:
        self._tokens = None
        if security.token_file is not None:
            path = Path(security.token_file)
            self._tokens = _Followed("the tokens of readers stay", [path], lambda: _read(path))

    def scopes(self, authorization: str | None) -> list[Scope]:
        """What the value of the header Authorization gives a right to see; [None]: everything.

        Empty: nothing, as it shows no token that is known.
        """
        if self._tokens is None:
            return [None]
        scheme, _, shown = (authorization or "").partition(" ")
        if scheme.lower() != "bearer":
            return []
        digest = _digest(shown.strip())
        # Each is looked at, so that the time tells nothing.
        found = [
            scope for known, scope in self._tokens.current() if hmac.compare_digest(known, digest)
        ]
        return [None] if None in found else found[:1]


def _read(path: Path) -> list[tuple[bytes, Scope]]:
    with path.open("rb") as file:
        data = file.read(_FILE_BYTES_MAX + 1)
    if len(data) > _FILE_BYTES_MAX:
        raise ValueError(f"{path}: has more than {_FILE_BYTES_MAX} bytes")
    try:
        # Some editors begin a file with a mark.
        lines = data.decode("utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: is not text in UTF-8: {error}") from None
    secrets = _secrets_of_the_job()
    found = []
    for number, line in enumerate(lines, 1):
        text = line.strip()
        if not text or text.startswith("#"):
            continue
        try:
            space, secret = _parse(text)
            if secret in secrets:
                raise ValueError("is the job's own, by which one can change what is stored")  # noqa: TRY301
        except ValueError as error:
            raise ValueError(
                f"{path}, line {number}: the token {error}; make one for readers: "
                "rendezvous token --space '*' --role reader"
            ) from None
        scope = None if space == EVERYTHING else space
        # With its name space and role, as it is made, or the secret alone.
        found += [(_digest(secret), scope), (_digest(f"{_PREFIX}{space}:reader:{secret}"), scope)]
    if not found:
        raise ValueError(f"{path}: there is no token in it")
    if len(found) > 2 * _TOKENS_MAX:
        raise ValueError(f"{path}: more than {_TOKENS_MAX} tokens")
    return found


def _parse(text: str) -> tuple[str, str]:
    """Name space and secret. Raises ValueError for what is not a reader's."""
    words = text.removeprefix(_PREFIX).split(":", 2) if text.startswith(_PREFIX) else text.split()
    if len(words) == 1:
        raise ValueError("has neither a name space nor a role")
    if len(words) != 3:
        raise ValueError("is not NAME_SPACE ROLE SECRET")
    space, role, secret = words
    if space != EVERYTHING and not _SPACE.fullmatch(space):
        raise ValueError("has a name space that is not 1 to 64 letters, digits, '-', '_' or '.'")
    if role != "reader":
        shown = role if role in {"member", "admin"} else "another one"
        raise ValueError(f"has the role {shown}; over HTTP, only readers come")
    if not _SECRET_CHARS_MIN <= len(secret) <= _SECRET_CHARS_MAX:
        raise ValueError(
            f"has a secret of {len(secret)} characters; it must have {_SECRET_CHARS_MIN} to "
            f"{_SECRET_CHARS_MAX}"
        )
    return space, secret


def _secrets_of_the_job() -> set[str]:
    """Of members and admins, as far as this process finds them where stores find them."""
    texts = [os.environ.get("RENDEZVOUS_TOKEN", "")]
    for path in (os.environ.get("RENDEZVOUS_TOKEN_FILE", ""), _core.saved_token_path()):
        with suppress(OSError, UnicodeDecodeError):
            if path:
                texts.append(Path(path).read_text())
    lines = (line.strip() for text in texts for line in text.splitlines())
    words = (re.split(r"[\s:]+", line) for line in lines if line and not line.startswith("#"))
    return {each[-1] for each in words if "reader" not in each[:-1]}


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).digest()


class Certificate:
    """A context of TLS for servers that follows its files. Any thread. Raises OSError."""

    def __init__(self, security: MonitorSecurity) -> None:
        assert security.cert is not None
        assert security.key is not None
        paths = [Path(security.cert), Path(security.key)]
        self._context = _Followed(
            "the files of HTTP's certificate stay", paths, lambda: _load(*paths)
        )

    def context(self) -> ssl.SSLContext:
        """As the files are now; the last good one while they do not fit."""
        return self._context.current()


def _load(cert: Path, key: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(cert, key)
    except ssl.SSLError as error:  # does not name the files
        raise OSError(f"{cert} and {key} are not a certificate and its key: {error}") from error
    return context

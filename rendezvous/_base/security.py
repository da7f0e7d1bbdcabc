"""A token, certificates and the word for going without, as functions and configurations have them.

The same names everywhere; docs/security.md lists them. What they mean, and where they are looked
for when nothing is given, is csrc/bindings/credentials.h's.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from os import PathLike
from pathlib import Path
from typing import Any, TypeAlias

from rendezvous import _core
from rendezvous._base.api import RendezvousParameters

__all__ = ["SECURITY_SETTINGS", "TLS_NAMES", "Security", "TlsFile", "Token", "refuse_shown_token"]

TokenText: TypeAlias = str | bytes | PathLike[str]
Token: TypeAlias = TokenText | Callable[[], TokenText | None]
TlsFile: TypeAlias = str | PathLike[str]

# Of these, URLs may have options, and command lines too: they are names and paths.
TLS_NAMES = ("tls_cert", "tls_key", "tls_ca", "tls_name")
# What the configuration of a handler may say.
SECURITY_SETTINGS = ("token", "token_file", *TLS_NAMES, "tls", "insecure")
# In place of a server's name: what the authorities say of it is enough.
_ANY_NAME = "*"


@dataclass(frozen=True)
class Security:
    """What one caller has said; all None: what the environment and the user's configuration have.

    Attributes:
        token: the job's secret, as TCPStore takes it.
        tls_cert, tls_key, tls_ca: files of certificates.
        tls_name: what the server's certificate is for, if not the host as typed.
        tls: whether a connection must be by TLS, whatever is found.
        insecure: whether a host of a store may do without.
    """

    token: Token | None = field(default=None, repr=False)
    tls_cert: TlsFile | None = None
    tls_key: TlsFile | None = None
    tls_ca: TlsFile | None = None
    tls_name: str | None = None
    tls: bool = False
    insecure: bool = False

    @staticmethod
    def of(params: RendezvousParameters) -> "Security":
        """What a handler's configuration says. Raises ValueError."""
        config = params.config
        token, path = config.get("token"), config.get("token_file")
        if token is not None and path:
            raise ValueError("token and token_file are given; use one of them")
        return Security(
            Path(path) if path else token,
            config.get("tls_cert") or None,
            config.get("tls_key") or None,
            config.get("tls_ca") or None,
            config.get("tls_name") or None,
            tls=bool(params.get_as_bool("tls")),
            insecure=bool(params.get_as_bool("insecure")),
        )

    @property
    def of_client(self) -> dict[str, Any]:
        """Arguments of TCPStore, and of a dial."""
        names = (each.name for each in fields(self) if each.name != "insecure")
        return {
            name: value for name in names if (value := getattr(self, name)) not in (None, False)
        }

    @property
    def of_server(self) -> dict[str, Any]:
        """Arguments of Server."""
        said = self.of_client
        for name in ("tls_name", "tls"):
            said.pop(name, None)
        return said | {"insecure": self.insecure}

    @property
    def exists(self) -> bool:
        """Whether there is a token or a certificate, said or found. Raises StoreError."""
        said = self.of_client
        said.pop("tls", None)
        return _core.has_credentials(**said)

    @property
    def in_url(self) -> dict[str, str]:
        """The options of a URL that a process of the same machine may have; never a token."""
        said = {name: getattr(self, name) for name in TLS_NAMES}
        return {name: str(value) for name, value in said.items() if value is not None}

    def named(self, typed: str | None) -> "Security":
        """For a connection by another name than the user has typed; None: to one's own server."""
        if self.tls_name is not None:
            return self
        return replace(self, tls_name=_ANY_NAME if typed is None else typed)


def refuse_shown_token(config: Mapping[str, object]) -> None:
    """Raises ValueError for a token in what stands on a command line."""
    if "token" in config:
        raise ValueError(
            "a token must not stand on a command line, where other users see it: give the path of "
            "a file that holds it, token_file=PATH, or set RENDEZVOUS_TOKEN_FILE"
        )

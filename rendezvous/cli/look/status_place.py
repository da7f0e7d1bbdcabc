"""Where `rendezvous status` and its like look: the options, and what an endpoint names."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from rendezvous._base.api import RendezvousParameters
from rendezvous._base.endpoint import refuse_secrets
from rendezvous._base.place import parse_place
from rendezvous._base.security import SECURITY_SETTINGS, Security
from rendezvous.backends.open_store import SERVER_SCHEMES, server_place, url_options
from rendezvous.cli.look.etcd_runs import EtcdRuns
from rendezvous.cli.look.file_runs import FileRuns
from rendezvous.cli.look.server_runs import ServerRuns
from rendezvous.cli.options import (
    ENDPOINT_VARIABLE,
    add_credentials,
    conf,
    endpoint_from_environment,
)

if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping

    from rendezvous.cli.look.place import Place

__all__ = ["add_place", "open_place", "place_of"]


def add_place(parser: argparse.ArgumentParser) -> None:
    """Add the options that `open_place` needs."""
    parser.add_argument(
        "--endpoint",
        default=endpoint_from_environment() or "",
        metavar="HOST[:PORT]|URL",
        help="the server; for etcd, its members, with --backend etcd or as etcd://HOST,HOST; for"
        " a run in a file, file:///PATH"
        f" (default: ${ENDPOINT_VARIABLE}, else this machine)",
    )
    parser.add_argument(
        "--backend",
        choices=("c10d", "etcd", "etcd-v3"),
        help="where the run is kept, as for exec (default: etcd if the endpoint is etcd://,"
        " else c10d)",
    )
    parser.add_argument(
        "--rdzv-conf",
        type=conf,
        action="append",
        default=[],
        metavar="KEY=VALUE,...",
        help="settings as for exec, such as tls_ca or token_file; for etcd: protocol, ca_cert,"
        " ssl_cert, ssl_cert_key, user, password_file, key_prefix, endpoints, transport",
    )
    add_credentials(parser)


def place_of(args: argparse.Namespace, *, waits: bool | None) -> Place:
    """What the options of `add_place` name; ends the command where they are wrong."""
    config: dict[str, str] = {}
    for pairs in args.rdzv_conf:
        config |= pairs
    try:
        return open_place(args.endpoint, args.backend, config, waits)
    except ValueError as error:
        args.fail(str(error))
        raise  # for those who read types: fail() does not return


def open_place(
    endpoint: str, backend: str | None, config: Mapping[str, str], waits: bool | None = True
) -> Place:
    """What the endpoint names, as text or as a store's URL; nothing is sent yet.

    backend: None: as the scheme says. config: as of an etcd rendezvous. waits: whether a
    server that is not there is waited for; None: no, and no option would change that. Raises
    ValueError.
    """
    scheme, separator, _ = endpoint.partition("://")
    is_server = backend in (None, "c10d") and (not separator or scheme in SERVER_SCHEMES)
    if not is_server:
        named = parse_place(endpoint, backend, is_store=True)
        if named.backend != "c10d":
            return EtcdRuns(named.endpoint, named.settings | dict(config))
        if config:
            raise ValueError(f"--rdzv-conf {', '.join(sorted(config))}: for --backend etcd only")
        return FileRuns(named.endpoint)
    refuse_secrets(endpoint)
    foreign = config.keys() - set(SECURITY_SETTINGS)
    if foreign:
        raise ValueError(f"--rdzv-conf {', '.join(sorted(foreign))}: for --backend etcd only")
    url = endpoint if separator else f"tcp://{endpoint or '127.0.0.1'}"
    security = Security.of(RendezvousParameters("c10d", "", "status", 1, 1, **config))
    options = url_options(url, None)
    options.pop("prefix", None)
    return ServerRuns(server_place(url, urlsplit(url), options, security), waits)

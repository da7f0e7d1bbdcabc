"""The monitor of one server: what there is under which path, and who may have it.

Puts together access, http, status, feed and metrics. Knows of each what it needs, and no more.
"""

from __future__ import annotations

import base64
import hashlib
import ipaddress
import json
import logging
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from types import TracebackType
from typing import Any
from urllib.parse import parse_qs, urlsplit

from rendezvous import _core
from rendezvous._base.endpoint import format_endpoint, is_unix, parse_endpoint
from rendezvous.monitor.access import Access, Certificate, MonitorSecurity, Scope, may_host_be_named
from rendezvous.monitor.asker import Asker, UnansweredError
from rendezvous.monitor.feed import Feed
from rendezvous.monitor.http import Answer, HttpServer, Request
from rendezvous.monitor.listening import Address, addresses_of
from rendezvous.monitor.metrics import NoMetricsError, Scrape, open_scrape
from rendezvous.monitor.seldom import Seldom
from rendezvous.monitor.status import Status

__all__ = ["DEFAULT_HTTP_PORT", "Monitor", "place_of"]

_log = logging.getLogger(__name__)

DEFAULT_HTTP_PORT = 9109
_JSON = "application/json"
_DEFAULT_SPACE = "default"
# Of all answers: nothing is kept, framed, guessed, or read by pages of other origins.
_HEADERS = {
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
}


@dataclass(frozen=True)
class Place:
    """Where a monitor listens, and who may look there."""

    host: str
    name: str
    addresses: list[Address]
    is_loopback: bool
    access: Access
    certificate: Certificate | None


def place_of(endpoint: str, security: MonitorSecurity) -> Place:
    """Looks the name up and reads the files. Raises as Monitor, but for a port that is taken."""
    host, port = parse_endpoint(endpoint, DEFAULT_HTTP_PORT)
    if is_unix(host):
        raise ValueError(f"HTTP is served at host:port, not at {endpoint!r}")
    name = format_endpoint(host, port)
    addresses = addresses_of(host, port)
    bare = (ipaddress.ip_address(address[0].partition("%")[0]) for _, address in addresses)
    is_loopback = all(each.is_loopback for each in bare)
    security.check(name, port, is_loopback=is_loopback)
    try:
        access = Access(security)
        certificate = None if security.cert is None else Certificate(security)
    except OSError as error:
        raise ValueError(f"HTTP at {name}: {error}") from error
    return Place(host, name, addresses, is_loopback, access, certificate)


class Monitor:
    """Serves over HTTP what a server of this process knows, until it is closed.

    `/` is a page for browsers, `/metrics` for Prometheus (needs rendezvous-store[metrics]),
    `/healthz` and `/readyz` for probes, `/status.json` and `/events` for programs.

    Args:
        server: is asked as its owner asks it; stays open when the monitor is closed.
        endpoint: `host[:port]` to listen at; port 0: a free one, see `port`.
        security: needed for hosts that other machines can reach.
        name: of the store's endpoint, as nodes name it; None: where the server listens.

    Raises ValueError for bad arguments, and files that are not what they should be;
    StoreRefusedError for a host that other machines can reach, without certificate or token;
    StoreAddressInUseError, StoreConnectionError.
    """

    def __init__(
        self,
        server: _core.Server,
        endpoint: str = f"127.0.0.1:{DEFAULT_HTTP_PORT}",
        *,
        security: MonitorSecurity | None = None,
        name: str | None = None,
    ) -> None:
        place = place_of(endpoint, security or MonitorSecurity())
        self._host, self._is_loopback = place.host, place.is_loopback
        self._access = place.access
        self._refusals = Seldom(_log)
        self._limits = server.limits
        self._scrape, self._no_metrics = _metrics(self._limits)
        # Nothing of the job is in these.
        self._open_to_all: dict[str, Callable[[], Answer]] = {
            "/": _page,
            "/healthz": self._healthz,
            "/readyz": self._readyz,
        }
        self._for_readers: dict[str, Callable[[Scope, Request, Mapping[str, str]], Answer]] = {
            "/metrics": self._metrics,
            "/status.json": self._status_json,
            "/events": self._events,
        }
        self._asker = Asker(server)
        self._status = Status(self._asker, name or format_endpoint(server.host, server.port))
        self._feed = Feed(self._asker)
        context = None if place.certificate is None else place.certificate.context
        self._http = HttpServer(place.name, place.addresses, self._answer, context)
        self._scheme = "http" if context is None else "https"
        try:
            self._asker.start()
            self._feed.start()
            self._http.start()
        except BaseException:
            self.close()
            raise

    @property
    def host(self) -> str:
        """As given."""
        return self._host

    @property
    def port(self) -> int:
        """Where it listens."""
        return self._http.port

    @property
    def url(self) -> str:
        """Of the page."""
        return f"{self._scheme}://{format_endpoint(self._host, self.port)}/"

    @property
    def missing(self) -> str:
        """What is not installed, and how to install it; empty: nothing."""
        return self._no_metrics

    def close(self) -> None:
        """Close the port and all connections. Idempotent.

        A forked child only gives up its copy of the port: its parent goes on serving.
        """
        if self._http.is_elsewhere:
            self._http.close()
            return
        self._feed.close()
        self._http.close()
        self._asker.close()

    def __enter__(self) -> Monitor:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<rendezvous.monitor.Monitor {self.url}>"

    def _answer(self, request: Request) -> Answer:
        if self._is_loopback and not may_host_be_named(request.headers.get("host", ""), self._host):
            return _text("this server is for this machine: name it localhost or 127.0.0.1\n", 421)
        try:
            _, _, path, query, _ = urlsplit(request.path)
            fields = _fields(query)
        except ValueError as error:
            return _text(f"not a path that can be read: {error}\n", 400)
        open_to_all = self._open_to_all.get(path)
        try:
            return self._for_reader(path, fields, request) if open_to_all is None else open_to_all()
        except UnansweredError as error:
            return _text(f"{error}\n", 503)

    def _for_reader(self, path: str, fields: Mapping[str, str], request: Request) -> Answer:
        answer = self._for_readers.get(path)
        if answer is None:
            return _text("not found; there are / /metrics /healthz /readyz /status.json"
                         " /events\n", 404)  # fmt: skip
        if _is_of_another_site(request):
            return _text("this is not for pages of other sites\n", 403)
        scopes = self._access.scopes(request.headers.get("authorization"))
        if not scopes:
            return self._refused(request)
        return answer(scopes[0], request, fields)

    def _refused(self, request: Request) -> Answer:
        if "authorization" in request.headers:
            self._refusals.warning("HTTP at %s: refused %s: wrong token", self.url, request.peer)
        return _text(
            "a token of a reader is needed (Authorization: Bearer ...)\n",
            401,
            {"WWW-Authenticate": 'Bearer realm="rendezvous"'},
        )

    def _healthz(self) -> Answer:
        self._status.report()
        return _text("ok\n")

    def _readyz(self) -> Answer:
        report = self._status.report()
        if report["connections"] >= self._limits["connections"]:
            return _text("the server has no room for another connection\n", 503)
        return _text("ok\n")

    def _metrics(self, scope: Scope, request: Request, _: Mapping[str, str]) -> Answer:
        if self._scrape is None:
            return _text(f"{self._no_metrics}\n", 501)
        body, kind = self._scrape(self._status.report(), scope, request.headers.get("accept", ""))
        return Answer(body, kind, headers=_HEADERS)

    def _status_json(self, scope: Scope, _: Request, fields: Mapping[str, str]) -> Answer:
        if "run" not in fields:
            return _json(self._status.overview(scope))
        space = fields.get("space", scope or _DEFAULT_SPACE)
        found = None
        if scope is None or space == scope:
            found = self._status.run(space, fields["run"])
        if found is None:
            return _json({"error": f"no such run: {fields['run']!r}"}, 404)
        return _json(found)

    def _events(self, scope: Scope, request: Request, _: Mapping[str, str]) -> Answer:
        if not self._feed.has_room:
            return _text("too many pages look on\n", 503, {"Retry-After": "5"})
        last = request.headers.get("last-event-id", "")
        return Answer(
            lambda write, ends: self._feed.stream(scope, last, write, ends),
            "text/event-stream",
            headers=_HEADERS,
        )


def _metrics(limits: dict[str, int]) -> tuple[Scrape | None, str]:
    try:
        return open_scrape(limits), ""
    except NoMetricsError as error:
        return None, str(error)


def _is_of_another_site(request: Request) -> bool:
    """Whether a browser says so. Such a page could not read the answer, but hold its place."""
    site = request.headers.get("sec-fetch-site", "")
    is_followed_link = request.headers.get("sec-fetch-mode") == "navigate"
    return site in {"cross-site", "same-site"} and not is_followed_link


def _fields(query: str) -> dict[str, str]:
    return {name: values[0] for name, values in parse_qs(query, max_num_fields=8).items()}


def _text(text: str, status: int = 200, headers: Mapping[str, str] | None = None) -> Answer:
    return Answer(text.encode(), status=status, headers=_HEADERS | dict(headers or {}))


def _json(value: Any, status: int = 200) -> Answer:
    return Answer(json.dumps(value).encode(), _JSON, status, _HEADERS)


@cache
def _page() -> Answer:
    """The page, which runs its own script and style, and nothing else."""
    text = (resources.files("rendezvous.monitor") / "page.html").read_text(encoding="utf-8")

    def own(tag: str) -> str:
        found = re.findall(f"<{tag}>(.*?)</{tag}>", text, re.DOTALL)
        digests = (hashlib.sha256(each.encode()).digest() for each in found)
        return " ".join(f"'sha256-{base64.b64encode(each).decode()}'" for each in digests)

    policy = (
        f"default-src 'none'; script-src {own('script')}; style-src {own('style')}; "
        "connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'none'"
    )
    headers = _HEADERS | {"Content-Security-Policy": policy}
    return Answer(text.encode(), "text/html; charset=utf-8", headers=headers)

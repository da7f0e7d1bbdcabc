"""Where a run is kept, as users write it: `HOST[:PORT]`, or a URL. Pure: opens nothing.

* `tcp://HOST[:PORT]`, `tcps://` over TLS, `unix:///PATH`
* `file:///PATH`
* `etcd://MEMBER[,MEMBER...][?ca_cert=...]`, `etcds://` over TLS

A store's URL may say more (open_store), of which a run is no part: a prefix, a timeout.
"""

from dataclasses import dataclass, field
from urllib.parse import parse_qsl, unquote

from rendezvous._base.endpoint import refuse_secrets

__all__ = ["ETCD_URL_OPTIONS", "NamedPlace", "parse_place"]

# What the URL of an etcd may say, with the names and meanings of the configuration.
ETCD_URL_OPTIONS = ("ca_cert", "ssl_cert", "ssl_cert_key", "transport", "user", "password_file")

_ETCD_SCHEMES = ("etcd", "etcds")
# As etcd itself and torch write its members.
_HTTP_SCHEMES = ("http", "https")
_OF_STORES = ("timeout", "prefix", "protocol")
_FORMS = (
    "HOST[:PORT], tcp://, tcps://, unix:///PATH, etcd://HOST[,HOST...], etcds:// or file:///PATH"
)


@dataclass(frozen=True)
class NamedPlace:
    """As a handler takes it.

    Attributes:
        backend: c10d or etcd.
        endpoint: `host[:port]`, members, or the path of a file.
        settings: what the form means beside: its keys are those of --rdzv-conf.
    """

    backend: str
    endpoint: str
    settings: dict[str, str] = field(default_factory=dict)

    @property
    def is_file(self) -> bool:
        """Whether the endpoint is a path."""
        return self.settings.get("store_type") == "file"


def parse_place(text: str, backend: str | None = None, *, is_store: bool = False) -> NamedPlace:
    """The place that is named.

    Args:
        backend: None: as the scheme says.
        is_store: it may be the URL of a store there, such as $RENDEZVOUS_ENDPOINT: where that has a
            prefix or a timeout, they are passed over.

    Raises ValueError, which says what is wrong.
    """
    refuse_secrets(text)
    text = text.strip()
    scheme, separator, rest = text.partition("://")
    if not separator:
        return NamedPlace(backend or "c10d", text if backend in (None, "c10d") else _members(text))
    scheme = scheme.lower()
    known = _ETCD_SCHEMES if backend is None and not is_store else (*_ETCD_SCHEMES, *_HTTP_SCHEMES)
    address, _, query = rest.partition("?")
    shown = f"{scheme}://{address}"
    if backend not in (None, "c10d") or (backend is None and scheme in known):
        options = _options(shown, query, ETCD_URL_OPTIONS, is_store)
        return NamedPlace(backend or "etcd", f"{scheme}://{_members(address)}", options)
    if scheme == "unix":
        return NamedPlace("c10d", f"unix://{address}")
    if scheme in ("tcp", "tcps"):
        host, _, path = address.partition("/")
        if path and not is_store:
            raise ValueError(f"the endpoint {shown!r}: a run has no path; write {scheme}://{host}")
        _options(shown, query, (), is_store)
        return NamedPlace("c10d", host, {"tls": "1"} if scheme == "tcps" else {})
    if scheme == "file":
        host, slash, path = address.partition("/")
        if host not in ("", "localhost") or not path:
            raise ValueError(
                f"the endpoint {shown!r}: a file has three slashes and an absolute path: "
                "file:///PATH"
            )
        _options(shown, query, (), is_store)
        return NamedPlace("c10d", unquote(slash + path), {"store_type": "file"})
    raise ValueError(f"the endpoint {shown!r}: unknown scheme {scheme!r}; use {_FORMS}")


def _members(address: str) -> str:
    """Without the path, which is a store's."""
    first, comma, last = address.rpartition(",")
    scheme, separator, member = last.rpartition("://")
    return f"{first}{comma}{scheme}{separator}{member.partition('/')[0]}"


def _options(shown: str, query: str, known: tuple[str, ...], is_store: bool) -> dict[str, str]:
    options = dict(parse_qsl(query, keep_blank_values=True))
    for name in options:
        if name in known or (is_store and name in _OF_STORES):
            continue
        hint = "; the run id keeps jobs apart" if name == "job_id" else ""
        raise ValueError(f"the endpoint {shown!r}: unknown option {name!r}{hint}")
    return {name: options[name] for name in known if name in options}

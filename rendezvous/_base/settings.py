"""Times and switches of a handler: defaults, conversion and checks. Pure.

Settings that all nodes must share end up in _core.GroupSettings, where the rulebook compares them.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, TypeAlias

from rendezvous._base.api import RendezvousParameters
from rendezvous._base.arguments import FOREVER_S
from rendezvous._base.events import OnEvent
from rendezvous._base.health import HealthCheck
from rendezvous._base.rules import RULES_SETTINGS, RendezvousRules, read_rules
from rendezvous._base.security import SECURITY_SETTINGS, Security

__all__ = [
    "C10D_SETTINGS",
    "ETCD_SETTINGS",
    "RULEBOOKS",
    "STATIC_SETTINGS",
    "Duration",
    "HandlerOptions",
    "RendezvousSettings",
    "RendezvousTimeout",
    "as_seconds",
    "read_flag",
    "read_seconds",
    "refuse_unknown_settings",
    "unknown_settings",
]

Duration: TypeAlias = timedelta | float

# Who runs the rulebook of a rendezvous: the store's server, if it can; the server; the nodes.
RULEBOOKS = ("auto", "server", "store")


# What a configuration may say to the c10d backend and the handler; `linger_timeout` is of those
# who run them.
C10D_SETTINGS = (
    "join_timeout",
    "spare_timeout",
    "last_call_timeout",
    "close_timeout",
    "heartbeat_timeout",
    "keep_alive_interval",
    "keep_alive_max_attempt",
    "linger_timeout",
    "read_timeout",
    "is_host",
    "listen_fd",
    "store_type",
    "bootstrap_store",
    "hold_port",
    "rulebook",
    "health_check",
    *SECURITY_SETTINGS,
    *RULES_SETTINGS,
)

# Of the etcd backend and the handler.
ETCD_SETTINGS = (
    *(name for name in C10D_SETTINGS if name not in {"is_host", "listen_fd", "store_type"}),
    "key_prefix",
    "store_prefix",
    "ttl",
    "transport",
    "endpoints",
    "protocol",
    "ca_cert",
    "ssl_cert",
    "ssl_cert_key",
    "password_file",
)


STATIC_SETTINGS = (
    "rank",
    "timeout",
    "join_timeout",
    "close_timeout",
    "read_timeout",
    *SECURITY_SETTINGS,
)


# What no configuration of words says: `user` is an option of the command line, or of a URL;
# `run_id_elsewhere` tells a launcher's choice of a run id; `on_event` and `on_server` are
# callables.
_OWN_SETTINGS = ("run_id_elsewhere", "user", "on_event", "on_server")


# What torch's oldest back-end, the first one named etcd, calls a setting.
_FORMER_NAMES = {"etcd_prefix": "key_prefix"}


def unknown_settings(config: Iterable[str], known: Sequence[str]) -> list[str]:
    """A message for each key that is not in `known`."""
    import difflib

    texts = []
    for key in config:
        if key not in known:
            likely = difflib.get_close_matches(_FORMER_NAMES.get(key, key), known, 1)
            hint = f"; is it {likely[0]}?" if likely else ""
            texts.append(f"the setting {key!r} has no effect{hint}")
    return texts


def refuse_unknown_settings(params: RendezvousParameters, known: Sequence[str]) -> None:
    """Raises ValueError, which names each unknown key of the configuration.

    Keys of our other backends are accepted: a launcher whose user chooses the backend may have one
    configuration for all.
    """
    others = {*_OWN_SETTINGS, *C10D_SETTINGS, *ETCD_SETTINGS, *STATIC_SETTINGS}
    texts = unknown_settings((key for key in params.config if key not in others), known)
    if texts:
        raise ValueError(f"the rendezvous backend {params.backend!r}: {'; '.join(texts)}")


def as_seconds(name: str, value: Duration) -> float:
    """A time in seconds, 30 years at most. Raises ValueError when it is not positive and finite."""
    seconds = value.total_seconds() if isinstance(value, timedelta) else _number(value)
    if not (math.isfinite(seconds) and seconds > 0):
        raise ValueError(f"{name} is {seconds:g} s; it must be positive")
    return min(seconds, FOREVER_S)


def read_seconds(params: RendezvousParameters, key: str, default: float) -> float:
    """A configured time in seconds; a string is read as a number. Raises ValueError unless > 0."""
    value = params.get(key)
    if value is None:
        return default
    if not isinstance(value, timedelta):
        try:
            value = _number(value)
        except (TypeError, ValueError):
            raise ValueError(f"{key} is {value!r}, not a number of seconds") from None
    return as_seconds(key, value)


def _number(value: float | str) -> float:
    try:
        return float(value)
    except OverflowError:  # an int beyond all measure
        return FOREVER_S if int(value) > 0 else -FOREVER_S


def read_flag(params: RendezvousParameters, key: str, default: bool) -> bool:
    """A configured truth value. Raises ValueError as `RendezvousParameters.get_as_bool`."""
    value = params.get_as_bool(key)
    return default if value is None else value


def _callable(params: RendezvousParameters, key: str, *others: type) -> Any:
    """A configured callable, or what may stand for it. Raises ValueError for all else."""
    value = params.get(key)
    if value is None or value == "" or callable(value) or isinstance(value, others):
        return value or None
    raise ValueError(f"{key} is {value!r}, not a callable")


class RendezvousTimeout:
    """How long the steps of a rendezvous may take; each a timedelta or seconds.

    Raises ValueError for a time that is not positive.

    Args:
        join: from `next_rendezvous` to a complete round; default 600 s. It does not count while the
            node is a spare, and starts again when it is no longer a spare.
        last_call: how long a round that has enough nodes waits for more; default 30 s.
        close: for closing the run and for leaving it; default 30 s.
        heartbeat: for one exchange with the backend; default 5 s.
        spare: how long a node waits as a spare (one more than a round may have); default: until the
            job ends. A spare that loses contact with its store has the join timeout to find it
            again.
    """

    def __init__(
        self,
        join: Duration | None = None,
        last_call: Duration | None = None,
        close: Duration | None = None,
        heartbeat: Duration | None = None,
        spare: Duration | None = None,
    ) -> None:
        self.join_s = 600.0 if join is None else as_seconds("the join timeout", join)
        self.last_call_s = (
            30.0 if last_call is None else as_seconds("the last_call timeout", last_call)
        )
        self.close_s = 30.0 if close is None else as_seconds("the close timeout", close)
        self.heartbeat_s = (
            5.0 if heartbeat is None else as_seconds("the heartbeat timeout", heartbeat)
        )
        self.spare_s = FOREVER_S if spare is None else as_seconds("the spare timeout", spare)

    @property
    def join(self) -> timedelta:
        """From `next_rendezvous` to a complete round."""
        return timedelta(seconds=self.join_s)

    @property
    def last_call(self) -> timedelta:
        """How long a round that has enough nodes waits for more."""
        return timedelta(seconds=self.last_call_s)

    @property
    def close(self) -> timedelta:
        """For closing the run and for leaving it."""
        return timedelta(seconds=self.close_s)

    @property
    def heartbeat(self) -> timedelta:
        """For one exchange with the backend."""
        return timedelta(seconds=self.heartbeat_s)

    @property
    def spare(self) -> timedelta | None:
        """How long a node waits as a spare; None: to the end of the job."""
        return timedelta(seconds=self.spare_s) if self.spare_s < FOREVER_S else None

    def __repr__(self) -> str:
        spare = None if self.spare is None else f"{self.spare_s:g}"
        return (
            f"RendezvousTimeout(join={self.join_s:g}, last_call={self.last_call_s:g}, "
            f"close={self.close_s:g}, heartbeat={self.heartbeat_s:g}, spare={spare})"
        )


@dataclass(frozen=True)
class RendezvousSettings:
    """The settings of a handler; the names are torch elastic's."""

    run_id: str
    min_nodes: int
    max_nodes: int
    timeout: RendezvousTimeout
    keep_alive_interval: timedelta
    keep_alive_max_attempt: int
    rules: RendezvousRules = field(default_factory=RendezvousRules)

    @property
    def window_s(self) -> float:
        """How long a node counts as alive without a heartbeat."""
        return self.keep_alive_interval.total_seconds() * self.keep_alive_max_attempt


@dataclass(frozen=True)
class HandlerOptions:
    """The options that `create_handler` reads from the configuration of a backend."""

    timeout: RendezvousTimeout
    keep_alive_interval_s: float
    keep_alive_max_attempt: int
    bootstrap_store: bool
    hold_port: bool
    rulebook: str
    rules: RendezvousRules
    security: Security = field(default_factory=Security)
    health_check: HealthCheck | None = None
    on_event: OnEvent | None = None

    @staticmethod
    def of(params: RendezvousParameters) -> "HandlerOptions":
        """Read them. Raises ValueError that names the key."""
        attempts = params.get_as_int("keep_alive_max_attempt", 3)
        return HandlerOptions(
            timeout=RendezvousTimeout(
                join=read_seconds(params, "join_timeout", 600),
                last_call=read_seconds(params, "last_call_timeout", 30),
                close=read_seconds(params, "close_timeout", 30),
                heartbeat=read_seconds(params, "heartbeat_timeout", 5),
                spare=read_seconds(params, "spare_timeout", FOREVER_S),
            ),
            keep_alive_interval_s=read_seconds(params, "keep_alive_interval", 5),
            keep_alive_max_attempt=3 if attempts is None else attempts,
            bootstrap_store=read_flag(params, "bootstrap_store", True),
            hold_port=read_flag(params, "hold_port", True),
            rulebook=params.get("rulebook", "auto"),
            rules=read_rules(params),
            security=Security.of(params),
            health_check=_callable(params, "health_check", str),
            on_event=_callable(params, "on_event"),
        )

"""Metrics of a server in Prometheus' formats, by prometheus_client: one report a scrape.

Counts where the server counts; this only names things. What each run and name space has is told of
a limited number of them, and of all others together.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from rendezvous import _core
from rendezvous.monitor.status import Report, is_seen

if TYPE_CHECKING:
    from prometheus_client.core import Metric

    from rendezvous.monitor.access import Scope

__all__ = ["INSTALL", "NoMetricsError", "Scrape", "open_scrape"]

INSTALL = 'pip install "rendezvous-store[metrics]"'

_RUNS_MAX = 100
_SPACES_MAX = 50
_OTHERS = "others"
# Of the server's durations: bucket n has those of at most 2^n microseconds, the last one the rest.
_BUCKETS = 26
_STATES = ("forming", "complete", "closed", "failed")

# Of prometheus_client, or a stand-in of a test's: text and its type for a report.
Scrape = Callable[[Report, "Scope", str], tuple[bytes, str]]


class NoMetricsError(Exception):
    """prometheus_client is not installed; says how to."""


def open_scrape(limits: dict[str, int]) -> Scrape:
    """Makes the answer to a scrape. Raises NoMetricsError."""
    try:
        from prometheus_client import CollectorRegistry, exposition
        from prometheus_client.process_collector import ProcessCollector
    except ImportError as error:
        raise NoMetricsError(
            f"metrics need prometheus_client, which is not installed: {INSTALL}"
        ) from error

    def scrape(report: Report, scope: Scope, accept: str) -> tuple[bytes, str]:
        registry = CollectorRegistry(auto_describe=False)
        registry.register(_Collector(report, scope, limits))
        if scope is None:
            ProcessCollector(registry=registry)
        encode, kind = exposition.choose_encoder(accept)
        return encode(registry), kind

    return scrape


class _Collector:
    def __init__(self, report: Report, scope: Scope, limits: dict[str, int]) -> None:
        self._report = report
        self._scope = scope
        self._limits = limits

    def collect(self) -> Iterator[Metric]:
        """What a scrape has; of a reader of one name space, what that has."""
        if self._scope is None:
            yield from _of_server(self._report, self._limits)
            yield from _of_requests(self._report["counters"])
            yield from _of_rounds(self._report["counters"])
        yield from _of_spaces(self._report, self._scope)
        yield from _of_runs(
            [run for run in self._report["runs"] if is_seen(run["space"], self._scope)]
        )


def _gauge(name: str, text: str, labels: Sequence[str], values: Iterable[Any]) -> Metric:
    from prometheus_client.core import GaugeMetricFamily

    family = GaugeMetricFamily(f"rendezvous_{name}", text, labels=labels)
    for *labelled, value in values:
        family.add_metric(labelled, value)
    return family


def _counter(name: str, text: str, labels: Sequence[str], values: Iterable[Any]) -> Metric:
    from prometheus_client.core import CounterMetricFamily

    family = CounterMetricFamily(f"rendezvous_{name}", text, labels=labels)
    for *labelled, value in values:
        family.add_metric(labelled, value)
    return family


def _histogram(
    name: str, text: str, labels: Sequence[str], values: Iterable[Any], step: int = 1
) -> Metric:
    """Of every `step`-th bucket of the server's."""
    from prometheus_client.core import HistogramMetricFamily

    family = HistogramMetricFamily(f"rendezvous_{name}", text, labels=labels)
    for *labelled, took in values:
        total, buckets = 0, []
        for at, count in enumerate(took["counts"]):
            total += count
            if at == _BUCKETS - 1:
                buckets.append(("+Inf", total))
            elif at % step == 0:
                buckets.append((f"{2**at / 1e6:.6f}", total))
        family.add_metric(labelled, buckets, took["sum_s"])
    return family


def _of_server(report: Report, limits: dict[str, int]) -> Iterator[Metric]:
    counters = report["counters"]
    yield _gauge(
        "build_info", "Always 1; the label has the version.", ["version"], [(_core.__version__, 1)]
    )
    for name, text, value in (
        ("connections", "Connections that are open.", report["connections"]),
        ("connections_limit", "How many may be open.", limits["connections"]),
        ("memory_limit_bytes", "What clients may make the server keep.", limits["memory_bytes"]),
        ("timeline_bytes", "What is kept of what has happened.", report["timeline_bytes"]),
    ):
        yield _gauge(name, text, [], [(value,)])
    yield _gauge(
        "memory_bytes",
        "What clients make the server keep: stored keys, runs, incomplete requests (input), waiting"
        " requests (parked), answers that were not taken yet (unsent), TLS.",
        ["kind"],
        report["memory"].items(),
    )
    for name, text, value in (
        ("connections_opened", "Connections that were opened.", counters["connections"]),
        ("tls_connections_opened", "Those of them by TLS.", counters["secured"]),
        ("received_bytes", "Bytes of clients.", counters["received_bytes"]),
        ("sent_bytes", "Bytes to clients.", counters["sent_bytes"]),
        (
            "refusals",
            "Connections and requests that were refused for want of a right or a token.",
            counters["refusals"],
        ),
        ("nodes_joined", "Nodes that have joined a run.", counters["nodes_joined"]),
        ("nodes_lost", "Nodes that were lost.", counters["nodes_lost"]),
    ):
        yield _counter(name, text, [], [(value,)])
    yield _counter(
        "evictions",
        "What was ended or forgotten for want of room: connections that had most of the memory,"
        " runs with nodes that nobody was connected to.",
        ["reason"],
        [("memory", counters["evictions"]), ("runs", counters["runs_dropped"])],
    )


def _of_requests(counters: dict[str, Any]) -> Iterator[Metric]:
    kinds = [
        (op, protocol, kind)
        for protocol in ("native", "c10d")
        for op, kind in counters[protocol].items()
    ]
    labels = ["op", "protocol"]
    yield _counter(
        "requests",
        "Requests of each operation.",
        labels,
        [(op, protocol, kind["count"]) for op, protocol, kind in kinds],
    )
    yield _histogram(
        "request_duration_seconds",
        "How long the server worked on a request, of one request in 64; waiting does not count.",
        labels,
        [(op, protocol, kind["took"]) for op, protocol, kind in kinds],
        step=2,
    )


def _of_rounds(counters: dict[str, Any]) -> Iterator[Metric]:
    yield _histogram(
        "round_forming_seconds",
        "From the first node of a round until it was complete.",
        [],
        [(counters["rounds"],)],
    )
    yield _histogram(
        "loop_turn_seconds",
        "Turns of the server's loop: what comes meanwhile waits.",
        [],
        [(counters["turns"],)],
    )


def _of_spaces(report: Report, scope: Scope) -> Iterator[Metric]:
    seen = [(name, each) for name, each in report["spaces"].items() if is_seen(name, scope)]
    rows = seen[:_SPACES_MAX]
    if rest := seen[_SPACES_MAX:]:
        names = rest[0][1]
        rows.append((_OTHERS, {name: sum(each[name] for _, each in rest) for name in names}))
    for name, key, text in (
        ("keys", "keys", "Keys that are stored."),
        ("stored_bytes", "stored_bytes", "Bytes of keys, values and queues."),
        ("space_connections", "connections", "Connections in the name space."),
        ("waiting_requests", "waits", "Requests that wait for a key, a round or a change."),
        ("space_runs", "runs", "Runs that are known."),
        ("run_bytes", "run_bytes", "Bytes that runs and their nodes take."),
    ):
        yield _gauge(name, text, ["space"], [(space, each[key]) for space, each in rows])


def _state(run: Report) -> str:
    if run["failed"]:
        return "failed"
    if run["closed"]:
        return "closed"
    return "complete" if run["complete"] else "forming"


def _of_runs(runs: list[Report]) -> Iterator[Metric]:
    states = [_state(run) for run in runs]
    yield _gauge(
        "runs",
        "Runs by how they stand.",
        ["state"],
        [(each, states.count(each)) for each in _STATES],
    )
    # Those that wait for nodes come first: they are whom somebody may look for.
    waits = [not run["complete"] and run["participants"] > 0 for run in runs]
    order = sorted(range(len(runs)), key=lambda at: not waits[at])
    shown = [runs[at] for at in order[:_RUNS_MAX]]
    rest = [runs[at] for at in order[_RUNS_MAX:]]
    labels = ["space", "run"]

    def rows(value: Callable[[Report], int]) -> list[Any]:
        found: list[Any] = [(run["space"], run["run_id"], value(run)) for run in shown]
        if rest:
            found.append((_OTHERS, _OTHERS, sum(map(value, rest))))
        return found

    yield _gauge(
        "run_round", "The round that forms, or runs.", labels, rows(lambda run: run["round"])
    )
    yield _gauge(
        "run_complete",
        "1: the round runs; 0: it forms.",
        labels,
        rows(lambda run: int(run["complete"])),
    )
    yield _gauge(
        "run_nodes_expected", "Nodes that a round needs at least.", labels,
        rows(lambda run: run["min_nodes"]),
    )  # fmt: skip
    yield _gauge(
        "run_nodes_missing",
        "Nodes that a round which forms still needs; 0 before the first one has come.",
        labels,
        rows(_missing),
    )
    yield _gauge(
        "run_nodes",
        "Nodes of a run: joined in the round, on the wait list, spare, or lost since the last round"
        " was complete.",
        [*labels, "state"],
        [
            (*row[:-1], state, row[-1])
            for state, key in (
                ("joined", "participants"),
                ("waiting", "waiting"),
                ("spare", "spares"),
                ("lost", "lost"),
            )
            for row in rows(lambda run, key=key: run[key])  # type: ignore[misc]
        ],
    )


def _missing(run: Report) -> int:
    is_over = run["complete"] or run["closed"] or not run["participants"]
    return 0 if is_over else max(0, int(run["min_nodes"]) - int(run["participants"]))

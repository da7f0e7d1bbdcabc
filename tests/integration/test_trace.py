"""A span a round, with the real SDK of OpenTelemetry; and nothing of it without."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode

import rendezvous.aio
from rendezvous import RendezvousParameters, RendezvousTimeoutError, Server, get_rendezvous_handler
from rendezvous._base.trace import round_span

RUN = "traced"

# One for the process: the API takes only the first.
_EXPORTER = InMemorySpanExporter()


@pytest.fixture
def exporter() -> Iterator[InMemorySpanExporter]:
    if not isinstance(trace.get_tracer_provider(), TracerProvider):
        provider = TracerProvider()
        provider.add_span_processor(SimpleSpanProcessor(_EXPORTER))
        trace.set_tracer_provider(provider)
    yield _EXPORTER
    _EXPORTER.clear()


def only_span(exporter: InMemorySpanExporter) -> ReadableSpan:
    [span] = exporter.get_finished_spans()
    assert span.name == "rendezvous.join"
    return span


def attributes_of(span: ReadableSpan) -> dict[str, object]:
    assert span.attributes is not None
    return {name.removeprefix("rendezvous."): value for name, value in span.attributes.items()}


def parameters(server: Server, nodes: int, **more: Any) -> RendezvousParameters:
    endpoint = f"127.0.0.1:{server.port}"
    return RendezvousParameters("c10d", endpoint, RUN, nodes, nodes, **more)


def test_a_round_is_a_span_with_its_place(server: Server, exporter: InMemorySpanExporter) -> None:
    handler = get_rendezvous_handler(parameters(server, 1, is_host=False))
    with trace.get_tracer("test").start_as_current_span("around"):
        handler.next_rendezvous()
    handler.shutdown()
    span, around = exporter.get_finished_spans()
    assert span.name == "rendezvous.join"
    found = attributes_of(span)
    assert {name: found[name] for name in ("run_id", "round", "rank", "world_size")} == {
        "run_id": RUN,
        "round": 1,
        "rank": 0,
        "world_size": 1,
    }
    # What the program does around it is known of it.
    assert span.parent is not None
    assert around.context is not None
    assert span.parent.span_id == around.context.span_id


def test_a_join_that_fails_is_an_error_with_its_words(
    server: Server, exporter: InMemorySpanExporter
) -> None:
    handler = get_rendezvous_handler(parameters(server, 2, is_host=False, join_timeout=0.2))
    with pytest.raises(RendezvousTimeoutError):
        handler.next_rendezvous()
    handler.shutdown()
    span = only_span(exporter)
    assert span.status.status_code == StatusCode.ERROR
    assert "1 of at least 2" in str(span.status.description)
    assert "round" not in attributes_of(span)


def test_asyncio_has_the_same_span(server: Server, exporter: InMemorySpanExporter) -> None:
    async def main() -> None:
        async with rendezvous.aio.join(f"127.0.0.1:{server.port}", (1, 1), RUN):
            pass

    asyncio.run(main())
    assert attributes_of(only_span(exporter))["world_size"] == 1


def test_nothing_of_it_is_imported_where_the_program_does_not_trace(server: Server) -> None:
    program = f"""
import sys
from rendezvous import RendezvousParameters, get_rendezvous_handler
handler = get_rendezvous_handler(
    RendezvousParameters("c10d", "127.0.0.1:{server.port}", "plain", 1, 1, is_host=False)
)
handler.next_rendezvous()
handler.shutdown()
print([name for name in sys.modules if name.startswith("opentelemetry")])
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    assert done.stdout.decode().strip() == "[]"


def test_an_api_that_another_thread_still_imports_is_not_there(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry.trace", ModuleType("opentelemetry.trace"))
    with round_span(RUN, "node") as span:
        assert span._span is None

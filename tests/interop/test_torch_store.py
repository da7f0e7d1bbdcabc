"""Our stores as torch's: process groups over them, timeouts as torch knows them."""

from __future__ import annotations

import importlib
import json
import logging
import re
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

import rendezvous
from rendezvous import HashStore, Server, TCPStore
from rendezvous.backends.etcd import EtcdClient, EtcdStore

dist: Any = pytest.importorskip("torch.distributed", reason="needs torch")

import rendezvous.torch  # noqa: E402  (which imports torch)

BACKSTOP_S = 180.0


def test_a_view_has_the_stores_keys_and_a_timeout_of_its_own() -> None:
    """What torch sets as its timeout is that of the calls, and not the store's."""
    store = HashStore()
    view = rendezvous.torch.as_torch_store(store)
    assert rendezvous.torch.as_torch_store(store) is view
    prefixed = dist.PrefixStore("p", view)
    prefixed.set("k", "v")
    assert (store.get("p/k"), prefixed.get("k")) == (b"v", b"v")
    assert prefixed.num_keys() == 1
    assert prefixed.delete_key("k")
    prefixed.set_timeout(timedelta(milliseconds=50))
    with pytest.raises(dist.DistStoreError, match="timeout") as caught:
        prefixed.get("missing")
    assert isinstance(caught.value, rendezvous.StoreKeysMissingError)
    assert caught.value.keys == ["p/missing"]
    assert store.timeout == timedelta(seconds=300)
    clone = view.clone()
    assert clone.timeout == timedelta(milliseconds=50)
    clone.set("k", "of the clone")
    assert store.get("k") == b"of the clone"


def test_a_server_that_is_gone_is_a_network_error_of_torchs() -> None:
    """And a StoreConnectionError, for who knows ours."""
    with Server() as server:
        store = TCPStore("127.0.0.1", server.port, timeout=5)
        view = rendezvous.torch.as_torch_store(store)
        view.set("k", "v")
    view.set_timeout(timedelta(milliseconds=50))
    with pytest.raises((dist.DistNetworkError, dist.DistStoreError)) as caught:
        view.get("k")
    assert isinstance(caught.value, rendezvous.StoreError)
    store.close()


def test_what_is_no_store_of_ours_is_refused() -> None:
    """torch's own stores need no view."""
    with pytest.raises(TypeError, match="needs no view"):
        rendezvous.torch.as_torch_store(dist.HashStore())


class InPython(rendezvous.Store):
    """A store of a user's own."""


@pytest.mark.parametrize(
    "make",
    [
        HashStore,
        lambda: rendezvous.PrefixStore("p", HashStore()),
        lambda: rendezvous.PrefixStore("p", dist.HashStore()),
        InPython,
        lambda: EtcdStore(EtcdClient("127.0.0.1:1"), "p"),
    ],
    ids=["compiled", "a prefix of it", "a prefix of torch's", "in Python", "etcd"],
)
def test_a_store_that_is_handed_to_torch_as_it_is_names_the_function(
    make: Callable[[], rendezvous.Store],
) -> None:
    """In torch's own error, which shows the store: not where anybody else looks at it."""
    store = make()
    with pytest.raises(TypeError, match=r"pass rendezvous\.torch\.as_torch_store\(store\)"):
        dist.init_process_group("gloo", store=store, rank=0, world_size=1)
    assert "as_torch_store" not in repr(store)


def test_an_agent_does_not_wait_for_a_node_that_is_gone() -> None:
    """Once the round is broken, it assumes that the lost node was like itself."""
    from rendezvous._torchrun.agent_store import AgentStore

    broken = [False]
    store = HashStore()
    agents = [AgentStore(store, rank, 3, lambda: broken[0]) for rank in range(3)]
    role = {"role": "default", "rank": 0, "local_world_size": 2}
    agents[0].set("torchelastic/role_info/0", json.dumps(role))
    agents[1].set("torchelastic/role_info/1", json.dumps({**role, "rank": 1}))
    keys = [f"torchelastic/role_info/{rank}" for rank in range(3)]
    agents[0].set_timeout(timedelta(milliseconds=50))
    with pytest.raises(dist.DistStoreError):  # nobody is lost: it may come yet
        agents[0].multi_get(keys)
    broken[0] = True
    agents[0].set_timeout(timedelta(seconds=BACKSTOP_S))
    roles = [json.loads(each) for each in agents[0].multi_get(keys)]
    assert [each["rank"] for each in roles] == [0, 1, 2]
    assert {each["local_world_size"] for each in roles} == {2}
    assert json.loads(agents[1].get("torchelastic/assigned_ranks/1")) == [2, 6, 2, 6]


def test_torchs_registry_knows_the_plug_in(tmp_path: Path) -> None:
    """By the wheel's entry point; its errors are torch's and ours at once."""
    elastic: Any = importlib.import_module("torch.distributed.elastic.rendezvous")
    registry: Any = importlib.import_module("torch.distributed.elastic.rendezvous.registry")
    where = f"file://{tmp_path / 'run'}"
    parameters = elastic.RendezvousParameters("rendezvous", where, "job", 1, 1, timeout=900)
    handler = registry.get_rendezvous_handler(parameters)
    assert handler.get_backend() == "rendezvous"
    assert isinstance(handler, elastic.RendezvousHandler)
    info = handler.next_rendezvous()
    assert (info.rank, info.world_size) == (0, 1)
    assert isinstance(info.store, dist.Store)
    handler.set_closed()
    assert handler.is_closed()
    assert handler.num_nodes_waiting() == 0
    assert handler.shutdown()
    other = registry.get_rendezvous_handler(parameters)
    with pytest.raises(elastic.RendezvousClosedError) as caught:
        other.next_rendezvous()
    assert isinstance(caught.value, rendezvous.RendezvousClosedError)
    assert other.shutdown()


def test_a_handler_that_was_shut_down_says_so_in_torchs_errors_and_may_be_shut_down_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whichever method finds it out; and once more is no matter for the log."""
    elastic: Any = importlib.import_module("torch.distributed.elastic.rendezvous")
    registry: Any = importlib.import_module("torch.distributed.elastic.rendezvous.registry")
    where = f"file://{tmp_path / 'run'}"
    parameters = elastic.RendezvousParameters("rendezvous", where, "job", 1, 1)
    handler = registry.get_rendezvous_handler(parameters)
    assert handler.shutdown()
    monkeypatch.setattr(logging.getLogger("rendezvous"), "handlers", [caplog.handler])
    for call in (handler.set_closed, handler.next_rendezvous):
        with pytest.raises(elastic.RendezvousStateError, match="was shut down") as caught:
            call()
        assert isinstance(caught.value, rendezvous.RendezvousStateError)
    assert handler.shutdown()
    assert not caplog.records


def test_events_are_those_of_torchs_own_handler(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A join, its end with the rank, a refusal: RdzvEvents, for who listens to torch's events."""
    elastic: Any = importlib.import_module("torch.distributed.elastic.rendezvous")
    events: Any = importlib.import_module("torch.distributed.elastic.events")
    registry: Any = importlib.import_module("torch.distributed.elastic.rendezvous.registry")
    recorded: list[Any] = []
    monkeypatch.setattr(events, "get_logging_handler", lambda _: logging.StreamHandler())
    monkeypatch.setattr(events, "record_rdzv_event", recorded.append)

    def play(backend: str, where: str, **config: object) -> list[tuple[Any, ...]]:
        """What a node does, that meets, closes the run and is refused."""
        parameters = elastic.RendezvousParameters(backend, where, "job", 1, 1, **config)
        handler = registry.get_rendezvous_handler(parameters)
        recorded.clear()
        info = handler.next_rendezvous()
        assert info.world_size == 1
        handler.set_closed()
        handler.shutdown()
        late = registry.get_rendezvous_handler(parameters)
        with pytest.raises(elastic.RendezvousClosedError):
            late.next_rendezvous()
        late.shutdown()
        said = [event for event in recorded if ".next_rendezvous" in event.name]
        assert {event.run_id for event in said} == {"job"}
        assert all(event.hostname and event.pid and event.local_id is not None for event in said)
        return [
            (
                re.sub(
                    r"\d+", "N", event.message.replace(event.hostname, "HOST").partition(":")[0]
                ),
                event.node_state,
                event.rank,
                bool(event.error_trace),
            )
            for event in said
        ]

    ours = play("rendezvous", f"file://{tmp_path / 'ours'}")
    theirs = play("c10d", str(tmp_path / "theirs"), store_type="file")
    assert ours == theirs
    assert [state for _, state, _, _ in ours].count(events.NodeState.FAILED) == 1

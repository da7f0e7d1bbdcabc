"""The c10d backend: its format, how it treats its store, and where the store is."""

from __future__ import annotations

import base64
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from support.backends import written

from rendezvous import (
    C10dRendezvousBackend,
    HashStore,
    RendezvousConnectionError,
    RendezvousParameters,
    Server,
)
from rendezvous.backends.c10d import create_backend, open_backend

RUN = "run/with strange:name"
KEY = f"torch.rendezvous.{RUN}"
SENTINEL = "Y2FuaW1hZGFt"


def test_the_state_is_stored_as_torch_stores_it() -> None:
    """The sentinel for nothing, then base64; the token is that text."""
    store = HashStore()
    backend = C10dRendezvousBackend(store, RUN)
    assert store.get(KEY) == SENTINEL.encode()
    token = written(backend.set_state(b"state"))
    assert store.get(KEY) == token == base64.b64encode(b"state")


@pytest.mark.parametrize("state", [b"", base64.b64decode(SENTINEL)])
def test_a_state_that_would_read_as_none_is_refused(state: bytes) -> None:
    """It would be lost without a word."""
    backend = C10dRendezvousBackend(HashStore(), RUN)
    with pytest.raises(ValueError, match="means 'no state'"):
        backend.set_state(state)


def test_an_empty_run_id_is_refused() -> None:
    """All jobs of a store would meet."""
    with pytest.raises(ValueError, match="run id is empty"):
        C10dRendezvousBackend(HashStore(), "")


class Failing:
    """A store that answers twice, and then fails."""

    def __init__(self, error: Exception) -> None:
        self.store = HashStore()
        self.error = error
        self.answers = 2

    def compare_set(self, key: str, expected: str, desired: str, /) -> bytes:
        if not self.answers:
            raise self.error
        self.answers -= 1
        return self.store.compare_set(key, expected, desired)


@pytest.mark.parametrize(
    "error", [ValueError("v"), RuntimeError("r"), TimeoutError("t"), ConnectionResetError("c")]
)
def test_failures_of_the_store_become_connection_errors(error: Exception) -> None:
    """One error to catch, whatever store it is; the store's own is the cause."""
    backend = C10dRendezvousBackend(Failing(error), RUN)
    token = written(backend.set_state(b"1"))
    for act in (
        backend.get_state,
        lambda: backend.set_state(b"2"),
        lambda: backend.set_state(b"2", token),
        lambda: backend.set_state(b"2", "foreign"),
        lambda: C10dRendezvousBackend(Failing(error), RUN) and backend.get_state(),
    ):
        with pytest.raises(RendezvousConnectionError) as caught:
            act()
        assert caught.value.__cause__ is error


class Deleting(Failing):
    """A store in which somebody deletes the key before each request, and puts it back after."""

    def __init__(self) -> None:
        super().__init__(ValueError())

    def compare_set(self, key: str, expected: str, desired: str, /) -> bytes:
        del key, desired
        return expected.encode() or SENTINEL.encode()


def test_a_key_that_is_deleted_again_and_again_is_an_error_and_no_endless_loop() -> None:
    """Somebody else uses that key: waiting does not help."""
    backend = C10dRendezvousBackend(Deleting(), RUN)
    with pytest.raises(RendezvousConnectionError, match="keeps deleting it"):
        backend.set_state(b"1")


def parameters(endpoint: str, **config: Any) -> RendezvousParameters:
    return RendezvousParameters("c10d", endpoint, RUN, 1, 1, **config)


def test_create_backend_serves_and_connects() -> None:
    """The store that it gives is the one in which the state is."""
    backend, store = create_backend(parameters("127.0.0.1:0", is_host="true", store_type="TCP"))
    written(backend.set_state(b"1"))
    assert store.get(KEY) == b"MQ=="
    assert store.timeout == timedelta(seconds=60)


def test_a_file_store_is_opened_at_the_endpoint(tmp_path: Path) -> None:
    """All who name the same path share it."""
    path = str(tmp_path / "store")
    first, _ = create_backend(parameters(path, store_type="File"))
    second, store = create_backend(parameters(path, store_type="file"))
    written(first.set_state(b"1"))
    assert second.get_state() == first.get_state()
    assert store.get(KEY) == b"MQ=="


def test_a_file_store_without_endpoint_is_a_temporary_file() -> None:
    """It goes with the connection."""
    backend, connection = open_backend(parameters("", store_type="file"))
    written(backend.set_state(b"1"))
    assert connection.host is None
    assert Path(connection.endpoint).exists()
    connection.close()
    assert not Path(connection.endpoint).exists()


def test_a_file_store_that_cannot_be_opened_is_an_error(tmp_path: Path) -> None:
    """The error names the path."""
    with pytest.raises(RendezvousConnectionError, match="missing/store"):
        open_backend(parameters(str(tmp_path / "missing" / "store"), store_type="file"))


def test_the_inferred_host_serves_and_the_next_is_its_client() -> None:
    """Several launchers on one machine: the first that binds is the host."""
    first, host = open_backend(parameters("127.0.0.1:0"))
    try:
        assert host.server is not None
        second, client = open_backend(parameters(host.endpoint, read_timeout="7"))
        try:
            assert client.server is None
            assert client.store.timeout == timedelta(seconds=7)
            written(first.set_state(b"1"))
            assert second.get_state() == first.get_state()
        finally:
            client.close()
    finally:
        host.close()


def test_a_host_by_choice_that_cannot_serve_is_an_error(server: Server) -> None:
    """It does not silently become a client of somebody else's store."""
    with pytest.raises(RendezvousConnectionError, match=r"although is_host is true.*in use"):
        open_backend(parameters(f"127.0.0.1:{server.port}", is_host=1))


def test_a_client_by_choice_does_not_serve(free_port: int) -> None:
    """The error says that it was a client, why, where to, what happened and what to do."""
    with pytest.raises(RendezvousConnectionError) as caught:
        open_backend(parameters(f"127.0.0.1:{free_port}", is_host="no", join_timeout=0.2))
    text = str(caught.value)
    for part in (f"127.0.0.1:{free_port}", "0.2 s", "is_host is false", "refused", "is_host=1"):
        assert part in text
    assert caught.value.__cause__ is not None


def test_a_client_says_what_its_endpoint_was_matched_against() -> None:
    """So that "no node became the host" can be understood from any node's log."""
    with pytest.raises(RendezvousConnectionError, match="is not an address of this machine"):
        open_backend(parameters("192.0.2.17:29400", join_timeout=0.2))


@pytest.mark.parametrize(
    ("endpoint", "config", "what"),
    [
        ("127.0.0.1:0", {"store_type": "redis"}, "store_type is 'redis'"),
        ("127.0.0.1:0", {"read_timeout": "0"}, "read_timeout"),
        ("127.0.0.1:0", {"read_timeout": "never"}, "read_timeout"),
        ("127.0.0.1:0", {"is_host": "perhaps"}, "is_host"),
        ("127.0.0.1:0", {"is_host": "0"}, "port 0"),
        ("127.0.0.1:65536", {}, "is not between 0 and 65535"),
    ],
)
def test_bad_configuration_is_refused_by_name(
    endpoint: str, config: dict[str, Any], what: str
) -> None:
    """Before anything is opened."""
    with pytest.raises(ValueError, match=what):
        open_backend(parameters(endpoint, **config))

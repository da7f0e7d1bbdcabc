"""What every rendezvous backend does: one suite that all of them pass, over every store they take.

A new backend gets a `Place` of its own below. Rows that only the c10d format has come last.
"""

from __future__ import annotations

import base64
import re
import uuid
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from support.etcd_kinds import CLUSTER_KINDS, Access

from rendezvous import (
    C10dRendezvousBackend,
    FileStore,
    HashStore,
    RendezvousBackend,
    RendezvousConnectionError,
    RendezvousParameters,
    RendezvousStateError,
    Server,
    Store,
    TCPStore,
)
from rendezvous.backends.c10d import create_backend, open_backend
from rendezvous.backends.etcd import EtcdRendezvousBackend

RUN = "run/with strange:name"
KEY = f"torch.rendezvous.{RUN}"
SENTINEL = "Y2FuaW1hZGFt"
STATES = [b"state", b"\n", b"\x00\xff" * 10, b"x" * 200_000]


class Place:
    """Where a backend under test keeps its state, and what a test may do to it behind its back."""

    name = "c10d"
    key = KEY

    def __init__(self, store: Store) -> None:
        self.store = store

    def backend(self, run_id: str = RUN) -> RendezvousBackend:
        return C10dRendezvousBackend(self.store, run_id)

    def be_patient(self) -> None:
        self.store.set_timeout(timedelta(hours=1))

    def vanish(self) -> None:
        assert self.store.delete_key(KEY)

    def corrupt(self, value: str | bytes) -> None:
        self.store.set(KEY, value)

    def raw(self) -> bytes:
        return self.store.get(KEY)


class EtcdPlace(Place):
    """A cluster for all tests: a key prefix for each."""

    name = "etcd"

    def __init__(self, access: Access) -> None:
        self.prefix = f"{access.prefix}{uuid.uuid4()}"
        self.key = f"{self.prefix}/{RUN}"
        self.client = access.client()

    def backend(self, run_id: str = RUN) -> RendezvousBackend:
        return EtcdRendezvousBackend(self.client, run_id, self.prefix)

    def be_patient(self) -> None:
        self.client.timeout_s = 3600.0

    def vanish(self) -> None:
        assert self.client.delete(self.key.encode()) == 1

    def corrupt(self, value: str | bytes) -> None:
        self.client.put(self.key.encode(), value.encode() if isinstance(value, str) else value)

    def raw(self) -> bytes:
        return self.client.range(self.key.encode()).kvs[0].value


@pytest.fixture(params=["hash", "file", "tcp", "etcd", *CLUSTER_KINDS])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    if request.param == "hash":
        return Place(HashStore())
    if request.param == "file":
        return Place(FileStore(tmp_path / "store"))
    if request.param.startswith("etcd"):
        return EtcdPlace(request.getfixturevalue("etcd_access")(request.param))
    connect: Callable[..., TCPStore] = request.getfixturevalue("connect")
    return Place(connect())


@pytest.fixture
def backend(place: Place) -> RendezvousBackend:
    return place.backend()


def written(answer: tuple[bytes, object, bool] | None) -> object:
    """The token of a write that was expected to win."""
    assert answer is not None
    assert answer[2]
    return answer[1]


def test_the_name_is_the_registered_one(place: Place) -> None:
    """Handlers and launchers compare it."""
    assert place.backend().name == place.name


def test_at_first_there_is_no_state(backend: RendezvousBackend) -> None:
    """And asking does not make one."""
    assert backend.get_state() is None
    assert backend.get_state() is None


@pytest.mark.parametrize("state", STATES)
def test_a_state_that_is_created_can_be_read(place: Place, state: bytes) -> None:
    """By another node, with the token that the writer has."""
    token = written(place.backend().set_state(state))
    assert place.backend().get_state() == (state, token)


def test_creating_where_a_state_is_answers_with_that_state(place: Place) -> None:
    """The second of two creators learns what the first made, and can write with that token."""
    token = written(place.backend().set_state(b"first"))
    second = place.backend()
    assert second.set_state(b"second") == (b"first", token, False)
    written(second.set_state(b"third", token))


def test_the_current_token_replaces_the_state(backend: RendezvousBackend) -> None:
    """And the answer has the token for the next write."""
    token = written(backend.set_state(b"1"))
    for state in (b"2", b"3", b"4"):
        token = written(backend.set_state(state, token))
        assert backend.get_state() == (state, token)


def test_a_token_that_was_read_is_as_good_as_one_that_was_written(place: Place) -> None:
    """Any node may change what it has read."""
    place.backend().set_state(b"1")
    read = place.backend().get_state()
    assert read is not None
    assert read[0] == b"1"
    written(place.backend().set_state(b"2", read[1]))


def test_a_stale_token_changes_nothing_and_brings_back_what_is_there(place: Place) -> None:
    """The fence: who has not seen the last write cannot overwrite it."""
    stale = written(place.backend().set_state(b"1"))
    current = written(place.backend().set_state(b"2", stale))
    assert place.backend().set_state(b"mine", stale) == (b"2", current, False)
    assert place.backend().get_state() == (b"2", current)


def test_a_stale_token_wins_if_what_is_there_is_what_was_to_be_written(place: Place) -> None:
    """A write whose answer got lost may be sent again."""
    stale = written(place.backend().set_state(b"1"))
    current = written(place.backend().set_state(b"2", stale))
    assert place.backend().set_state(b"2", stale) == (b"2", current, True)


def test_writing_what_is_there_with_its_own_token_is_a_write(backend: RendezvousBackend) -> None:
    """Nothing changes, and nothing failed."""
    token = written(backend.set_state(b"1"))
    written(backend.set_state(b"1", token))
    state = backend.get_state()
    assert state is not None
    assert state[0] == b"1"
    written(backend.set_state(b"2", state[1]))


@pytest.mark.parametrize("token", ["a str", 17, object(), b"", b"\xff\xfe"])
def test_a_token_of_another_making_only_reads(place: Place, token: object) -> None:
    """It cannot have been read here, so nothing may be written with it."""
    backend = place.backend()
    assert backend.set_state(b"new", token) is None
    current = written(backend.set_state(b"1"))
    assert backend.set_state(b"new", token) == (b"1", current, False)


def test_a_token_without_state_behind_it_is_told(backend: RendezvousBackend) -> None:
    """Nobody wrote anything: there is nothing that the token could belong to."""
    assert backend.set_state(b"new", b"bm8gc3RhdGU=") is None
    assert backend.get_state() is None


def test_a_vanished_state_reads_as_none_at_once(place: Place) -> None:
    """After a store lost its data nobody waits for the store's timeout."""
    backend = place.backend()
    backend.set_state(b"1")
    place.be_patient()
    place.vanish()
    assert backend.get_state() is None


@pytest.mark.parametrize("state", [b"1", b"2"])
def test_a_write_to_a_vanished_state_is_told_that_nothing_is_there(
    place: Place, state: bytes
) -> None:
    """Even when it would write the very state that vanished; it must not retry for ever."""
    backend = place.backend()
    token = written(backend.set_state(b"1"))
    place.vanish()
    assert backend.set_state(state, token) is None
    assert backend.get_state() is None


def test_a_vanished_state_can_be_created_again(place: Place) -> None:
    """With a key that is gone as well as with one that somebody has looked at since."""
    backend = place.backend()
    backend.set_state(b"1")
    place.vanish()
    token = written(backend.set_state(b"2"))
    assert backend.get_state() == (b"2", token)
    place.vanish()
    assert backend.get_state() is None
    written(backend.set_state(b"3"))


def test_runs_do_not_see_each_other(place: Place) -> None:
    """Run ids share a store."""
    place.backend().set_state(b"1")
    assert place.backend(f"{RUN}2").get_state() is None


def test_what_is_no_state_is_refused_by_name_of_its_key(place: Place) -> None:
    """Junk is neither read nor overwritten."""
    backend = place.backend()
    token = written(backend.set_state(b"1"))
    for junk in ("not base64!", "YQ", "YQ==\n", "Y Q = =", b"\xff\xfe", "YQ==YQ=="):
        place.corrupt(junk)
        for act in (
            backend.get_state,
            lambda: backend.set_state(b"2"),
            lambda: backend.set_state(b"2", token),
        ):
            with pytest.raises(RendezvousStateError, match=re.escape(place.key)):
                act()
        assert place.raw() == (junk.encode() if isinstance(junk, str) else junk)


# From here on: the c10d format, and how c10d treats its store.


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
    with pytest.raises(RendezvousConnectionError, match="deletes it again and again"):
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
    with pytest.raises(RendezvousConnectionError, match="is no address of this machine"):
        open_backend(parameters("192.0.2.17:29400", join_timeout=0.2))


@pytest.mark.parametrize(
    ("endpoint", "config", "what"),
    [
        ("127.0.0.1:0", {"store_type": "redis"}, "store_type is 'redis'"),
        ("127.0.0.1:0", {"read_timeout": "0"}, "read_timeout"),
        ("127.0.0.1:0", {"read_timeout": "never"}, "read_timeout"),
        ("127.0.0.1:0", {"is_host": "perhaps"}, "is_host"),
        ("127.0.0.1:0", {"is_host": "0"}, "port 0"),
        ("127.0.0.1:65536", {}, "above 65535"),
    ],
)
def test_bad_configuration_is_refused_by_name(
    endpoint: str, config: dict[str, Any], what: str
) -> None:
    """Before anything is opened."""
    with pytest.raises(ValueError, match=what):
        open_backend(parameters(endpoint, **config))

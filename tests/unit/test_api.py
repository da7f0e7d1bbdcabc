"""Parameters, registry and the information of a round: as torch elastic's callers know them."""

from __future__ import annotations

import threading
from datetime import timedelta
from typing import Any

import pytest

from rendezvous import (
    C10dRendezvousBackend,
    DynamicRendezvousHandler,
    HashStore,
    RendezvousHandler,
    RendezvousHandlerRegistry,
    RendezvousInfo,
    RendezvousParameters,
    RendezvousStoreInfo,
    RendezvousTimeout,
    get_rendezvous_handler,
    rendezvous_handler_registry,
)
from rendezvous._base.settings import HandlerOptions


def parameters(backend: str = "dummy", **config: Any) -> RendezvousParameters:
    return RendezvousParameters(backend, "localhost:0", "run", 1, 2, **config)


class DummyHandler(RendezvousHandler):
    """A handler that does nothing."""

    def __init__(self, backend: str) -> None:
        self._backend = backend

    def get_backend(self) -> str:
        return self._backend

    def next_rendezvous(self) -> RendezvousInfo:
        raise NotImplementedError

    def is_closed(self) -> bool:
        return False

    def set_closed(self) -> None:
        return

    def num_nodes_waiting(self) -> int:
        return 0

    def get_run_id(self) -> str:
        return "run"

    def shutdown(self) -> bool:
        return True


def create_dummy(params: RendezvousParameters) -> RendezvousHandler:
    return DummyHandler(params.backend)


def create_other(params: RendezvousParameters) -> RendezvousHandler:
    return DummyHandler(f"not {params.backend}")


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"backend": ""}, "backend"),
        ({"run_id": ""}, "run id is empty"),
        ({"min_nodes": 0}, "min_nodes is 0"),
        ({"min_nodes": -1}, "min_nodes is -1"),
        ({"min_nodes": 3, "max_nodes": 2}, r"max_nodes \(2\) is less than min_nodes \(3\)"),
    ],
)
def test_bad_parameters_are_refused(change: dict[str, Any], what: str) -> None:
    """The error names the parameter."""
    good: dict[str, Any] = {
        "backend": "c10d",
        "endpoint": "",
        "run_id": "run",
        "min_nodes": 1,
        "max_nodes": 1,
    }
    with pytest.raises(ValueError, match=what):
        RendezvousParameters(**{**good, **change})


def test_parameters_keep_what_they_were_given() -> None:
    """Everything beyond the named ones is configuration."""
    params = RendezvousParameters("c10d", "a:1", "run", 2, 4, "me", read_timeout="7", x=None)
    assert (params.backend, params.endpoint, params.run_id) == ("c10d", "a:1", "run")
    assert (params.min_nodes, params.max_nodes, params.local_addr) == (2, 4, "me")
    assert params.config == {"read_timeout": "7", "x": None}
    assert params.get("read_timeout") == "7"
    assert params.get("missing") is None
    assert params.get("missing", 5) == 5
    assert "read_timeout" in repr(params)


@pytest.mark.parametrize("value", ["1", "true", "True", "T", "t", "yes", "YES", "y", 1, True])
def test_true_values(value: object) -> None:
    """Words in any case, and the int 1."""
    assert parameters(flag=value).get_as_bool("flag") is True


@pytest.mark.parametrize("value", ["0", "false", "False", "F", "no", "NO", "n", 0, False])
def test_false_values(value: object) -> None:
    """Words in any case, and the int 0."""
    assert parameters(flag=value).get_as_bool("flag") is False


@pytest.mark.parametrize("value", ["", "2", "on", "truee", 2, -1, 1.5, []])
def test_values_that_are_neither_true_nor_false_are_refused(value: object) -> None:
    """A typo must not read as false."""
    with pytest.raises(ValueError, match="flag"):
        parameters(flag=value).get_as_bool("flag")


def test_a_missing_flag_is_its_default() -> None:
    """None unless a default is given."""
    assert parameters().get_as_bool("flag") is None
    assert parameters().get_as_bool("flag", True) is True


def test_ints_are_read_from_text() -> None:
    """Values come from command lines."""
    params = parameters(a="12", b=-3, c="x", d=[])
    assert params.get_as_int("a") == 12
    assert params.get_as_int("b") == -3
    assert params.get_as_int("missing") is None
    assert params.get_as_int("missing", 4) == 4
    for key in ("c", "d"):
        with pytest.raises(ValueError, match=key):
            params.get_as_int(key)


def test_timeouts_have_torchs_defaults() -> None:
    """Join 600 s, last call 30 s, close 30 s, heartbeat 5 s."""
    timeout = RendezvousTimeout()
    times = (timeout.join, timeout.last_call, timeout.close, timeout.heartbeat)
    assert [each.total_seconds() for each in times] == [600, 30, 30, 5]


@pytest.mark.parametrize("name", ["join", "last_call", "close", "heartbeat"])
@pytest.mark.parametrize("seconds", [0, -1, float("nan"), float("inf")])
def test_timeouts_must_be_positive(name: str, seconds: float) -> None:
    """A time that is no time is refused where it is given."""
    with pytest.raises(ValueError, match=name):
        RendezvousTimeout(**{name: seconds})


@pytest.mark.parametrize("seconds", [timedelta.max, 1e300, 10**400])
def test_an_enormous_timeout_is_none(seconds: float | timedelta) -> None:
    """Nobody waits for 30 years; clocks can count that far."""
    timeout = RendezvousTimeout(join=seconds, last_call=seconds, close=seconds, heartbeat=seconds)
    assert timeout.join >= timedelta(days=365 * 30)
    options = HandlerOptions.of(parameters(join_timeout=seconds, close_timeout="1e300"))
    assert options.timeout.join_s == options.timeout.close_s == timeout.heartbeat_s
    with pytest.raises(ValueError, match="must be positive"):
        RendezvousTimeout(join=-(10**400))


def test_options_are_read_from_the_configuration() -> None:
    """Text and fractions are fine; torchrun's own `timeout` is none of ours."""
    options = HandlerOptions.of(
        parameters(
            join_timeout="90",
            last_call_timeout=0.5,
            keep_alive_interval="0.25",
            keep_alive_max_attempt="7",
            bootstrap_store="no",
            timeout=900,
        )
    )
    assert (options.timeout.join_s, options.timeout.last_call_s) == (90, 0.5)
    assert (options.keep_alive_interval_s, options.keep_alive_max_attempt) == (0.25, 7)
    assert options.bootstrap_store is False
    assert options.timeout.close_s == 30


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("join_timeout", "0"),
        ("last_call_timeout", "soon"),
        ("close_timeout", -1),
        ("heartbeat_timeout", []),
        ("keep_alive_interval", "nan"),
        ("keep_alive_max_attempt", "x"),
        ("bootstrap_store", "maybe"),
    ],
)
def test_bad_options_are_refused_by_name(key: str, value: Any) -> None:
    """The error names the key that the user wrote."""
    with pytest.raises(ValueError, match=key):
        HandlerOptions.of(parameters(**{key: value}))


def test_the_registry_makes_the_handler_that_the_parameters_name() -> None:
    """By the creator registered under the backend's name."""
    registry = RendezvousHandlerRegistry()
    registry.register("dummy", create_dummy)
    assert registry.create_handler(parameters()).get_backend() == "dummy"


def test_the_same_creator_may_be_registered_again_but_no_other() -> None:
    """Plug-ins are loaded more than once, but must not replace each other unseen."""
    registry = RendezvousHandlerRegistry()
    registry.register("dummy", create_dummy)
    registry.register("dummy", create_dummy)
    with pytest.raises(ValueError, match="dummy"):
        registry.register("dummy", create_other)
    with pytest.raises(ValueError, match="empty"):
        registry.register("", create_dummy)


def test_an_unknown_backend_is_refused_and_the_known_are_named() -> None:
    """So that a typo shows."""
    with pytest.raises(ValueError, match=r"'c01d'.*known: c10d"):
        get_rendezvous_handler(parameters("c01d"))


def test_a_creator_that_makes_another_backends_handler_is_an_error() -> None:
    """Torchrun compares the names, too."""
    registry = RendezvousHandlerRegistry()
    registry.register("dummy", create_other)
    with pytest.raises(RuntimeError, match="not dummy"):
        registry.create_handler(parameters())


def test_c10d_is_known_without_registration() -> None:
    """A launcher needs two names: the parameters and get_rendezvous_handler."""
    params = RendezvousParameters("c10d", "127.0.0.1:0", "run", 1, 1, is_host=True)
    handler = get_rendezvous_handler(params)
    try:
        assert handler.get_backend() == "c10d"
        assert handler.get_run_id() == "run"
    finally:
        assert handler.shutdown()
    assert params.backend in rendezvous_handler_registry._creators


def test_rank_0_publishes_and_the_others_read() -> None:
    """Every rank gets the same address and port."""
    store = HashStore()
    found: list[RendezvousStoreInfo] = []
    reader = threading.Thread(
        target=lambda: found.append(RendezvousStoreInfo.build(1, store, "not me"))
    )
    reader.start()
    mine = RendezvousStoreInfo.build(0, store, "node0", 4711)
    reader.join()
    assert mine == found[0] == RendezvousStoreInfo("node0", 4711)
    assert store.get("MASTER_ADDR") == b"node0"
    assert store.get("MASTER_PORT") == b"4711"


def test_without_a_server_rank_0_publishes_a_free_port() -> None:
    """For programs that bind it themselves."""
    info = RendezvousStoreInfo.build(0, HashStore(), "127.0.0.1")
    assert 0 < info.master_port < 65536


@pytest.mark.parametrize(
    ("backend", "setting", "meant"),
    [
        ("c10d", "join_timout", "join_timeout"),
        ("etcd", "etcd_prefix", "key_prefix"),
        ("static", "reed_timeout", "read_timeout"),
    ],
)
def test_a_setting_that_nobody_knows_is_refused(backend: str, setting: str, meant: str) -> None:
    """By each of our backends, before anything is opened, with what may have been meant."""
    with pytest.raises(ValueError, match=f"'{setting}' has no effect; is it {meant}") as raised:
        get_rendezvous_handler(parameters(backend, **{setting: 5}))
    assert backend in str(raised.value)


def test_with_shuts_a_handler_down() -> None:
    """However the block ends; what it raises passes through."""
    ended: list[str] = []

    class Handler(DummyHandler):
        def shutdown(self) -> bool:
            ended.append(self.get_backend())
            return True

    with Handler("first") as handler:
        assert isinstance(handler, Handler)
        assert ended == []
    with pytest.raises(KeyError), Handler("second"):
        raise KeyError
    assert ended == ["first", "second"]


def test_what_a_program_prints_of_our_objects_says_which_they_are() -> None:
    """Handlers, backends, times and the registry: run, place, state, numbers; no addresses."""
    static = get_rendezvous_handler(
        RendezvousParameters("static", "node0:29400", "job", 1, 4, rank=3)
    )
    assert (
        repr(static)
        == "<rendezvous.StaticRendezvousHandler run 'job', rank 3 of 4 at node0:29400, "
        "no round yet>"
    )
    static.shutdown()
    assert repr(static).endswith("no round yet, shut down>")
    with HashStore() as store:
        backend = C10dRendezvousBackend(store, "job")
        assert "torch.rendezvous.job' in <rendezvous.HashStore" in repr(backend)
        with DynamicRendezvousHandler.from_backend(
            "job", store, backend, 1, 1, timeout=RendezvousTimeout(last_call=0.1)
        ) as handler:
            assert "c10d, run 'job' at " in repr(handler)
            assert "no round yet" in repr(handler)
            handler.next_rendezvous()
            assert "round 1>" in repr(handler)
        assert "shut down" in repr(handler)
    assert repr(RendezvousTimeout(join=timedelta(minutes=1))) == (
        "RendezvousTimeout(join=60, last_call=30, close=30, heartbeat=5, spare=None)"
    )
    assert "c10d" in repr(rendezvous_handler_registry)

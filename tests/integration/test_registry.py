"""Backends by name: those that are there, registered ones, and those of other distributions."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from textwrap import dedent

import pytest
from support.background import Background

from rendezvous import (
    DynamicRendezvousHandler,
    HashStore,
    RendezvousHandler,
    RendezvousHandlerRegistry,
    RendezvousParameters,
    Server,
    get_rendezvous_handler,
)
from rendezvous.handler import registry

PLUGIN = """
from datetime import timedelta

from rendezvous import RendezvousHandler, RendezvousInfo, RendezvousStoreInfo, HashStore

class Handler(RendezvousHandler):
    def __init__(self, params): self.params = params
    def get_backend(self): return self.params.backend
    def next_rendezvous(self):
        return RendezvousInfo(HashStore(), 0, 1, RendezvousStoreInfo("nowhere", 1))
    def is_closed(self): return False
    def set_closed(self): pass
    def num_nodes_waiting(self): return 0
    def get_run_id(self): return self.params.run_id
    def shutdown(self): return True

def get_creator(): return Handler
"""

Install = Callable[..., None]


def parameters(backend: str, endpoint: str = "") -> RendezvousParameters:
    return RendezvousParameters(backend, endpoint, "run", 1, 1)


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Install]:
    """Puts a distribution with one backend on the path, as an installer does."""
    monkeypatch.syspath_prepend(str(tmp_path))
    modules: list[str] = []

    def add(name: str, backend: str, source: str = PLUGIN, value: str = "get_creator") -> None:
        module = name.replace("-", "_")
        modules.append(module)
        (tmp_path / f"{module}.py").write_text(dedent(source))
        info = tmp_path / f"{module}-1.5.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.5\n")
        (info / "entry_points.txt").write_text(
            f"[rendezvous.backends]\n{backend} = {module}:{value}\n"
        )

    yield add
    for module in modules:
        sys.modules.pop(module, None)


@pytest.fixture
def fresh(monkeypatch: pytest.MonkeyPatch) -> RendezvousHandlerRegistry:
    """One that has met no plug-in yet."""
    made = RendezvousHandlerRegistry(plugins=True)
    monkeypatch.setattr(registry, "rendezvous_handler_registry", made)
    return made


@pytest.mark.usefixtures("fresh")
def test_a_backend_of_another_distribution_is_found(install: Install) -> None:
    """By the name of its entry point, and its handler is what the launcher gets."""
    install("nebula-rendezvous", "nebula")
    handler = get_rendezvous_handler(parameters("nebula"))
    assert type(handler).__module__ == "nebula_rendezvous"
    assert handler.next_rendezvous().bootstrap_store_info.master_addr == "nowhere"


@pytest.mark.usefixtures("fresh")
def test_a_plug_in_is_loaded_when_it_is_asked_for(install: Install) -> None:
    """Another one that is broken disturbs nobody; asked for, it is named with what it says."""
    install("broken-rendezvous", "broken", "import no_such_module_at_all\n")
    install("nebula-rendezvous", "nebula")
    assert get_rendezvous_handler(parameters("nebula")).get_run_id() == "run"
    assert "broken_rendezvous" not in sys.modules
    with pytest.raises(RuntimeError, match="no_such_module_at_all") as caught:
        get_rendezvous_handler(parameters("broken"))
    assert "broken_rendezvous:get_creator of broken-rendezvous 1.5" in str(caught.value)
    assert isinstance(caught.value.__cause__, ModuleNotFoundError)


@pytest.mark.usefixtures("fresh")
@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("def get_creator(): return None", "not a creator"),
        ("def get_creator(): raise OSError('no licence')", "OSError: no licence"),
        ("get_creator = None", "TypeError"),
        ("", "AttributeError"),
    ],
)
def test_what_is_wrong_with_a_plug_in_is_said(install: Install, source: str, message: str) -> None:
    """Whatever it is."""
    install("broken-rendezvous", "broken", source)
    with pytest.raises(RuntimeError, match=message):
        get_rendezvous_handler(parameters("broken"))


@pytest.mark.usefixtures("fresh")
def test_of_two_with_one_name_the_one_that_loads_counts(
    install: Install, caplog: pytest.LogCaptureFixture
) -> None:
    """And the log names the other; two that load are an error, as nobody knows which is meant."""
    install("broken-rendezvous", "nebula", "import no_such_module_at_all\n")
    install("nebula-rendezvous", "nebula")
    with caplog.at_level(logging.WARNING):
        assert get_rendezvous_handler(parameters("nebula")).get_backend() == "nebula"
    assert "broken_rendezvous:get_creator of broken-rendezvous 1.5" in caplog.text
    install("third-rendezvous", "nebula")
    with pytest.raises(RuntimeError, match="several plug-ins"):
        RendezvousHandlerRegistry(plugins=True).create_handler(parameters("nebula"))


def test_plug_ins_do_not_replace_what_is_registered(
    install: Install, fresh: RendezvousHandlerRegistry
) -> None:
    """Nor are they asked of a registry that somebody made for himself."""
    install("nebula-rendezvous", "nebula")
    made: list[str] = []

    def creator(params: RendezvousParameters) -> RendezvousHandler:
        made.append(params.backend)
        raise OSError("the registered one")

    fresh.register("nebula", creator)
    with pytest.raises(OSError, match="the registered one"):
        get_rendezvous_handler(parameters("nebula"))
    with pytest.raises(ValueError, match="not registered"):
        RendezvousHandlerRegistry().create_handler(parameters("nebula"))


def test_an_unknown_backend_is_told_what_there_is(install: Install) -> None:
    """Ours, and those of plug-ins, without loading any."""
    install("broken-rendezvous", "broken", "import no_such_module_at_all\n")
    with pytest.raises(ValueError, match=r"\(known: broken, c10d, etcd, etcd-v3, static\)"):
        get_rendezvous_handler(parameters("zookeeper"))


def test_etcd_v2_has_a_clear_answer() -> None:
    """Torch's name for what etcd has no longer."""
    with pytest.raises(ValueError, match=r"version 2 of etcd's API.*use 'etcd'"):
        get_rendezvous_handler(parameters("etcd-v2", "localhost:2379"))


@pytest.mark.parametrize(
    ("name", "creator"),
    [
        ("etcd-like", registry.create_c10d_handler),
        ("numbered", registry.create_static_handler),
        ("cluster", registry.create_etcd_handler),
    ],
)
def test_our_creators_can_be_registered_under_other_names(
    name: str,
    creator: registry.RendezvousHandlerCreator,
    server: Server,
    request: pytest.FixtureRequest,
) -> None:
    """The handler's backend is that name, whatever it begins with, and it meets as ever."""
    own = RendezvousHandlerRegistry()
    own.register(name, creator)
    endpoint = f"127.0.0.1:{server.port}"
    if creator is registry.create_etcd_handler:
        endpoint = request.getfixturevalue("etcd_endpoint")
    made = own.create_handler(
        RendezvousParameters(
            name, endpoint, f"run of {name}", 1, 1, "127.0.0.1", rank=0, last_call_timeout=0.1
        )
    )
    assert made.get_backend() == name
    info = Background(made.next_rendezvous).result()
    assert (info.rank, info.world_size) == (0, 1)
    assert made.shutdown()


def test_a_handler_says_what_it_was_made_with() -> None:
    """Under torch elastic's names."""
    from rendezvous import C10dRendezvousBackend

    store = HashStore()
    handler = DynamicRendezvousHandler.from_backend(
        "run", store, C10dRendezvousBackend(store, "run"), 2, 5, "127.0.0.1", None, 7, 4
    )
    settings = handler.settings
    assert (settings.run_id, settings.min_nodes, settings.max_nodes) == ("run", 2, 5)
    assert settings.timeout.join.total_seconds() == 600
    assert settings.keep_alive_interval.total_seconds() == 7
    assert settings.keep_alive_max_attempt == 4
    handler.shutdown()

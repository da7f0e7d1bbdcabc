"""Stores by URL."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from rendezvous import FileStore, HashStore, PrefixStore, Server, TCPStore, open_store

Connect = Callable[..., TCPStore]


def test_a_tcp_url_is_a_client_of_that_server(server: Server, connect: Connect) -> None:
    """Host and port are taken from the URL, and so is the timeout."""
    store = open_store(f"tcp://127.0.0.1:{server.port}?timeout=2.5")
    assert isinstance(store, TCPStore)
    assert store.timeout.total_seconds() == 2.5
    store.set("k", "v")
    assert connect().get("k") == b"v"


def test_the_timeout_argument_comes_before_the_urls() -> None:
    """In seconds, or as a timedelta."""
    assert open_store("hash:", 7).timeout.total_seconds() == 7
    assert open_store("hash:", timedelta(milliseconds=1500)).timeout.total_seconds() == 1.5
    assert open_store("hash:?timeout=3", 7).timeout.total_seconds() == 7
    assert open_store("hash:?timeout=3").timeout.total_seconds() == 3
    with pytest.raises(ValueError, match="timeout is '-1'"):
        open_store("hash:", -1)


@pytest.mark.parametrize("protocol", ["native", "c10d"])
def test_a_tcp_url_may_name_the_protocol(server: Server, protocol: str) -> None:
    """For servers of torch's own; native is the default."""
    store = open_store(f"tcp://127.0.0.1:{server.port}/p?protocol={protocol}")
    assert isinstance(store, PrefixStore)
    assert store.underlying_store.protocol == protocol
    store.set("k", "v")
    assert store.get("k") == b"v"


def test_the_path_of_a_tcp_url_is_a_prefix(server: Server, connect: Connect) -> None:
    """Each part of a name space is shared by those who name the same path."""
    store = open_store(f"tcp://127.0.0.1:{server.port}/job%201/round?prefix=mine")
    assert isinstance(store, PrefixStore)
    store.set("k", "v")
    assert connect().list_keys() == ["job 1/round/mine/k"]


def test_a_file_url_is_a_path(tmp_path: Path) -> None:
    """The job id decides, as always, whether what is there is taken over."""
    path = tmp_path / "with space"
    url = f"file://{str(path).replace(' ', '%20')}?job_id=a&timeout=7"
    store = open_store(url)
    assert isinstance(store, FileStore)
    assert store.path == str(path)
    assert store.timeout.total_seconds() == 7
    store.set("k", "v")
    del store
    assert open_store(url).get("k") == b"v"


def test_a_hash_url_is_a_new_store() -> None:
    """Two of them share nothing."""
    store = open_store("hash:?prefix=p")
    assert isinstance(store, PrefixStore)
    assert isinstance(store.underlying_store, HashStore)
    store.set("k", "v")
    assert not open_store("hash:?prefix=p").check(["k"])


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("", "is not a store's URL"),
        ("localhost:29400", "is not a store's URL"),
        ("redis://localhost", "scheme is 'redis'"),
        ("tcp://", "has no host"),
        ("tcp://host:99999", "99999"),
        ("tcp://host?timeout=soon", "timeout is 'soon'"),
        ("tcp://host?timeout=-1", "timeout is '-1'"),
        ("tcp://host?tiemout=1", "unknown option 'tiemout'"),
        ("tcp://host?protocol=http", "protocol is 'http'; it must be native or c10d"),
        ("file:///path?protocol=c10d", "unknown option 'protocol'"),
        ("tcp://host?timeout=1&timeout=2", "given twice"),
        ("tcp://host?timeout", "is malformed"),
        ("file://path", "three slashes"),
        ("hash://host", "in memory"),
        ("etcd://a,etcd://b/p", "scheme once"),
    ],
)
def test_what_is_no_store_is_refused(url: str, message: str) -> None:
    """Nothing is opened, and the error shows what a URL looks like."""
    with pytest.raises(ValueError, match=message):
        open_store(url)


@pytest.mark.parametrize(
    "url",
    [
        "etcd://me:s3cret@h/x",
        "etcd://me:s3/cret@h/x",
        "etcds://h/x?user=me&password=s3cret",
        "tcp://me:s3cret@h:1/x",
        "tcp://h/x?Passwd=s3cret",
    ],
)
def test_a_password_in_a_url_is_refused_and_not_shown(url: str) -> None:
    """Errors end up in logs; the message says where a password belongs."""
    with pytest.raises(ValueError, match="RENDEZVOUS_ETCD_PASSWORD") as caught:
        open_store(url)
    assert "s3" not in str(caught.value)

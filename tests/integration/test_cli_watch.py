"""`rendezvous watch`: what is there, and what changes, a line each."""

from __future__ import annotations

import json
import signal

from support.cli import Cli

from rendezvous import Server, TCPStore


def test_a_key_is_watched(cli: Cli, server: Server) -> None:
    """Set, deleted, and set again to what is no text; Ctrl-C ends it."""
    with TCPStore("127.0.0.1", server.port, timeout=60) as store:
        store.set("k", "one")
        watch = cli.start("watch", "k", "--endpoint", f"127.0.0.1:{server.port}")
        watch.line("k = one", "stdout")
        store.delete_key("k")
        watch.line("k is gone", "stdout")
        store.set("k", b"\xff")
        watch.line("k = \\xff", "stdout")
        watch.send(signal.SIGINT)
        assert watch.end() == 130
        assert watch.stderr == ""


def test_a_prefix_is_watched_for_programs(cli: Cli, server: Server) -> None:
    """Each line is an object."""
    with TCPStore("127.0.0.1", server.port, timeout=60) as store:
        store.multi_set(["run/a", "other"], ["1", "x"])
        watch = cli.start("watch", "run/", "--json", "--endpoint", f"127.0.0.1:{server.port}")
        assert json.loads(watch.line("run/a", "stdout")) == {
            "key": "run/a",
            "version": 1,
            "value": "1",
        }
        store.set("run/b", b"\xff")
        found = json.loads(watch.line("run/b", "stdout"))
        assert found["value_base64"] == "/w=="
        store.delete_key("run/a")
        assert json.loads(watch.line("null", "stdout"))["key"] == "run/a"
        watch.send(signal.SIGINT)
        assert watch.end() == 130


def test_no_server_is_told(cli: Cli, free_port: int) -> None:
    """At once, as nothing listens."""
    watch = cli.start("watch", "k", "--endpoint", f"127.0.0.1:{free_port}")
    assert watch.end() == 3
    assert "watch: " in watch.stderr

"""What a monitor serves over HTTP: status, events, metrics; and what it costs the store."""

from __future__ import annotations

import json
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, suppress
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from support.cli import BACKSTOP_S, Cli, report_command, reports_of_round, stop, wait_for
from support.monitor import Scene, Stream, fetch

from rendezvous import Server, TCPStore
from rendezvous.monitor import Monitor, asker
from rendezvous.monitor import metrics as metrics_module
from rendezvous.monitor.http import CONNECTIONS_MAX, host_of

ROOT = Path(__file__).parents[2]
PROMTOOL = shutil.which("promtool")
needs_promtool = pytest.mark.skipif(
    PROMTOOL is None, reason="no promtool here (Debian: apt-get install prometheus)"
)


@pytest.fixture
def scene() -> Iterator[Scene]:
    with closing(Scene()) as scene:
        yield scene


@pytest.fixture
def busy(scene: Scene) -> Scene:
    """One run is complete, and one misses two of four nodes, by name."""
    scene.jobs.expect("train", "node[1-4]")
    for name in ("node1", "node3"):
        scene.jobs.join("train", name, 4)
    scene.jobs.join("eval", "host", 1)
    return scene


def test_status_tells_of_the_server_and_its_runs(busy: Scene) -> None:
    found = busy.get("/status.json").json
    assert found["server"]["connections"] == 3
    assert {run["run_id"]: run["complete"] for run in found["runs"]} == {
        "eval": True,
        "train": False,
    }
    assert found["endpoint"] == f"127.0.0.1:{busy.server.port}"


def test_status_of_a_run_says_who_is_missing_and_how_far_they_got(busy: Scene) -> None:
    found = busy.get("/status.json?run=train").json
    missing = {node["name"]: node["how"] for node in found["missing"]["nodes"]}
    assert set(missing) == {"node2", "node4"}
    assert found["missing"]["groups"][0]["names"] == ["node[2,4]"]
    assert [node["addr"] for node in found["participants"]] == ["node1", "node3"]
    assert [event["kind"] for event in found["events"]] == ["joined", "joined"]
    busy.jobs.lose("train", "node3")
    after = wait_for(
        "the answer is made again",
        lambda: (
            (found := busy.get("/status.json?run=train").json)["events"][-1]["kind"] == "lost"
            and found
        ),
    )
    assert after["participants"][0]["addr"] == "node1"
    assert "connection" in after["events"][-1]["text"]


def test_a_run_that_is_not_there_is_not_found(busy: Scene) -> None:
    reply = busy.get("/status.json?run=other")
    assert (reply.status, reply.json) == (404, {"error": "no such run: 'other'"})
    assert busy.get("/status.json?run=train&space=other").status == 404
    assert busy.get("/nothing").status == 404


def test_names_that_are_made_up_cost_the_server_nothing(busy: Scene) -> None:
    asked: list[object] = []
    ask = busy.monitor._asker.ask

    def counted(*words: object) -> object:
        asked.append(words)
        return ask(*words)  # type: ignore[arg-type]

    busy.monitor._asker.ask = counted  # type: ignore[method-assign,assignment]
    began = time.monotonic()
    for number in range(200):
        assert busy.get(f"/status.json?run=made-up-{number}").status == 404
    assert len(asked) <= (time.monotonic() - began) / 0.1 + 2


def test_a_status_shows_no_values(busy: Scene) -> None:
    store = TCPStore("127.0.0.1", busy.server.port, wait_for_workers=False)
    store.set("secret-key", "secret-value")
    paths = ("/status.json", "/status.json?run=train", "/metrics", "/")
    assert not [path for path in paths if b"secret" in busy.get(path).body]
    store.close()


def test_events_come_as_they_happen_and_again_to_whom_they_were_lost(busy: Scene) -> None:
    """Of the same number: who comes back knows where it was, and gets each event that it missed."""
    with closing(Stream(busy.monitor.url)) as stream:
        kind, first, hello = next(stream.messages())
        assert kind == "hello"
        assert {run["run_id"] for run in hello["runs"]} == {"train", "eval"}
        busy.jobs.join("train", "node2", 4)
        number, event = stream.until("joined", "node2")
        assert event["number"] == 3
        assert number != first
    busy.jobs.join("train", "node4", 4)
    with closing(Stream(busy.monitor.url, Last_Event_ID=number)) as again:
        _, _, hello = next(again.messages())
        missed = [event for run in hello["events"] for event in run["events"]]
        assert [(event["number"], event["kind"]) for event in missed] == [
            (4, "joined"),
            (5, "complete"),
        ]
    with closing(Stream(busy.monitor.url, Last_Event_ID="another-5")) as stranger:
        assert next(stranger.messages())[2]["events"] == []


def test_a_stream_ends_with_its_monitor_and_a_closed_server_is_told(scene: Scene) -> None:
    with closing(Stream(scene.monitor.url)) as stream:
        messages = stream.messages()
        next(messages)
        scene.server.close()
        wait_for("it is not ready", lambda: scene.get("/readyz").status == 503)
        assert "closed" in scene.get("/status.json").text
        scene.monitor.close()
        assert [kind for kind, _, _ in messages if kind == "hello"] == []


def test_a_server_that_stands_still_is_not_healthy(monkeypatch: pytest.MonkeyPatch) -> None:
    """The store's thread may hang; who asks over HTTP is told so, and does not hang."""
    monkeypatch.setattr(asker, "ANSWER_S", 0.2)
    with Server() as server, Monitor(server, "127.0.0.1:0") as monitor:
        assert fetch(monitor.url, "/healthz").text == "ok\n"
        asked = threading.Event()
        go_on = threading.Event()

        def stand_still(_: object) -> None:
            asked.set()
            go_on.wait()

        def ask() -> None:
            with suppress(asker.UnansweredError):
                monitor._asker.ask(stand_still)

        thread = threading.Thread(target=ask)
        thread.start()
        asked.wait()
        wait_for("it is not healthy", lambda: fetch(monitor.url, "/healthz").status == 503)
        assert "has not answered" in fetch(monitor.url, "/status.json").text
        go_on.set()
        thread.join()
        wait_for("it is healthy again", lambda: fetch(monitor.url, "/healthz").status == 200)


def samples(text: str) -> dict[str, float]:
    lines = (line.rpartition(" ") for line in text.splitlines() if not line.startswith("#"))
    return {name: float(value) for name, _, value in lines}


def scraped(scene: Scene) -> str:
    pytest.importorskip("prometheus_client", reason='pip install "rendezvous-store[metrics]"')
    reply = scene.get("/metrics")
    assert reply.status == 200
    return reply.text


def test_metrics_count_what_the_server_does(busy: Scene) -> None:
    found = samples(scraped(busy))
    assert found['rendezvous_run_nodes_missing{run="train",space="default"}'] == 2
    assert found['rendezvous_run_nodes{run="train",space="default",state="joined"}'] == 2
    assert found['rendezvous_run_complete{run="eval",space="default"}'] == 1
    assert found['rendezvous_runs{state="forming"}'] == 1
    assert found["rendezvous_nodes_joined_total"] == 3
    assert found["rendezvous_round_forming_seconds_count"] == 1
    assert found['rendezvous_requests_total{op="join",protocol="native"}'] == 3
    assert found["rendezvous_connections"] == 3
    assert found["rendezvous_loop_turn_seconds_count"] > 0
    assert found['rendezvous_memory_bytes{kind="runs"}'] > 0
    busy.jobs.lose("train", "node1")
    lost = "rendezvous_nodes_lost_total"
    wait_for("the loss is counted", lambda: samples(scraped(busy))[lost] == 1)


def test_metrics_of_very_many_runs_are_summed(scene: Scene) -> None:
    pytest.importorskip("prometheus_client", reason='pip install "rendezvous-store[metrics]"')
    for number in range(3):
        scene.jobs.join(f"run{number}", "node", 1 + number)
    report = scene.server.report(None)
    report["runs"] *= 100
    for number, run in enumerate(report["runs"]):
        report["runs"][number] = run | {"run_id": f"run{number}"}
    scrape = metrics_module.open_scrape(scene.server.limits)
    found = samples(scrape(report, None, "")[0].decode())
    named = [name for name in found if name.startswith("rendezvous_run_round{")]
    assert len(named) == 101
    others = 'rendezvous_run_nodes{run="others",space="others",state="joined"}'
    assert found[others] == 200
    # Those that wait for nodes are named.
    assert found['rendezvous_run_nodes_missing{run="others",space="others"}'] <= 2 * 100


@needs_promtool
def test_promtool_accepts_metrics_and_rules(busy: Scene) -> None:
    for words, given in (
        (["check", "metrics"], scraped(busy)),
        (["check", "rules", str(ROOT / "docs/monitoring/alerts.yml")], ""),
        (["test", "rules", str(ROOT / "tests/integration/alerts_test.yml")], ""),
    ):
        done = subprocess.run(
            [str(PROMTOOL), *words], input=given, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("name", ["alerts.yml", "grafana.json"])
def test_what_rules_and_dashboard_ask_for_is_in_a_scrape(busy: Scene, name: str) -> None:
    text = (ROOT / "docs" / "monitoring" / name).read_text()
    if name == "grafana.json":
        text = json.dumps([t["expr"] for p in json.loads(text)["panels"] for t in p["targets"]])
    asked = set(re.findall(r"\brendezvous_[a-z_]+", text))
    there = set(re.findall(r"^rendezvous_[a-z_]+", scraped(busy), re.MULTILINE))
    assert len(asked) > 5
    assert asked <= there


def test_without_prometheus_client_the_answer_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    with closing(Scene()) as scene:
        reply = scene.get("/metrics")
        assert reply.status == 501
        assert 'pip install "rendezvous-store[metrics]"' in reply.text
        assert scene.monitor.missing
        assert scene.get("/status.json").status == 200


def test_a_flood_of_requests_asks_the_server_seldom(busy: Scene) -> None:
    """Thousands of requests are some questions to the store's thread, which nobody waits for."""
    asked = 0
    ask = busy.monitor._asker.ask

    def counted(*words: object) -> object:
        nonlocal asked
        asked += 1
        return ask(*words)  # type: ignore[arg-type]

    busy.monitor._asker.ask = counted  # type: ignore[method-assign,assignment]
    turns = busy.server.report(None)["counters"]["turns"]
    began = time.monotonic()

    def flood() -> None:
        for path in ("/status.json", "/status.json?run=train", "/healthz") * 50:
            busy.get(path)

    threads = [threading.Thread(target=flood) for _ in range(4)]
    for thread in threads:
        thread.start()
    store = TCPStore("127.0.0.1", busy.server.port, wait_for_workers=False)
    for number in range(100):
        store.set("key", str(number))
    for thread in threads:
        thread.join()
    took = time.monotonic() - began
    # Each kind of answer is kept for a tenth of a second or longer; one of a run is four questions.
    assert asked <= (took / 0.1 + 2) * 2 + (took / 0.5 + 2) * 5
    assert asked < 300
    # The store's own: sets, and what was asked.
    made = sum(busy.server.report(None)["counters"]["turns"]["counts"]) - sum(turns["counts"])
    assert made <= 2 * (100 + asked) + 50
    store.close()


def test_connections_that_say_nothing_take_no_place_for_good(scene: Scene) -> None:
    """Who asks for something gets one; the oldest of those that say nothing is cut off for it."""
    host, port = urlsplit(scene.monitor.url).hostname, scene.monitor.port
    with ExitStack() as stack:

        def come() -> socket.socket:
            return stack.enter_context(socket.create_connection((host, port), BACKSTOP_S))

        silent = [come() for _ in range(CONNECTIONS_MAX)]
        wait_for("all are taken", lambda: len(scene.monitor._http._open) == CONNECTIONS_MAX)
        for number in range(3):
            assert scene.get("/healthz").status == 200
            assert silent[number].recv(1) == b""
        silent[-1].sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert silent[-1].recv(12) == b"HTTP/1.1 200"


def test_who_has_many_connections_gives_one_up(scene: Scene) -> None:
    """Not another host, whose request is only slow."""
    host, port = urlsplit(scene.monitor.url).hostname, scene.monitor.port
    with ExitStack() as stack:

        def come(source: str) -> socket.socket:
            made = socket.create_connection((host, port), BACKSTOP_S, (source, 0))
            return stack.enter_context(made)

        slow = come("127.0.0.9")
        slow.sendall(b"GET /healthz HTTP/1.1\r\n")
        for _ in range(2 * CONNECTIONS_MAX):
            come("127.0.0.7")
        slow.sendall(b"Host: localhost\r\n\r\n")
        assert slow.recv(12) == b"HTTP/1.1 200"


@pytest.mark.parametrize(
    ("address", "host"),
    [
        ("127.0.0.9", "127.0.0.9"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::7", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
    ],
)
def test_all_addresses_of_a_network_of_ipv6_are_one_host(address: str, host: str) -> None:
    """Who has one of them has all, and could be as many hosts."""
    assert host_of(address) == host


def test_who_sends_a_head_without_end_keeps_no_place(scene: Scene) -> None:
    """It is told so, and while the rest is still awaited, it gives way as who says nothing does."""
    host, port = urlsplit(scene.monitor.url).hostname, scene.monitor.port
    with ExitStack() as stack:
        for _ in range(CONNECTIONS_MAX):
            made = stack.enter_context(socket.create_connection((host, port), BACKSTOP_S))
            made.sendall(b"GET / HTTP/1.1\r\nX: " + b"x" * 20_000)
            assert made.recv(12) == b"HTTP/1.1 431"
        assert scene.get("/healthz").status == 200


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"NONSENSE\r\n\r\n",
        b"GET /" + b"x" * 20_000 + b" HTTP/1.1\r\n\r\n",
        b"POST /metrics HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\nhello",
        b"GET / HTTP/9.9\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
    ],
    ids=["nonsense", "too long", "post", "version", "tls"],
)
def test_what_is_no_request_of_ours_is_refused(scene: Scene, request_bytes: bytes) -> None:
    with socket.create_connection(("127.0.0.1", scene.monitor.port)) as client:
        client.sendall(request_bytes)
        answer = b""
        try:
            while part := client.recv(65536):
                answer += part
        except ConnectionResetError:
            pass
    assert b" 200 " not in answer
    assert scene.get("/healthz").status == 200


def test_serve_and_exec_have_a_monitor(cli: Cli, tmp_path: Path) -> None:
    server = cli.start("serve", "--port", "0", "--http", "127.0.0.1:0")
    url = server.line("the monitor is at").split()[-1]
    assert fetch(url, "/readyz").text == "ok\n"
    server.send(signal.SIGTERM)
    assert server.end() == 0
    (tmp_path / "job").mkdir()
    words = ("--run-id", "job", "--http", "127.0.0.1:0", *report_command(tmp_path / "job"))
    node = cli.start("exec", "--standalone", *words)
    reports_of_round(tmp_path / "job", 1)
    url = node.line("the monitor is at").split()[-1]
    run = fetch(url, "/status.json?run=job").json
    assert run["complete"]
    assert len(run["participants"]) == 1
    stop(tmp_path / "job")
    assert node.end() == 0


def test_a_port_that_is_taken_is_told(cli: Cli, scene: Scene) -> None:
    taken = f"127.0.0.1:{scene.monitor.port}"
    done = cli.run("serve", "--port", "0", "--http", taken)
    assert done.returncode == 1
    assert f"cannot serve HTTP at {taken}".encode() in done.stderr
    done = cli.run("exec", "--standalone", "--http", taken, "--", "true")
    assert done.returncode == 0
    assert f"no monitor: cannot serve HTTP at {taken}".encode() in done.stderr

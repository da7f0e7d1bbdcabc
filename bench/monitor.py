"""What does a monitor cost: a scrape beside 10,000 connections, the page with 10,000 nodes?

    python bench/monitor.py [--short] [--runs N] [--nodes N] [--seconds S] [--json FILE]

Of a scrape: how long it takes, how long the server's thread takes for its part, there and back, and
the longest turn of its loop meanwhile, as the server measures it (a power of two: the bucket's
upper bound), beside that of as long a time without scrapes. Of the page: the CPU time of all of
Chromium's processes and of the server's, while 50 events a second come, as a share of a core.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
import statistics
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

from _support.driver import connections_max, raise_file_limit, tool
from _support.report import Report, alternating, arguments, parse

from rendezvous import Node, Server, StoreError, TCPStore, _core
from rendezvous.monitor import Monitor

NODES = 10_000
SHORT = 500
EVENTS_A_SECOND = 50
SECONDS, SHORT_S = 20.0, 2.0
SCRAPES, SHORT_SCRAPES = 40, 5
# Between two scrapes; the answers of one are not the next one's.
_PAUSE_S = 0.15
# For the page to have all nodes.
_SETTLE_S = 5.0


SCRAPED = ("ms", "worst_ms", "asked_ms", "turn_ms", "quiet_turn_ms", "bytes")


def fetch(url: str) -> bytes:
    with urllib.request.urlopen(url) as answer:
        body: bytes = answer.read()
        return body


def turns(server: Server) -> list[int]:
    counts: list[int] = server.report(None)["counters"]["turns"]["counts"]
    return counts


@contextmanager
def nodes_in(server: Server, nodes: int) -> Iterator[None]:
    """A complete round of that many nodes, which send keep-alives."""
    words = [tool("load_driver"), "keepalive", "--port", str(server.port), "--protocol", "native"]
    words += ["--connections", str(nodes), "--interval", "5"]
    words += ["--seconds", "600", "--timeout", "900"]
    driver = subprocess.Popen(words, stdout=subprocess.DEVNULL)
    try:
        while not any(run["complete"] for run in server.report(None)["runs"]):
            if driver.poll() is not None:
                raise SystemExit(f"the load driver ended with {driver.returncode}")
            time.sleep(0.1)
        yield
    finally:
        driver.kill()
        driver.wait()


def longest(before: list[int], after: list[int]) -> float:
    """The upper bound, in ms, of the highest bucket that has more than before."""
    grown = [at for at, (a, b) in enumerate(zip(before, after, strict=True)) if b > a]
    return float(2 ** max(grown) / 1e3)


def measure_scrape(server: Server, url: str, scrapes: int) -> dict[str, float]:
    times, asked = [], []
    fetch(url + "metrics")
    before = turns(server)
    time.sleep(scrapes * _PAUSE_S)
    quiet = longest(before, turns(server))
    before = turns(server)
    for _ in range(scrapes):
        time.sleep(_PAUSE_S)
        began = time.perf_counter()
        body = fetch(url + "metrics")
        times.append(time.perf_counter() - began)
    busy = longest(before, turns(server))
    for _ in range(scrapes):
        began = time.perf_counter()
        server.report(None)
        asked.append(time.perf_counter() - began)
    return {
        "ms": 1e3 * statistics.median(times),
        "worst_ms": 1e3 * max(times),
        "asked_ms": 1e3 * statistics.median(asked),
        "turn_ms": busy,
        "quiet_turn_ms": quiet,
        "bytes": len(body),
    }


def cpu_s(pid: int) -> float:
    """Of a process and all that it has started."""
    total = 0.0
    children: dict[int, list[int]] = {}
    ticks: dict[int, int] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            fields = path.read_text().rpartition(")")[2].split()
            children.setdefault(int(fields[1]), []).append(int(path.parent.name))
            ticks[int(path.parent.name)] = int(fields[11]) + int(fields[12])
    rest = [pid]
    while rest:
        each = rest.pop()
        total += ticks.get(each, 0) / os.sysconf("SC_CLK_TCK")
        rest += children.get(each, [])
    return total


class Churn:
    """Nodes that come to the run and go again: two events each."""

    def __init__(self, server: Server, run_id: str) -> None:
        found = server._report_of_run("default", run_id, 0)
        assert found is not None
        self._server, self._run_id, self._settings = server, run_id, found["settings"]
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._work)
        self.events = 0

    def _work(self) -> None:
        began = time.monotonic()
        number = 0
        while not self._stop.is_set():
            store = TCPStore("127.0.0.1", self._server.port, wait_for_workers=False)
            node = Node(f"guest{number % 200:03}", 1, number)
            client = _core.RunClient(store, self._run_id, node, self._settings, 0)
            with suppress(StoreError):
                client.join(0, 0.001)
                client.leave(False, 5)
            client.close()
            store.close()
            number += 1
            self.events += 2
            self._stop.wait(max(0.0, began + self.events / EVENTS_A_SECOND - time.monotonic()))

    def __enter__(self) -> Churn:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()


def chromium(url: str, stack: ExitStack) -> Any:
    """A driver whose page shows all nodes; None, with why, where there is none."""
    try:
        from selenium import webdriver
        from selenium.common.exceptions import WebDriverException
        from selenium.webdriver.chrome.service import Service
    except ImportError:
        return None
    options = webdriver.ChromeOptions()
    for each in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"):
        options.add_argument(each)
    options.add_argument("--window-size=1280,900")
    try:
        driver = webdriver.Chrome(options=options, service=Service(shutil.which("chromedriver")))
    except WebDriverException as error:
        print(f"no browser: {error.msg}", file=sys.stderr)
        return None
    stack.callback(driver.quit)
    driver.get(url)
    return driver


def measure_page(server: Server, url: str, seconds: float) -> dict[str, float] | None:
    with ExitStack() as stack:
        driver = chromium(url, stack)
        if driver is None:
            return None
        time.sleep(_SETTLE_S)
        run = server.report(None)["runs"][0]["run_id"]
        churn = stack.enter_context(Churn(server, run))
        pid = driver.service.process.pid
        time.sleep(1)
        before, began, events = cpu_s(pid), time.monotonic(), churn.events
        own = time.process_time()
        time.sleep(seconds)
        took = time.monotonic() - began
        found = {
            "percent": 100 * (cpu_s(pid) - before) / took,
            "server_percent": 100 * (time.process_time() - own) / took,
            "events": (churn.events - events) / took,
        }
        label = driver.find_element("id", "grid").get_attribute("aria-label") or ""
        print(f"the grid: {label}", flush=True)
        return found


def main() -> None:
    parser = arguments(__doc__, runs=3)
    parser.add_argument("--nodes", type=int, default=None, help=f"default {NODES}")
    parser.add_argument("--seconds", type=float, default=None, help=f"default {SECONDS:g}")
    options = parse(parser)
    report = Report(__doc__, options)
    raise_file_limit()
    logging.getLogger("rendezvous.server").setLevel(logging.ERROR)  # of nodes that end
    (nodes,) = connections_max([options.nodes or (SHORT if options.short else NODES)])
    seconds = options.seconds or (SHORT_S if options.short else SECONDS)
    scrapes = SHORT_SCRAPES if options.short else SCRAPES
    with (
        Server() as server,
        Monitor(server, "127.0.0.1:0") as monitor,
        nodes_in(server, nodes),
    ):
        if not monitor.missing:
            found = alternating(
                options.runs, {0: lambda: measure_scrape(server, monitor.url, scrapes)}
            )[0]
            report.table(
                f"A scrape of a server with {nodes:,} connections",
                [
                    "",
                    "ms, median",
                    "ms, worst",
                    "the server's part, ms",
                    "longest turn, ms",
                    "the same without scrapes",
                    "bytes",
                ],
                [["/metrics", *(found[name] for name in SCRAPED)]],
            )
            for name, value in found.items():
                report.figure(f"monitor/scrape/{name}", value)
        began = time.perf_counter()
        run = server.report(None)["runs"][0]["run_id"]
        whole = json.loads(fetch(f"{monitor.url}status.json?run={run}"))
        report.note(
            f"/status.json of the run, with {len(whole['participants']):,} nodes:"
            f" {1e3 * (time.perf_counter() - began):.0f} ms."
        )
        pages = [measure_page(server, monitor.url, seconds) for _ in range(options.runs)]
        there = [page for page in pages if page is not None]
        if there:
            page = alternating(len(there), {0: iter(there).__next__})[0]
            report.table(
                f"The page with {nodes:,} nodes and {EVENTS_A_SECOND} events a second",
                ["", "Chromium, % of a core", "server and driver of events, %", "events a second"],
                [["page", *(page[name] for name in ("percent", "server_percent", "events"))]],
            )
            for name, value in page.items():
                report.figure(f"monitor/page/{name}", value)
        else:
            report.left_out({"Chromium": "no browser, or no selenium"})
    report.finish()


if __name__ == "__main__":
    main()

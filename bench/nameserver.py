"""What does a slow name server do to a server that many ranks connect to?

    python bench/nameserver.py [--short] [--runs N] [--ranks N] [--json FILE]

Every server runs in a name space of mounts in which /etc/resolv.conf names a resolver of ours that
takes 50 ms for each answer (and knows nobody), and /etc/hosts is empty; and once more with no name
server at all. Ranks connect and say hello. Needs root, for the mounts, and port 53 of one address
of loopback; skipped with a line otherwise.
"""

from __future__ import annotations

import selectors
import socket
import sys
import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial

from _support.driver import drive
from _support.report import Report, alternating, arguments, parse, ratio
from _support.servers import (
    OURS,
    TORCHS,
    can_put_files_in_place,
    missing,
    running,
    torch_python,
    with_file_in_place,
)

RESOLVER = "127.0.0.153"
DELAY_S = 0.05
RANKS = 100
SHORT = 10
NO_SUCH_NAME = 0x8183
# Where /etc/nsswitch.conf sends a look-up: to the resolver, or not.
SLOW = "files dns"
NONE = "files"


@contextmanager
def slow_resolver() -> Iterator[None]:
    """A name server that answers `no such name` to everything, DELAY_S late, until the end."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind((RESOLVER, 53))
        server.setblocking(False)
        ended = threading.Event()
        thread = threading.Thread(target=_answer_late, args=(server, ended))
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()


def _answer_late(server: socket.socket, ended: threading.Event) -> None:
    waiting: deque[tuple[float, bytes, tuple[str, int]]] = deque()
    with selectors.DefaultSelector() as selector:
        selector.register(server, selectors.EVENT_READ)
        while not ended.is_set():
            until_due = waiting[0][0] - time.monotonic() if waiting else 0.1
            if selector.select(max(0.0, min(until_due, 0.1))):
                query, client = server.recvfrom(512)
                answer = query[:2] + NO_SUCH_NAME.to_bytes(2, "big") + query[4:]
                waiting.append((time.monotonic() + DELAY_S, answer, client))
            while waiting and waiting[0][0] <= time.monotonic():
                _, answer, client = waiting.popleft()
                server.sendto(answer, client)


def measure(
    python: str, program: str, protocol: str, ranks: int, sources: str = SLOW
) -> dict[str, float]:
    """Of ranks that connect to a server which looks names up in `sources`."""
    with ExitStack() as stack:
        resolv = f"nameserver {RESOLVER}\noptions timeout:5 attempts:1\n"
        words = stack.enter_context(with_file_in_place("/etc/resolv.conf", resolv))
        words += stack.enter_context(with_file_in_place("/etc/hosts", ""))
        words += stack.enter_context(
            with_file_in_place("/etc/nsswitch.conf", f"hosts: {sources}\n")
        )
        port, pid = stack.enter_context(running([*words, python, "-c", program]))
        found = drive("idle", port, pid, protocol=protocol, connections=ranks, timeout=300)
    return {"seconds": found["seconds"], "p99_ms": found["handshake_us"]["p99"] / 1e3}


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--ranks", type=int, default=None, help=f"how many (default {RANKS})")
    options = parse(parser)
    report = Report(__doc__, options)
    ranks = options.ranks or (SHORT if options.short else RANKS)
    torch = torch_python()
    if not can_put_files_in_place():
        report.note("Skipped: only root can give a server another /etc/resolv.conf.")
        report.finish()
        return
    measures = {
        f"{peer}, {kind}": partial(measure, python, program, protocol, ranks, sources)
        for peer, python, program, protocol in (
            ("ours, c10d", sys.executable, OURS, "c10d"),
            ("ours, native", sys.executable, OURS, "native"),
            ("torch", torch, TORCHS, "c10d"),
        )
        if python is not None
        for kind, sources in (("none", NONE), ("slow", SLOW))
    }
    with ExitStack() as stack:
        try:
            stack.enter_context(slow_resolver())
        except OSError as error:
            report.note(f"Skipped: no name server can be had at {RESOLVER}, port 53: {error}.")
            report.finish()
            return
        found = alternating(options.runs, measures)
    peers = [name.removesuffix(", slow") for name in found if name.endswith(", slow")]
    report.table(
        f"{ranks} ranks connect to a server that has no name server, and one that takes "
        f"{DELAY_S * 1e3:g} ms for an answer",
        ["", "none: all connected, s", "slow: all connected, s", "slow: 99th percentile, ms"],
        [
            [
                peer,
                found[f"{peer}, none"]["seconds"],
                found[f"{peer}, slow"]["seconds"],
                found[f"{peer}, slow"]["p99_ms"],
            ]
            for peer in peers
        ],
    )
    for peer in peers:
        slow, none = (found[f"{peer}, {kind}"]["seconds"] for kind in ("slow", "none"))
        report.figure(f"nameserver/{peer}/seconds", slow)
        report.figure(f"nameserver/{peer}/slow_to_none", ratio(slow, none))
    report.left_out(missing(["torch"]))
    report.finish()


if __name__ == "__main__":
    main()

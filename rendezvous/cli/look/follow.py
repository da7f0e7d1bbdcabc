"""`rendezvous status --follow`: a run as it changes, until Ctrl-C.

A terminal is drawn again; into a pipe goes a line for each change. A server that does not answer is
told as such, and asked again.
"""

from __future__ import annotations

import json
import sys
import time
from dataclasses import replace
from typing import TYPE_CHECKING, NoReturn

from rendezvous._base.deadline import Deadline
from rendezvous._base.errors import RendezvousConnectionError, RendezvousError, StoreError
from rendezvous._base.patience import is_refusal
from rendezvous.cli import exits as _exit
from rendezvous.cli.look.status_text import as_line, as_text
from rendezvous.cli.paint import Paint
from rendezvous.handler.as_json import report_as_json
from rendezvous.handler.examine import examine

if TYPE_CHECKING:
    import argparse

    from rendezvous.cli.look.place import Place
    from rendezvous.handler.examine import Report

__all__ = ["follow"]

# Between two looks: of a run that changes all the time, and of one that does not.
_PAUSE_S = 0.25
_QUIET_S = 2.0
_CLEAR = "\x1b[H\x1b[2J"


def follow(args: argparse.Namespace, place: Place, _: Deadline) -> NoReturn:
    """Show what there is and each change. Ends by an exception alone: Ctrl-C, or a refusal."""
    shown = _Screen(args) if sys.stdout.isatty() and not args.json else _Lines(args)
    while True:
        try:
            mark = place.mark(args.run_id, Deadline.after(args.timeout))
            report = examine(place, args.run_id, args.expect, Deadline.after(args.timeout))
        except (StoreError, RendezvousConnectionError) as error:
            if is_refusal(error):
                raise _exit.CommandError(str(error), _exit.UNREACHABLE) from error
            shown.failure(str(error))
            place.reopen()
            time.sleep(_QUIET_S)
            continue
        except RendezvousError as error:
            raise _exit.CommandError(str(error), _exit.NO) from error
        if report is None:
            shown.failure(
                f"no such run: {args.run_id!r} at {place.endpoint}; nobody has joined it there yet"
            )
        else:
            shown.report(report)
        time.sleep(_PAUSE_S)
        try:
            place.wait_for_change(args.run_id, mark, _QUIET_S)
        except (StoreError, RendezvousError):
            continue  # the look says what is wrong


class _Screen:
    """A terminal, drawn again."""

    def __init__(self, args: argparse.Namespace) -> None:
        self._all = args.all
        self._paint = Paint(sys.stdout)

    def report(self, report: Report) -> None:
        self._draw(as_text(report, self._paint, all_nodes=self._all))

    def failure(self, text: str) -> None:
        self._draw([self._paint.red(text)])

    def _draw(self, lines: list[str]) -> None:
        room = self._paint.rows - 2
        if len(lines) > room:
            lines = [*lines[: room - 1], self._paint.dim(f"... {len(lines) - room + 1} more lines")]
        clock = time.strftime("%Y-%m-%d %H:%M:%S")
        head = self._paint.dim(f"{clock}, Ctrl-C ends")
        sys.stdout.write(_CLEAR + "\n".join([head, *lines]) + "\n")
        sys.stdout.flush()


class _Lines:
    """A pipe or a file: a line for each change."""

    def __init__(self, args: argparse.Namespace) -> None:
        self._is_json = args.json
        self._last = ""
        self._nodes: set[tuple[str, int, int]] | None = None

    def report(self, report: Report) -> None:
        if self._is_json:
            fields = report_as_json(report)
            # Of a countdown, only that it runs is a change; when a node was heard is none.
            steady = report_as_json(replace(report, view=replace(report.view, silence_s={})))
            steady["last_call_left_s"] = fields["last_call_left_s"] is not None
            self._print(json.dumps(steady), json.dumps(fields))
            return
        line = as_line(report)
        view = report.view
        nodes = {(node.addr, node.pid, node.local_id) for node in view.participants}
        before, self._nodes = self._nodes, nodes
        if before is not None:
            for word, some in (("joined", nodes - before), ("gone", before - nodes)):
                if some:
                    names = ", ".join(f"{addr} (pid {pid})" for addr, pid, _ in sorted(some)[:16])
                    more = f" and {len(some) - 16} more" if len(some) > 16 else ""
                    line += f"; {word}: {names}{more}"
        self._print(line if before == nodes else f"{line} ", _now() + line)

    def failure(self, text: str) -> None:
        shown = json.dumps({"error": text}) if self._is_json else _now() + text
        self._print(text, shown)

    def _print(self, what: str, shown: str) -> None:
        if what != self._last:
            self._last = what
            print(shown, flush=True)


def _now() -> str:
    now = time.time()
    return (
        time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(now)) + f".{int(now * 1000) % 1000:03} "
    )

"""The life of one node under `exec`: join, run the command, join again, leave.

The main thread sleeps until the command ends, a signal comes, or a tenth of a second is over; what
may wait for others is called on a thread of its own (SignalScope.during). Heartbeats are the
handler's, on another one. The order at the end is fixed: the command has ended, the node parts
(parting.py), and says what the job failed by.
"""

from __future__ import annotations

import logging
import math
import os
import shlex
import signal
import textwrap
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from rendezvous._base.deadline import Deadline, now_s
from rendezvous._base.errors import (
    RendezvousClosedError,
    RendezvousError,
    RendezvousFailedError,
    RendezvousFinishedError,
    RendezvousUnhealthyError,
)
from rendezvous._base.hosts import hold_port
from rendezvous.cli import exits as _exit
from rendezvous.cli.log import complain, logger, note_place
from rendezvous.cli.run.blame import Failure
from rendezvous.cli.run.devices import count_gpus
from rendezvous.cli.run.environment import Told, command_environment
from rendezvous.cli.run.output import Output
from rendezvous.cli.run.parting import Parting
from rendezvous.cli.run.process import Command, Ending, Start
from rendezvous.cli.run.ranks import Ranks, agree_on_ranks
from rendezvous.cli.run.signals import ENDING, SignalledError, SignalScope
from rendezvous.handler import DynamicRendezvousHandler
from rendezvous.handler.observed import ObservedHandler
from rendezvous.handler.registry import get_rendezvous_handler

if TYPE_CHECKING:
    import socket
    from collections.abc import Mapping, Sequence

    from rendezvous._base.api import RendezvousHandler, RendezvousInfo, RendezvousParameters
    from rendezvous._base.run_id import FoundRunId
    from rendezvous.cli.run.environment import Local
    from rendezvous.cli.run.guard_client import Guard
    from rendezvous.cli.run.output import RoundOutput

# How often a change of membership is looked for. The handler answers from memory.
_POLL_S = 0.1
# For the nodes of a round to tell their numbers of processes, if the handler has no join timeout.
_JOIN_S = 600.0
# What other nodes are told in place of a last line.
_INTERRUPTED = b"(it was interrupted, by SIGINT)"
# Of the command, in the log.
_COMMAND_CHARS = 100


@dataclass(frozen=True)
class Plan:
    """What the user asked for. Times in seconds."""

    command: Sequence[str]
    parameters: RendezvousParameters
    failures_max: int
    waits_for_replacements: bool
    grace_s: float
    linger_s: float
    environment: Mapping[str, str]
    # Of the command, on this node.
    processes: int = 1
    output: Output = field(default_factory=Output)
    # Whether ports that are for the command stay bound until it binds them.
    holds_port: bool = True
    beside: Local | None = None
    mpi_env: bool = False
    # What the run is called where other jobs meet, too; None: the user has named it.
    found_run_id: FoundRunId | None = None


class Supervisor:
    """Runs a plan once."""

    def __init__(self, plan: Plan, signals: SignalScope, guard: Guard) -> None:
        self._plan = plan
        self._signals = signals
        self._guard = guard
        # Of the last round: what is served for its workers is served by rank 0.
        self._rank = -1
        # When the command gets SIGKILL, because we were told to end; None: we were not.
        self._kill_at: Deadline | None = None
        # Until when the end of the command is what a Ctrl-C asked for.
        self._interrupted_until: Deadline | None = None
        # Whether we were told to end before the command did.
        self._was_told_first = False
        # How the command ended, if that is for good and no order of ours or of the user's.
        self._gave_up: tuple[int, bytes] | None = None
        # Of rank 0, for programs that serve there themselves.
        self._port: socket.socket | None = None
        # What every node of a job that failed says in the end.
        self._root_cause = ""

    def run(self) -> int:
        """The exit code: the command's, or why there is none."""
        try:
            handler = self._open()
        except SignalledError as stop:
            return _exit.of_signal(stop.signum)
        hurried = False
        try:
            code = self._run_rounds(handler)
            hurried = self._was_told_to_end()
            level = logging.ERROR if code and not self._was_told_first else logging.INFO
            logger.log(level, "%s ended with exit code %d: leaving", self._command_text(), code)
        except SignalledError as stop:
            logger.info("%s: leaving", _exit.signal_name(stop.signum))
            code = _exit.of_signal(stop.signum)
            hurried = True
        except RendezvousFinishedError as error:
            # To wait as a spare was our part, and we have done it.
            logger.info("%s", error)
            code = _exit.OK
        except RendezvousClosedError as error:
            # Somebody has ended the run for all, or it has failed for good.
            logger.warning("%s", error)
            self._root_cause = str(error)
            is_final = isinstance(error, RendezvousFailedError)
            code = _exit.DO_NOT_RESTART if is_final else _exit.FAILED
        except (RendezvousError, _exit.CommandError) as error:
            # Told now and not by main(): lingering may follow, for minutes.
            complain("exec", str(error))
            logger.debug("the error came from here", exc_info=True)
            code = _exit.FAILED
            if isinstance(error, RendezvousUnhealthyError) and error.do_not_restart:
                code = _exit.DO_NOT_RESTART
            if isinstance(error, _exit.CommandError):
                code = error.code
                self._note_giving_up(code, str(error).encode())
        except BaseException:
            handler.shutdown()
            raise
        parting = Parting(handler, self._signals, self._plan.linger_s, self._gave_up)
        if hurried:
            parting.at_once(code)
        else:
            parting.in_order(code, self._rank)
        self._root_cause = parting.root_cause or self._root_cause
        if self._root_cause and hurried:
            logger.info("%s", self._root_cause)
        elif self._root_cause:
            complain("exec", self._root_cause)
        return code

    def _command_text(self) -> str:
        text = shlex.join(self._plan.command)
        return f"the command `{textwrap.shorten(text, _COMMAND_CHARS, placeholder=' ...')}`"

    def _open(self) -> RendezvousHandler:
        parameters, found = self._plan.parameters, self._plan.found_run_id
        try:
            text = repr(parameters.run_id)
            if found is not None and found.run_id not in ("", parameters.run_id):
                text += f" (or {found.run_id!r}, if no node of the job serves the store)"
            logger.info("joining run %s at %s", text, parameters.endpoint)
            handler = self._signals.during(lambda: get_rendezvous_handler(parameters))
        except ValueError as error:
            raise _exit.CommandError(str(error), _exit.USAGE) from error
        except RendezvousError as error:
            raise _exit.CommandError(str(error)) from error
        if found is not None and handler.get_run_id() == found.run_id:
            logger.info("the run id is %r, as %s says", found.run_id, found.source)
        note_place(run_id=handler.get_run_id())
        if isinstance(handler, ObservedHandler):
            note_place(node=handler.node.addr)
        return handler

    def _run_rounds(self, handler: RendezvousHandler) -> int:
        failures_used, failures_max = 0, self._plan.failures_max
        while True:
            info = self._signals.during(handler.next_rendezvous)
            self._rank = info.rank
            note_place(round=info.round, rank=info.rank, world_size=info.world_size)
            logger.info(
                "round %d: rank %d of %d, rank 0 is at %s port %d",
                info.round,
                info.rank,
                info.world_size,
                info.bootstrap_store_info.master_addr,
                info.bootstrap_store_info.master_port,
            )
            ranks = self._agree(handler, info)
            if ranks is None:
                logger.info("round %d broke before its commands ran", info.round)
                continue
            failure = self._run_command(handler, info, ranks)
            if failure is None:
                continue
            code = failure.code
            if code == 0:
                return code
            if self._was_told_first:
                # By Ctrl-C, for good. Whoever ends a node by SIGTERM may move it.
                if self._kill_at is None:
                    is_by_it = code == _exit.of_signal(signal.SIGINT)
                    line = _INTERRUPTED if is_by_it else failure.last_line()
                    self._note_giving_up(code, line)
                return code
            if report := failure.report():
                logger.error("%s", report)
            if self._kill_at is not None:
                return code
            if not failure.is_final and self._is_by_a_loss(handler):
                # The loss of a node breaks the others' commands, often before it is known here.
                logger.info("%s as the membership changed", failure)
                continue
            if failures_used == failures_max or failure.is_final:
                self._note_giving_up(code, failure.last_line())
                return code
            failures_used += 1
            logger.warning("%s: restart %d of at most %d", failure, failures_used, failures_max)

    def _agree(self, handler: RendezvousHandler, info: RendezvousInfo) -> Ranks | None:
        """The ranks of this node's processes; None if the round broke."""
        self._release_port()
        port = 0
        if info.rank == 0:
            self._port = hold_port(("::", "0.0.0.0"))  # noqa: S104  (nobody listens there)
            port = 0 if self._port is None else self._port.getsockname()[1]
            if not self._plan.holds_port:
                self._release_port()
        timeout_s = _JOIN_S
        if isinstance(handler, DynamicRendezvousHandler):
            timeout_s = handler.settings.timeout.join_s
        return self._signals.during(
            lambda: agree_on_ranks(
                info,
                self._plan.processes,
                port,
                lambda: handler.num_nodes_waiting() > 0,
                timeout_s,
            )
        )

    def _release_port(self) -> None:
        if self._port is not None:
            self._port.close()
            self._port = None

    def _is_by_a_loss(self, handler: RendezvousHandler) -> bool:
        """Whether the command may have failed because of others, who were lost or come anew."""
        if not isinstance(handler, DynamicRendezvousHandler):
            return handler.num_nodes_waiting() > 0
        try:
            return self._signals.during(handler.is_disturbed)
        except RendezvousError as error:
            logger.info("it is not known whether nodes were lost: %s", error)
            # Whoever waits for replacements waits for the store's host as well.
            return self._plan.waits_for_replacements

    def _note_giving_up(self, code: int, last_line: bytes) -> None:
        if not self._plan.waits_for_replacements or code == _exit.DO_NOT_RESTART:
            self._gave_up = code, last_line

    def _was_told_to_end(self) -> bool:
        interrupted = self._interrupted_until
        return self._kill_at is not None or (interrupted is not None and not interrupted.is_over)

    def _run_command(
        self, handler: RendezvousHandler, info: RendezvousInfo, ranks: Ranks
    ) -> Failure | None:
        """How the command ended, maybe well; None if it was stopped for a new round."""
        told = self._told(handler, info, ranks)
        output = self._plan.output.begin(self._guard, told.run_id, info.round, ranks.all)
        with output.descriptors() as descriptors:
            starts = [
                Start(command_environment(told, number), *streams)
                for number, streams in enumerate(descriptors)
            ]
            command = Command(self._plan.command, starts, self._guard)
        logger.debug("the command runs as %s", command.pids)
        begun_s = now_s()
        _tell(handler, "started", pids=command.pids, ranks=list(ranks.all), processes=ranks.total)
        ending = self._follow(handler, info, command)
        if ending is None:
            _tell(handler, "stopped", "the membership changed", now_s() - begun_s)
            return None
        failure = self._failure(ending, ranks, output)
        what, why = ("failed", failure.event_text()) if ending.code else ("ended", "")
        _tell(
            handler, what, why, now_s() - begun_s, exit_code=ending.code, process_rank=failure.rank
        )
        return failure

    def _failure(self, ending: Ending, ranks: Ranks, output: RoundOutput) -> Failure:
        code, number = ending
        words = output.last_words(number) if code != 0 else None
        rank = ranks.first + number
        return Failure(code, rank, words, output.paths[number], is_one_of_many=ranks.count > 1)

    def _follow(
        self, handler: RendezvousHandler, info: RendezvousInfo, command: Command
    ) -> Ending | None:
        while True:
            for signum in self._signals.wait(_POLL_S):
                self._pass_on(command, signum)
            command.keep_guard()
            ending = command.poll()
            if ending is not None:
                self._was_told_first = self._was_told_to_end()
                self._clear(command, ending.code)
                return ending
            if self._kill_at is not None:
                if self._kill_at.is_over:
                    logger.warning(
                        "the command did not end within %g s of SIGTERM: killing it",
                        self._plan.grace_s,
                    )
                    command.kill()
                    self._kill_at = Deadline.after(math.inf)
            elif isinstance(handler, ObservedHandler) and handler.was_closed:
                logger.info("the run was closed: stopping the command")
                self._stop(command)
                raise self._signals.during(handler.closed_error)
            elif (changes := handler.num_nodes_waiting()) > 0:
                try:
                    text = self._changes_text(handler, changes)
                    logger.info(
                        "the membership changed (%s): stopping the command for round %d or later",
                        text,
                        info.round + 1,
                    )
                finally:  # also if a signal came meanwhile
                    self._stop(command)
                return None

    def _changes_text(self, handler: RendezvousHandler, changes: int) -> str:
        text = ""
        if isinstance(handler, ObservedHandler):
            text = self._signals.during(handler.changes_text)
        return text or f"{changes} {'node' if changes == 1 else 'nodes'} came or went"

    def _stop(self, command: Command) -> None:
        for signum in command.stop(self._plan.grace_s, self._signals):
            if signum in ENDING:
                raise SignalledError(signum)

    def _told(self, handler: RendezvousHandler, info: RendezvousInfo, ranks: Ranks) -> Told:
        plan = self._plan
        # Of other handlers nobody knows what `rendezvous get` could use.
        endpoint = ""
        if isinstance(handler, DynamicRendezvousHandler):
            endpoint = handler.store_address
        return Told(
            base=plan.environment,
            info=info,
            ranks=ranks,
            run_id=plan.parameters.run_id,
            endpoint=endpoint,
            bootstrap_store=handler.use_agent_store,
            restarts_max=plan.failures_max,
            beside=plan.beside,
            mpi_env=plan.mpi_env,
            gpus=count_gpus(plan.environment) if plan.mpi_env else 0,
        )

    def _pass_on(self, command: Command, signum: int) -> None:
        if signum == signal.SIGCHLD:
            return
        if signum == signal.SIGTSTP:
            # The command's session has no terminal, where SIGTSTP stops nothing. We stop too, so
            # that a shell sees its job stopped; heartbeats stop with us.
            command.send(signal.SIGSTOP)
            os.kill(os.getpid(), signal.SIGSTOP)
            return
        logger.debug("passing %s on to the command", _exit.signal_name(signum))
        command.send(signum)
        if signum == signal.SIGTERM and self._kill_at is None:
            self._kill_at = Deadline.after(self._plan.grace_s)
        elif signum == signal.SIGINT:
            self._interrupted_until = Deadline.after(self._plan.grace_s)

    def _clear(self, command: Command, code: int) -> None:
        """What a failed command started must not go on; after success it may, as under a shell."""
        if code == 0:
            command.release()
            return
        grace_s = self._plan.grace_s
        if self._kill_at is not None:
            grace_s = self._kill_at.sooner(grace_s).left_s
        for signum in command.stop(grace_s, self._signals):
            if signum in ENDING:
                self._kill_at = Deadline.after(0.0)


def _tell(
    handler: RendezvousHandler,
    what: str,
    why: str = "",
    duration_s: float | None = None,
    **details: object,
) -> None:
    """An event of the node, if the handler tells any."""
    if isinstance(handler, ObservedHandler):
        handler.events.emit(what, why, duration_s, **details)

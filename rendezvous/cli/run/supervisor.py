"""The life of one node under `exec`: join, run the command, join again, leave.

The main thread sleeps until the command ends, a signal comes, or a tenth of a second is over; what
may wait for others is called on a thread of its own (SignalScope.during). Heartbeats are the
handler's, on another one. The order at the end is fixed: the command has ended, leave, linger while
other nodes use the store hosted here, shut down, say what the job failed by.
"""

from __future__ import annotations

import math
import os
import signal
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from rendezvous._base.deadline import Deadline
from rendezvous._base.errors import (
    RendezvousError,
    RendezvousFailedError,
    RendezvousFinishedError,
)
from rendezvous.cli import exits as _exit
from rendezvous.cli.log import complain, logger
from rendezvous.cli.run.environment import command_environment
from rendezvous.cli.run.process import Command, Guard
from rendezvous.cli.run.signals import ENDING, OvertimeError, SignalledError, SignalScope
from rendezvous.handler import DynamicRendezvousHandler
from rendezvous.handler.linger import linger
from rendezvous.handler.registry import get_rendezvous_handler

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rendezvous._base.api import RendezvousHandler, RendezvousInfo, RendezvousParameters
    from rendezvous.cli.run.run_id import FoundRunId

# How often a change of membership is looked for. The handler answers from memory.
_POLL_S = 0.1
# Who was told to end tells the others, and closes what is its own, if that takes no longer.
_PARTING_S = 0.25
_SHUTDOWN_S = 0.1


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
        # How the command ended, if that is for good and no order of ours or of the user's.
        self._gave_up: tuple[int, bytes] | None = None
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
            logger.info("the command ended with exit code %d: leaving", code)
            hurried = self._was_told_to_end()
        except SignalledError as stop:
            logger.info("%s: leaving", _exit.signal_name(stop.signum))
            code = _exit.of_signal(stop.signum)
            hurried = True
        except RendezvousFinishedError as error:
            # To wait as a spare was our part, and we have done it.
            logger.info("%s", error)
            code = _exit.OK
        except RendezvousFailedError as error:
            logger.warning("%s", error)
            self._root_cause = str(error)
            code = _exit.FAILED
        except (RendezvousError, _exit.CommandError) as error:
            # Told now and not by main(): lingering may follow, for minutes.
            complain("exec", str(error))
            logger.debug("the error came from here", exc_info=True)
            code = _exit.FAILED
            if isinstance(error, _exit.CommandError):
                code = error.code
                self._note_giving_up(code, str(error).encode())
        except BaseException:
            handler.shutdown()
            raise
        if hurried:
            self._part_at_once(handler, code)
        else:
            self._part(handler, code)
        if self._root_cause:
            complain("exec", self._root_cause)
        return code

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
        return handler

    def _run_rounds(self, handler: RendezvousHandler) -> int:
        failures_used, failures_max = 0, self._plan.failures_max
        while True:
            info = self._signals.during(handler.next_rendezvous)
            self._rank = info.rank
            logger.info(
                "round %d: rank %d of %d, rank 0 is at %s port %d",
                info.round,
                info.rank,
                info.world_size,
                info.bootstrap_store_info.master_addr,
                info.bootstrap_store_info.master_port,
            )
            code = self._run_command(handler, info)
            if code is None:
                continue
            if code == 0 or self._kill_at is not None:
                return code
            last_line = self._guard.last_line()
            if self._was_told_to_end():
                # By Ctrl-C, for good. Whoever ends a node by SIGTERM may move it.
                self._note_giving_up(code, last_line)
                return code
            if self._is_by_a_loss(handler):
                # The loss of a node breaks the others' commands, often before it is known here.
                logger.info("the command failed (exit code %d) as the membership changed", code)
                continue
            if failures_used == failures_max:
                self._note_giving_up(code, last_line)
                return code
            failures_used += 1
            logger.warning(
                "the command failed (exit code %d): restart %d of at most %d",
                code,
                failures_used,
                failures_max,
            )

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
        if not self._plan.waits_for_replacements:
            self._gave_up = code, last_line

    def _was_told_to_end(self) -> bool:
        interrupted = self._interrupted_until
        return self._kill_at is not None or (interrupted is not None and not interrupted.is_over)

    def _run_command(self, handler: RendezvousHandler, info: RendezvousInfo) -> int | None:
        """The command's exit code; None if it was stopped for a new round."""
        command = Command(self._plan.command, self._environment(handler, info), self._guard)
        logger.debug("the command runs as process %d", command.pid)
        while True:
            for signum in self._signals.wait(_POLL_S):
                self._pass_on(command, signum)
            code = command.poll()
            if code is not None:
                self._clear(command, code)
                return code
            if self._kill_at is not None:
                if self._kill_at.is_over:
                    logger.warning(
                        "the command did not end within %g s of SIGTERM: killing it",
                        self._plan.grace_s,
                    )
                    command.kill()
                    self._kill_at = Deadline.after(math.inf)
            elif (changes := handler.num_nodes_waiting()) > 0:
                logger.info(
                    "the membership changed (%d %s came or went): stopping the command for round"
                    " %d or later",
                    changes,
                    "node" if changes == 1 else "nodes",
                    info.round + 1,
                )
                for signum in command.stop(self._plan.grace_s, self._signals):
                    if signum in ENDING:
                        raise SignalledError(signum)
                return None

    def _environment(self, handler: RendezvousHandler, info: RendezvousInfo) -> dict[str, str]:
        parameters = self._plan.parameters
        # Of other handlers nobody knows what `rendezvous get` could use.
        endpoint = ""
        if isinstance(handler, DynamicRendezvousHandler):
            endpoint = handler.store_address
        return command_environment(
            self._plan.environment,
            info,
            run_id=parameters.run_id,
            endpoint=endpoint,
            bootstrap_store=handler.use_agent_store,
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

    def _part(self, handler: RendezvousHandler, code: int) -> None:
        """Leave, linger, shut down. A signal ends what it comes in at once."""
        shutdown_s = None
        try:
            if isinstance(handler, DynamicRendezvousHandler):
                what = self._needed_by_others(handler, code)
                # Otherwise shutting down leaves as well, and only once waits for a store that is
                # gone.
                if code != 0 or what:
                    self._signals.during(lambda: self._leave(handler, code))
                if what:
                    linger(
                        handler,
                        what,
                        self._plan.linger_s,
                        lambda slice_s: self._signals.during(
                            partial(handler.wait_until_alone, slice_s)
                        ),
                    )
        except RendezvousError as error:
            logger.warning("the other nodes could not be told that this one leaves: %s", error)
        except SignalledError as stop:
            logger.warning("%s: not waiting for other nodes", _exit.signal_name(stop.signum))
            shutdown_s = _SHUTDOWN_S
        try:
            self._signals.during(handler.shutdown, shutdown_s)
        except (SignalledError, OvertimeError):
            logger.debug("shut down was cut short", exc_info=True)

    def _part_at_once(self, handler: RendezvousHandler, code: int) -> None:
        """As far as it goes in a moment: who was told to end does not wait for others."""
        try:
            if isinstance(handler, DynamicRendezvousHandler):
                self._signals.during(lambda: self._leave(handler, code, _PARTING_S), _PARTING_S)
            self._signals.during(handler.shutdown, _SHUTDOWN_S)
        except (SignalledError, OvertimeError, RendezvousError):
            logger.debug("parting was cut short", exc_info=True)

    def _leave(
        self, handler: DynamicRendezvousHandler, code: int, timeout_s: float | None = None
    ) -> None:
        if self._gave_up is None:
            if timeout_s is None:
                handler.leave(failed=code != 0)
            else:
                handler.cancel(timeout_s, failed=code != 0)
            return
        cause = handler.give_up(*self._gave_up)
        if cause:
            run = self._plan.parameters.run_id
            self._root_cause = f"run {run!r}: who gave up first: {cause}"
            logger.warning("gave up: %s", cause)

    def _needed_by_others(self, handler: DynamicRendezvousHandler, code: int) -> str:
        """What other nodes use of this process, for the log; empty: nothing."""
        if handler.hosts_store:
            return "the store hosted here"
        # After a failure they meet again and have another rank 0.
        if handler.use_agent_store and self._rank == 0 and code == 0:
            return "the bootstrap store served here"
        return ""

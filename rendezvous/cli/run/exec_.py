"""`rendezvous exec`: join, run a command with its rank, and follow the changes of membership.

The order of setting up. Options are exec_options.py's; what happens from then on, supervisor.py's.
"""

from __future__ import annotations

import errno
import os
import signal
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rendezvous._base.api import RendezvousParameters
from rendezvous._base.endpoint import is_unix, parse_endpoint
from rendezvous._base.errors import StoreError
from rendezvous._base.health import Keeper, end_health_checks, keep_health_checks
from rendezvous._base.hosts import is_loopback, is_wildcard
from rendezvous._base.place import parse_place
from rendezvous._base.run_id import DEFAULT_RUN_ID, find_run_id
from rendezvous._base.settings import C10D_SETTINGS, ETCD_SETTINGS, unknown_settings
from rendezvous.backends.c10d import shared_run_id
from rendezvous.cli import exits as _exit
from rendezvous.cli import options as _options
from rendezvous.cli.http_options import check_http, open_monitor
from rendezvous.cli.log import logger
from rendezvous.cli.run.event_log import EventLog
from rendezvous.cli.run.guard import TOKEN_VARIABLE
from rendezvous.cli.run.guard_client import Guard
from rendezvous.cli.run.output import Output
from rendezvous.cli.run.process import check_program
from rendezvous.cli.run.signals import SignalScope, leave_at_once
from rendezvous.cli.run.supervisor import Plan, Supervisor
from rendezvous.handler.linger import LINGER_S

if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping

    from rendezvous._base.run_id import FoundRunId
    from rendezvous._core import Server

# What starts each node of a job once, and says its rank.
_RANKS_GIVEN = ("SLURM", "MPI")


def _check(backend: str, endpoint: str, config: Mapping[str, str]) -> None:
    """Find mistakes that would come to light late, or never. Only for backends known here."""
    if not endpoint.strip():
        raise _exit.CommandError(
            "--endpoint is empty (an unset shell variable?); name the host and port at which all "
            "nodes meet (localhost for this machine alone)",
            _exit.USAGE,
        )
    try:
        if backend == "c10d":
            if not _is_file(config):
                parse_endpoint(endpoint, _options.DEFAULT_PORT)
        else:
            from rendezvous.backends.etcd.transport.endpoints import parse_endpoints

            parse_endpoints(endpoint)
    except ValueError as error:
        raise _exit.CommandError(str(error), _exit.USAGE) from None
    settings = C10D_SETTINGS if backend == "c10d" else ETCD_SETTINGS
    unknown = unknown_settings(config, settings)
    if unknown:
        raise _exit.CommandError(f"--rdzv-conf: {'; '.join(unknown)}", _exit.USAGE)


def _use_place(args: argparse.Namespace, config: dict[str, str]) -> None:
    """The endpoint is a URL."""
    try:
        place = parse_place(args.endpoint, None if args.backend == "c10d" else args.backend)
    except ValueError as error:
        raise _exit.CommandError(str(error), _exit.USAGE) from None
    args.backend, args.endpoint = place.backend, place.endpoint
    if user := place.settings.pop("user", None):
        args.etcd_user = args.etcd_user or user
    for name, value in place.settings.items():
        config.setdefault(name, value)


def _is_file(config: Mapping[str, str]) -> bool:
    return config.get("store_type", "").lower() == "file"


def _warn_of_loopback(args: argparse.Namespace) -> None:
    endpoint: str = args.endpoint
    if args.has_found_endpoint:  # where it is said that all nodes are on this machine
        return
    host, _ = parse_endpoint(endpoint, _options.DEFAULT_PORT)
    if is_unix(host):
        return
    if is_wildcard(host):
        logger.warning(
            "the endpoint %s makes this machine host the store: give the nodes on other machines "
            "this machine's address as their endpoint",
            endpoint,
        )
    elif is_loopback(host):
        logger.warning(
            "the endpoint %s is a loopback address, which means a different machine on each "
            "machine: nodes on other machines will not meet this one",
            endpoint,
        )


def _run_id(args: argparse.Namespace, config: dict[str, str]) -> tuple[str, FoundRunId | None]:
    """The run id, and what was found of it elsewhere; None: the user has said it.

    Over c10d it is known later whether a node of the job serves the store.
    """
    if args.run_id is not None:
        return args.run_id, None
    outer = os.environ.get(_options.RUN_ID_VARIABLE)
    if outer and args.endpoint == _options.outer_server():
        raise _exit.CommandError(
            f"this is a command of the run {outer!r}, and meets at that run's own store: without a "
            "name it would be one more node of that run; give a --run-id, which all nodes of the "
            "inner run have",
            _exit.USAGE,
        )
    found = find_run_id(os.environ)
    if args.backend == "c10d":
        config["run_id_elsewhere"] = found.run_id
        return DEFAULT_RUN_ID, found
    if args.backend not in _options.ETCD_BACKENDS:
        return found.run_id or DEFAULT_RUN_ID, found
    try:
        return shared_run_id(found.run_id, args.endpoint), found
    except ValueError as error:
        raise _exit.CommandError(str(error), _exit.USAGE) from None


def _add_options(args: argparse.Namespace, config: dict[str, str]) -> None:
    """Settings that have options of their own."""
    for name in ("rank_by", "expect", "attempt"):
        if (value := getattr(args, name)) is not None:
            config[name] = value
    if args.etcd_user is not None:
        if args.backend not in _options.ETCD_BACKENDS:
            raise _exit.CommandError(
                f"--etcd-user needs --backend etcd, not {args.backend}", _exit.USAGE
            )
        config["user"] = args.etcd_user
    if args.spare_timeout is not None:
        config["spare_timeout"] = str(args.spare_timeout)
    if args.no_bootstrap_store:
        config["bootstrap_store"] = "0"
    if args.standalone:
        config.setdefault("is_host", "1")
    if args.health_check is not None:
        config["health_check"] = args.health_check
    if args.release_port:
        config["hold_port"] = "0"
    if args.listen_fd is not None:
        if args.backend != "c10d":
            raise _exit.CommandError("--listen-fd needs --backend c10d", _exit.USAGE)
        config["listen_fd"] = str(args.listen_fd)


def _add_security(args: argparse.Namespace, config: dict[str, str]) -> None:
    """Of the options for certificates, the environment tells."""
    if args.insecure:
        config["insecure"] = "1"
    if args.endpoint_is_tls:
        config.setdefault("tls", "1")


def _output(args: argparse.Namespace) -> Output:
    if args.log_dir is None:
        return Output(shown=args.tee)
    filed = frozenset({1, 2}) if args.redirects is None else args.redirects | args.tee
    return Output(Path(args.log_dir).absolute(), filed, args.tee)


def use_surroundings(args: argparse.Namespace, config: dict[str, str]) -> None:
    """Settings that a workload manager has said: who hosts the store, which rank a node has."""
    found = args.found
    if found is None:
        return
    if args.has_found_endpoint or args.has_found_nodes:
        logger.info("%s", found)
    if args.has_found_nodes and found.node is not None and found.manager in _RANKS_GIVEN:
        # As many as there are, each with a rank of its own, which nobody starts again by itself.
        if args.rank_by is None and "rank_by" not in config:
            config["rank_by"] = "given"
        if (args.rank_by or config["rank_by"]) == "given":
            config.setdefault("rank", str(found.node))
    if args.has_found_endpoint and found.is_host is not None and not _is_file(config):
        config.setdefault("is_host", "1" if found.is_host else "0")


def _guard(copied: list[int]) -> Guard:
    try:
        return Guard(copied)
    except OSError as error:
        hint = ""
        if error.errno == errno.EMFILE:
            hint = ": raise the limit of open files (ulimit -n), or start fewer processes"
        raise _exit.CommandError(f"cannot start the guard process: {error}{hint}") from error


def _watch(args: argparse.Namespace, monitors: ExitStack, server: Server) -> None:
    """The job goes on without a monitor, if there cannot be one."""
    monitors.close()
    try:
        monitors.enter_context(open_monitor(args, server, args.endpoint))
    except (StoreError, ValueError) as error:
        logger.warning("no monitor: %s", error)


def run(args: argparse.Namespace) -> int:
    """Join and run `args.command`; its exit code."""
    # Before joining: nobody shall wait for a node whose command is a typing mistake.
    check_program(args.command[0])
    check_http(args)
    config: dict[str, str] = {}
    for pairs in args.rdzv_conf:
        config |= pairs
    try:
        linger_s = _options.seconds(config.pop("linger_timeout", str(LINGER_S)))
    except _options.OptionError as error:
        raise _exit.CommandError(f"--rdzv-conf linger_timeout: {error}", _exit.USAGE) from None
    if args.backend == "rendezvous":  # as torchrun calls us
        args.backend = "c10d"
    if "://" in args.endpoint and args.backend in ("c10d", *_options.ETCD_BACKENDS):
        _use_place(args, config)
    if args.backend == "c10d" or args.backend in _options.ETCD_BACKENDS:
        _check(args.backend, args.endpoint, config)
    use_surroundings(args, config)
    if args.backend == "c10d" and args.nodes[1] > 1 and not _is_file(config):
        _warn_of_loopback(args)
    _add_options(args, config)
    _add_security(args, config)
    run_id, found_run_id = _run_id(args, config)
    min_nodes, max_nodes = args.nodes
    own: dict[str, Any] = {}
    if args.event_log is not None:
        own["on_event"] = EventLog(Path(args.event_log)).write
    monitors = ExitStack()
    if args.http is not None:
        own["on_server"] = partial(_watch, args, monitors)
    try:
        parameters = RendezvousParameters(
            args.backend,
            args.endpoint,
            run_id,
            min_nodes,
            max_nodes,
            args.local_addr,
            **config,
            **own,
        )
    except ValueError as error:
        raise _exit.CommandError(str(error), _exit.USAGE) from error
    plan = Plan(
        command=args.command,
        parameters=parameters,
        processes=args.procs_per_node,
        output=_output(args),
        failures_max=args.max_restarts,
        waits_for_replacements=args.wait_for_replacements,
        grace_s=args.grace,
        linger_s=linger_s,
        holds_port=not args.release_port,
        environment=os.environ.copy(),
        beside=None if args.found is None else args.found.beside,
        mpi_env=args.mpi_env,
        found_run_id=found_run_id,
    )
    plan.output.check(run_id)
    copied = [stream for _, stream in plan.output.copied(plan.processes)]
    with (
        SignalScope(
            signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT,
            signal.SIGUSR1, signal.SIGUSR2, signal.SIGTSTP, signal.SIGCONT, signal.SIGCHLD,
        ) as signals,
        _guard(copied) as guard,
        monitors,
    ):  # fmt: skip
        token = {TOKEN_VARIABLE: guard.token}
        keep_health_checks(Keeper(guard.announcer, guard.release, token))
        code = Supervisor(plan, signals, guard).run()
    if signals.has_left_behind:
        # Nothing that still waits for a server may hold up the end.
        end_health_checks()
        leave_at_once(code)
    return code

"""`rendezvous exec`: join, run a command with its rank, and follow the changes of membership.

Options and the order of setting up. What happens from then on is _supervisor.py's.
"""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

from rendezvous._endpoint import parse_endpoint
from rendezvous._hosts import is_loopback, is_wildcard
from rendezvous._linger import LINGER_S
from rendezvous._settings import C10D_SETTINGS, ETCD_SETTINGS, unknown_settings
from rendezvous.api import RendezvousParameters
from rendezvous.backends.c10d import shared_run_id
from rendezvous.cli import _exit, _options
from rendezvous.cli._logging import logger
from rendezvous.cli._process import Guard, check_program
from rendezvous.cli._run_id import DEFAULT_RUN_ID, find_run_id
from rendezvous.cli._signals import SignalScope, leave_at_once
from rendezvous.cli._supervisor import Plan, Supervisor

if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping

    from rendezvous.cli._run_id import FoundRunId

_ETCD_BACKENDS = ("etcd", "etcd-v3")

_USAGE = """rendezvous exec --endpoint HOST[:PORT] --nodes MIN[:MAX] [options]
                       -- COMMAND [ARGUMENT ...]"""

_DESCRIPTION = """\
Join a job and run a command on this node once all nodes are there.

Start the same line on every node. exec waits until MIN nodes have joined (and,
above MIN, until MAX have or nobody has come for a while), then starts COMMAND
with these variables set:

  RANK, NODE_RANK            rank of this node, from 0
  WORLD_SIZE, NNODES         number of nodes
  MASTER_ADDR, MASTER_PORT   where rank 0 is reached
  RENDEZVOUS_ENDPOINT        the run's own keys in the store (rendezvous get, set ...)
  RENDEZVOUS_RUN_ID, RENDEZVOUS_ROUND
  TORCHELASTIC_USE_AGENT_STORE and relatives: tell torch that exec serves a store
                             at MASTER_ADDR:MASTER_PORT (see --no-bootstrap-store)

When a node joins, leaves or dies, the command is stopped everywhere, the nodes
meet again, and it starts anew with its new rank. exec ends when the command ends,
with its exit code.

No server is needed: the node whose machine --endpoint names hosts the store. It
stays after its command has ended until the other nodes have left."""

_EXAMPLES = """\
examples:
  on each of 4 nodes, node0 hosts the store:
    rendezvous exec --endpoint node0:29400 --nodes 4 -- python train.py

  2 to 8 nodes that may come and go, started again up to 3 times if it fails:
    rendezvous exec --endpoint node0:29400 --nodes 2:8 --max-restarts 3 \\
        --rdzv-conf last_call_timeout=10 -- bash train.sh

  over an etcd cluster: no node hosts anything, and any may be lost:
    rendezvous exec --backend etcd --endpoint etcd0:2379,etcd1:2379,etcd2:2379 \\
        --nodes 2:8 -- python train.py

  see what a command gets, with one node on this machine:
    rendezvous exec --endpoint localhost --nodes 1 -- env

signals: SIGTERM, SIGINT, SIGHUP, SIGQUIT, SIGUSR1 and SIGUSR2 go to the command and
to what it started; SIGTERM also gives it --grace seconds to end. Killing exec kills
the command.

exit codes: the command's own (128 + n if signal n ended it, or ended exec before
the command ran), 1 when the nodes did not meet, 2 wrong arguments, 126 the command
cannot be run, 127 not found."""


def add_parser(subparsers: _options.Subparsers) -> None:
    """Add `exec`. `main` cuts the command off the arguments and sets `command`."""
    parser = _options.add_command(
        subparsers,
        "exec",
        summary="join a job and run a command with its rank",
        description=_DESCRIPTION,
        examples=_EXAMPLES,
        usage=_USAGE,
    )
    default_endpoint = _options.server_from_environment()
    parser.add_argument(
        "--endpoint",
        default=default_endpoint,
        required=default_endpoint is None,
        metavar="HOST[:PORT]",
        help=f"where the store is or shall be (default: ${_options.ENDPOINT_VARIABLE};"
        f" port {_options.DEFAULT_PORT})",
    )
    parser.add_argument(
        "--nodes",
        type=_options.nodes,
        required=True,
        metavar="MIN[:MAX]",
        help="how many nodes make the job: 4, or 2:8",
    )
    parser.add_argument(
        "--run-id",
        metavar="ID",
        help="name of the job: nodes with the same one meet (default: default, where a node of the"
        " job hosts the store; elsewhere what SLURM, Kubernetes and others call the job)",
    )
    parser.add_argument(
        "--backend",
        default="c10d",
        metavar="NAME",
        help="what keeps the rendezvous: c10d, a store that one of the nodes or a server serves, or"
        " etcd, whose members --endpoint names, with commas (default: c10d)",
    )
    parser.add_argument(
        "--etcd-user",
        metavar="NAME",
        help="user of --backend etcd; the password is $RENDEZVOUS_ETCD_PASSWORD, or in the file"
        " that --rdzv-conf password_file=PATH names",
    )
    parser.add_argument(
        "--rdzv-conf",
        type=_options.conf,
        action="append",
        default=[],
        metavar="KEY=VALUE,...",
        help="settings of the rendezvous, times in seconds: join_timeout=600, last_call_timeout=30,"
        " keep_alive_interval=5, keep_alive_max_attempt=3, linger_timeout=300, is_host=1;"
        " may be given several times",
    )
    parser.add_argument(
        "--local-addr",
        metavar="ADDRESS",
        help="address of this node for the others (default: found out)",
    )
    parser.add_argument(
        "--max-restarts",
        type=_options.whole_number(0, 1_000_000),
        default=0,
        metavar="N",
        help="run the command again, after the nodes met again, up to N times after it failed;"
        " restarts because nodes came or went do not count (default: 0)",
    )
    parser.add_argument(
        "--wait-for-replacements",
        action="store_true",
        help="when the command has failed for good, let the other nodes wait for another one in"
        " this node's place, up to join_timeout, as where Kubernetes starts it anew; without, they"
        " end as soon as fewer than MIN are left",
    )
    parser.add_argument(
        "--grace",
        type=_options.seconds,
        default=30.0,
        metavar="SECONDS",
        help="time between SIGTERM and SIGKILL when the command is stopped (default: 30)",
    )
    parser.add_argument(
        "--no-bootstrap-store",
        action="store_true",
        help="serve no store at MASTER_ADDR:MASTER_PORT, so that rank 0's command can listen there"
        " itself, as jax and DeepSpeed do, and as torch scripts need that make process groups at"
        " addresses of their own; the port stays bound meanwhile, so that nobody else gets"
        " it, and the program needs SO_REUSEADDR, as most servers have it",
    )
    parser.add_argument(
        "--release-port",
        action="store_true",
        help="with --no-bootstrap-store: keep the port free instead, for programs that listen"
        " without SO_REUSEADDR; somebody else may take it",
    )
    parser.add_argument(
        "--listen-fd",
        type=_options.whole_number(0, 1_000_000),
        metavar="FD",
        help="host the store on this descriptor, of a socket bound to the endpoint's port",
    )
    parser.set_defaults(run=run)


def _check(backend: str, endpoint: str, config: Mapping[str, str]) -> None:
    """Find mistakes that would come to light late, or never. Only for backends known here."""
    if not endpoint.strip():
        raise _exit.CommandError(
            "--endpoint is empty, as an unset variable of a shell makes it; name the host and port "
            "that all nodes shall meet at (localhost for this machine alone)",
            _exit.USAGE,
        )
    try:
        if backend == "c10d":
            if not _is_file(config):
                parse_endpoint(endpoint, _options.DEFAULT_PORT)
        else:
            from rendezvous.backends.etcd._endpoints import parse_endpoints

            parse_endpoints(endpoint)
    except ValueError as error:
        raise _exit.CommandError(str(error), _exit.USAGE) from None
    settings = C10D_SETTINGS if backend == "c10d" else ETCD_SETTINGS
    for text in unknown_settings(config, settings):
        logger.warning("--rdzv-conf: %s", text)


def _is_file(config: Mapping[str, str]) -> bool:
    return config.get("store_type", "").lower() == "file"


def _warn_of_loopback(endpoint: str) -> None:
    host, _ = parse_endpoint(endpoint, _options.DEFAULT_PORT)
    if is_wildcard(host):
        logger.warning(
            "the endpoint %s makes this machine host the store: nodes elsewhere name its address",
            endpoint,
        )
    elif is_loopback(host):
        logger.warning(
            "the endpoint %s is this machine alone on every machine: nodes elsewhere make a run of"
            " their own",
            endpoint,
        )


def _run_id(args: argparse.Namespace, config: dict[str, str]) -> tuple[str, FoundRunId | None]:
    """The run id, and what was found of it elsewhere; None: the user has said it.

    Over c10d it is known later whether a node of the job serves the store.
    """
    if args.run_id is not None:
        return args.run_id, None
    found = find_run_id(os.environ)
    if args.backend == "c10d":
        config["run_id_elsewhere"] = found.run_id
        return DEFAULT_RUN_ID, found
    if args.backend not in _ETCD_BACKENDS:
        return found.run_id or DEFAULT_RUN_ID, found
    try:
        return shared_run_id(found.run_id, args.endpoint), found
    except ValueError as error:
        raise _exit.CommandError(str(error), _exit.USAGE) from None


def run(args: argparse.Namespace) -> int:
    """Join and run `args.command`; its exit code."""
    # Before joining: nobody shall wait for a node whose command is a typing mistake.
    check_program(args.command[0])
    config: dict[str, str] = {}
    for pairs in args.rdzv_conf:
        config |= pairs
    try:
        linger_s = _options.seconds(config.pop("linger_timeout", str(LINGER_S)))
    except _options.OptionError as error:
        raise _exit.CommandError(f"--rdzv-conf linger_timeout: {error}", _exit.USAGE) from None
    if args.backend == "c10d" or args.backend in _ETCD_BACKENDS:
        _check(args.backend, args.endpoint, config)
    if args.backend == "c10d" and args.nodes[1] > 1 and not _is_file(config):
        _warn_of_loopback(args.endpoint)
    if args.etcd_user is not None:
        if args.backend not in _ETCD_BACKENDS:
            raise _exit.CommandError(
                f"--etcd-user goes with --backend etcd, not {args.backend}", _exit.USAGE
            )
        config["user"] = args.etcd_user
    if args.no_bootstrap_store:
        config["bootstrap_store"] = "0"
    if args.release_port:
        config["hold_port"] = "0"
    if args.listen_fd is not None:
        if args.backend != "c10d":
            raise _exit.CommandError("--listen-fd goes with --backend c10d", _exit.USAGE)
        config["listen_fd"] = str(args.listen_fd)
    run_id, found = _run_id(args, config)
    min_nodes, max_nodes = args.nodes
    try:
        parameters = RendezvousParameters(
            args.backend,
            args.endpoint,
            run_id,
            min_nodes,
            max_nodes,
            args.local_addr,
            **config,
        )
    except ValueError as error:
        raise _exit.CommandError(str(error), _exit.USAGE) from error
    plan = Plan(
        command=args.command,
        parameters=parameters,
        failures_max=args.max_restarts,
        waits_for_replacements=args.wait_for_replacements,
        grace_s=args.grace,
        linger_s=linger_s,
        environment=os.environ.copy(),
        found_run_id=found,
    )
    with (
        SignalScope(
            signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT,
            signal.SIGUSR1, signal.SIGUSR2, signal.SIGTSTP, signal.SIGCONT, signal.SIGCHLD,
        ) as signals,
        Guard() as guard,
    ):  # fmt: skip
        code = Supervisor(plan, signals, guard).run()
    if signals.has_left_behind:
        # Nothing that still waits for a server may hold up the end.
        leave_at_once(code)
    return code

"""`rendezvous doctor`: what is wrong between this machine and an endpoint, and what to do.

Owns the arguments, and the order of the checks: what cannot work once another check has failed is
not tried.
"""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

from rendezvous._base.deadline import Deadline
from rendezvous._base.endpoint import is_unix, parse_endpoint
from rendezvous._base.errors import RendezvousError, StoreError
from rendezvous._base.hosts import match_host
from rendezvous.cli import exits as _exit
from rendezvous.cli.doctor.findings import Finding, as_json, as_text
from rendezvous.cli.doctor.network import check_name, check_ports
from rendezvous.cli.doctor.processes import find_listener
from rendezvous.cli.doctor.server import Asked, check_hosting, check_server
from rendezvous.cli.look.etcd_runs import EtcdRuns
from rendezvous.cli.look.server_runs import ServerRuns
from rendezvous.cli.look.status import run_id, run_id_from_environment
from rendezvous.cli.look.status_place import add_place, place_of
from rendezvous.cli.options import (
    ENDPOINT_VARIABLE,
    RUN_ID_VARIABLE,
    add_command,
    endpoint_from_environment,
    seconds,
    whole_number,
)
from rendezvous.cli.paint import Paint

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    from rendezvous.cli.look.place import Place
    from rendezvous.cli.options import Subparsers

_TIMEOUT_S = 5.0
_TIMEOUT_S_MIN = 0.5
_NODES_MAX = 1_000_000
_ETCD_PORT = 2379

_DESCRIPTION = """\
Check from this machine what goes wrong in practice, and say what to do: whether the
endpoint's name resolves, whether its port is reached, refused or dropped, what
answers there, whether the token is the right one, how the server sees this machine,
how long requests take, whether large packets arrive, and with --nodes, whether the
server's limits suffice. doctor changes nothing: it writes one key and deletes it."""

_EXAMPLES = """\
examples:
  rendezvous doctor --endpoint node0:29400
  rendezvous doctor --endpoint node0:29400 --nodes 512 --run-id my-job
  rendezvous doctor --endpoint etcd0:2379,etcd1:2379 --backend etcd
  srun rendezvous doctor --endpoint node0:29400 --json     from each node

exit codes: 0 all is well, 1 something is wrong, 2 wrong arguments, 3 the
endpoint cannot be reached, or what is there does not answer, 130 Ctrl-C."""


def add_parser(subparsers: Subparsers) -> None:
    """Add `doctor`."""
    parser = add_command(
        subparsers,
        "doctor",
        summary="find out what is wrong between here and an endpoint",
        description=_DESCRIPTION,
        examples=_EXAMPLES,
    )
    add_place(parser)
    parser.add_argument(
        "--nodes",
        type=whole_number(1, _NODES_MAX),
        metavar="N",
        help="how many nodes the job has: check the server's limits against it",
    )
    parser.add_argument(
        "--run-id",
        type=run_id,
        metavar="RUN_ID",
        help=f"the run that nodes do not find (default: ${RUN_ID_VARIABLE}, at the endpoint of"
        f" ${ENDPOINT_VARIABLE})",
    )
    parser.add_argument(
        "--timeout",
        type=seconds,
        default=_TIMEOUT_S,
        metavar="SECONDS",
        help=f"how long each check may take (default: {_TIMEOUT_S:g})",
    )
    parser.add_argument("--json", action="store_true", help="print JSON: all findings")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print the findings as they come. The exit codes are in the help."""
    place = place_of(args, waits=True)
    if not isinstance(place, (ServerRuns, EtcdRuns)):
        place.close()
        args.fail(f"the endpoint {args.endpoint!r} does not name a server; doctor is about those")
    args.timeout = max(args.timeout, _TIMEOUT_S_MIN)
    if args.run_id is None and args.endpoint == endpoint_from_environment():
        args.run_id = run_id_from_environment(args)
    paint = Paint(sys.stdout)
    findings: list[Finding] = []
    try:
        if isinstance(place, ServerRuns):
            checks = _check_server(args, place)
        else:
            checks = _check_etcd(args, place)
        for finding in checks:
            findings.append(finding)
            if not args.json:
                print("\n".join(as_text(finding, paint)), flush=True)
    finally:
        place.close()
    if args.json:
        print(json.dumps(as_json(place.endpoint, findings), indent=2))
    if any(finding.state == "unreachable" for finding in findings):
        return _exit.UNREACHABLE
    return _exit.NO if any(finding.is_bad for finding in findings) else _exit.OK


def _check_server(args: argparse.Namespace, place: ServerRuns) -> Iterator[Finding]:
    host, port = place.host_and_port
    if is_unix(host):
        asked = Asked(place, "", args.nodes, args.run_id)
        yield from check_server(asked, Deadline.after(args.timeout))
        return
    addresses, finding = check_name(host, Deadline.after(args.timeout))
    yield finding
    if not addresses:
        return
    ports = check_ports(addresses, port, Deadline.after(args.timeout))
    yield from ports
    reached = next(
        (
            address
            for address, each in zip(addresses, ports, strict=True)
            if each.facts["how"] == "reached"
        ),
        None,
    )
    if reached is not None:
        asked = Asked(place, reached, args.nodes, args.run_id)
        yield from check_server(asked, Deadline.after(args.timeout))
    elif args.nodes is not None and match_host(host).matched:
        # Perhaps the node that is to host the store is this one.
        yield check_hosting(args.nodes)


def _check_etcd(args: argparse.Namespace, place: Place) -> Iterator[Finding]:
    """Each member by name and port, then all of them as a client sees them."""
    reached = 0
    for member in place.endpoint.split(","):
        host, port = parse_endpoint(member.rpartition("://")[2], _ETCD_PORT)
        addresses, finding = check_name(host, Deadline.after(args.timeout))
        yield finding
        ports = check_ports(addresses, port, Deadline.after(args.timeout)) if addresses else []
        yield from ports
        reached += any(each.facts["how"] == "reached" for each in ports)
    if not reached:
        return
    try:
        found = place.probe(Deadline.after(args.timeout))
    except (StoreError, RendezvousError) as error:
        listener = find_listener(addresses[0], port) if addresses else None
        who = f"; the process there is {listener.name} (pid {listener.pid})" if listener else ""
        yield Finding("etcd", "unreachable", f"{error}{who}", "see the log of etcd")
        return
    for line, member in zip(found.lines[1:], found.fields["members"], strict=True):
        is_well = member["reachable"] and member["round_trip_s"] is not None
        todo = "" if is_well else "see the log of that member, and --rdzv-conf for certificates"
        yield Finding("etcd", "ok" if is_well else "wrong", line.strip(), todo, dict(member))
    if args.run_id is not None:
        yield _etcd_run(args, place)


def _etcd_run(args: argparse.Namespace, place: Place) -> Finding:
    deadline = Deadline.after(args.timeout)
    try:
        view = place.look_at_run(args.run_id, deadline, 0)
        similar = place.similar_runs(args.run_id, deadline)
    except (StoreError, RendezvousError) as error:
        return Finding("run", "wrong", f"{args.run_id!r}: {error}")
    if view is None:
        meant = f"; {' or '.join(map(repr, similar))} is there" if similar else ""
        return Finding(
            "run", "wrong", f"nobody has joined a run {args.run_id!r} there{meant}",
            "give all nodes the same --run-id, --endpoint and key_prefix",
        )  # fmt: skip
    return Finding("run", "ok", f"{args.run_id!r} is in round {view.round}")

"""A client of etcd's v3 API: ranges, transactions, leases and watches, and nothing more.

Owns one deadline for each operation and the meaning of answers. The transport carries the bytes,
members.py chooses the member, login.py knows the user. Any thread may use it, also after a fork.
"""

from collections.abc import Iterable, Sequence

from rendezvous._base.deadline import Deadline
from rendezvous.backends.etcd.client.login import Credentials, Login
from rendezvous.backends.etcd.client.members import Members
from rendezvous.backends.etcd.client.watch import Watch, watch_bytes
from rendezvous.backends.etcd.client.wire import (
    RangeResult,
    ReadResult,
    TxnResult,
    op_delete,
    op_put,
    op_range,
    range_result,
    revision_of,
)
from rendezvous.backends.etcd.transport import (
    Message,
    TlsFiles,
    open_transport,
)
from rendezvous.backends.etcd.transport.endpoints import Endpoint, parse_endpoints
from rendezvous.backends.etcd.transport.errors import COMPACTED, NOT_FOUND, EtcdRequestError

__all__ = ["EtcdClient"]

_TIMEOUT_S = 60.0
# So many single ranges take about as long as one write, and no member has to store anything.
_PLAIN_RANGES_MAX = 2


class EtcdClient:
    """A client of one cluster. Nothing is sent before the first operation.

    Args:
        endpoints: the members, `a:2379,b:2379`, `etcd://a,b`, `https://[fd00::5]:2379`, or a list;
            the default port is 2379.
        user, password: of etcd's own authentication; None: without.
        tls: certificates; None: without TLS, unless the endpoints say https.
        timeout: seconds for an operation that is given no deadline; default 60.
        transport: `grpc`, etcd's own API, which needs the library h2 (`rendezvous-store[etcd]`); or
            `gateway`, its JSON gateway, which needs no library. None: `grpc` where h2 is installed.

    Operations take a `Deadline` and return or raise by then, plus at most 0.1 s. They raise
    EtcdTimeoutError, EtcdConnectionError (no member could be asked) and EtcdRequestError (the
    cluster refuses), all of them StoreErrors. The constructor raises ValueError.
    """

    def __init__(
        self,
        endpoints: str | Iterable[str] = "",
        *,
        user: str | None = None,
        password: str | None = None,
        tls: TlsFiles | None = None,
        timeout: float = _TIMEOUT_S,
        transport: str | None = None,
    ) -> None:
        parsed, secure = parse_endpoints(endpoints)
        if secure is False and tls is not None:
            raise ValueError(f"the endpoints {endpoints!r} use http, but certificates are given")
        if bool(user) != bool(password):
            raise ValueError("a user needs a password, and a password a user; one of them is empty")
        if secure and tls is None:
            tls = TlsFiles()
        self.timeout_s = timeout
        self._members = Members(parsed)
        self._transport = open_transport(transport, tls)
        credentials = Credentials(user, password) if user and password else None
        self._login = Login(self._transport, credentials)

    @property
    def endpoints(self) -> str:
        """All members, as errors name them."""
        return str(self._members)

    def range(
        self,
        key: bytes,
        end: bytes = b"",
        *,
        deadline: Deadline | None = None,
        limit: int = 0,
        revision: int = 0,
        keys_only: bool = False,
        count_only: bool = False,
        oldest_first: bool = False,
    ) -> RangeResult:
        """One key, or all from it up to `end`, at one moment; never an outdated value."""
        operation = op_range(
            key,
            end,
            limit=limit,
            revision=revision,
            keys_only=keys_only,
            count_only=count_only,
            oldest_first=oldest_first,
        )
        message = operation["request_range"]
        return range_result(self._ask("kv/range", message, f"reading {_shown(key)}", deadline))

    def put(
        self, key: bytes, value: bytes, *, lease: int = 0, deadline: Deadline | None = None
    ) -> int:
        """Set a key for good, or for as long as a lease; returns the revision.

        Not sent again after its answer was lost: that might undo later writes of others. A
        transaction with comparisons can be sent again.
        """
        message = op_put(key, value, lease=lease)["request_put"]
        return revision_of(
            self._ask("kv/put", message, f"writing {_shown(key)}", deadline, changes=True)
        )

    def delete(self, key: bytes, end: bytes = b"", *, deadline: Deadline | None = None) -> int:
        """Delete one key, or all from it up to `end`; returns how many there were. As `put`."""
        message = op_delete(key, end)["request_delete_range"]
        answer = self._ask(
            "kv/deleterange", message, f"deleting {_shown(key)}", deadline, changes=True
        )
        deleted: int = answer.get("deleted", 0)
        return deleted

    def txn(
        self,
        compare: Sequence[Message] = (),
        success: Sequence[Message] = (),
        failure: Sequence[Message] = (),
        *,
        what: str = "a transaction",
        deadline: Deadline | None = None,
        repeatable: bool = False,
    ) -> TxnResult:
        """Do `success` if all comparisons hold, else `failure`, atomically.

        what: names it in errors.
        repeatable: a second execution has no effect, because its comparisons fail. Only then is it
            sent again after an answer was lost.

        Raises ValueError for one that only reads; see `read`.
        """
        if all("request_range" in each for each in (*success, *failure)):
            raise ValueError(f"{what}: this transaction only reads; use EtcdClient.read")
        return self._txn(compare, success, failure, what, deadline, repeatable=repeatable)

    def read(
        self,
        ranges: Sequence[Message],
        *,
        revision: int = 0,
        what: str = "reading",
        deadline: Deadline | None = None,
    ) -> ReadResult:
        """Several `op_range`s as of one moment: that of the revision; 0: now.

        Three or more cost as much as a write, and the user must be allowed to write next to the
        first one's key. Raises EtcdRequestError (COMPACTED) for a revision that is gone.
        """
        if len(ranges) > _PLAIN_RANGES_MAX:
            return self._read_logged(ranges, revision, what, deadline)
        while True:
            at, found = revision, []
            try:
                for each in ranges:
                    message = _at(at, each)["request_range"]
                    found.append(range_result(self._ask("kv/range", message, what, deadline)))
                    at = at or found[0].revision
            except EtcdRequestError as error:
                # Between two ranges, history may be cut.
                if error.code != COMPACTED or revision:
                    raise
            else:
                return ReadResult(at, found)

    def _read_logged(
        self, ranges: Sequence[Message], revision: int, what: str, deadline: Deadline | None
    ) -> ReadResult:
        """In a transaction that might write, but does not.

        One that only reads stops a member of etcd 3.4 before 3.4.23, or of 3.5 before 3.5.7, with a
        panic when its client goes away halfway (etcd-io/etcd#14110, #14891). One that might write
        goes through the log, and is done whether its client is there or not.
        """
        first: bytes = ranges[0]["request_range"]["key"]
        never = [op_delete(first + b"\0")]
        pinned = [_at(revision, each) for each in ranges]
        result = self._txn([], pinned, never, what, deadline, repeatable=True, changes=False)
        found = [result.range(position) for position in range(len(ranges))]
        return ReadResult(revision or result.revision, found)

    def grant_lease(self, ttl_s: int, *, deadline: Deadline | None = None) -> tuple[int, int]:
        """A new lease, and the seconds it really has: at least `ttl_s`."""
        answer = self._ask(
            "lease/grant",
            {"TTL": ttl_s},
            f"granting a lease of {ttl_s} s",
            deadline,
            changes=True,
            repeatable=True,  # at worst, one that nobody uses runs out
        )
        return answer["ID"], answer["TTL"]

    def keep_lease(self, lease: int, *, deadline: Deadline | None = None) -> int:
        """Renew a lease; returns its seconds, 0 if the lease is gone."""
        answer = self._ask("lease/keepalive", {"ID": lease}, "renewing a lease", deadline)
        ttl_s: int = answer.get("TTL", 0)
        return ttl_s

    def lease_age(self, lease: int, *, deadline: Deadline | None = None) -> int | None:
        """Seconds, rounded up, since a lease was renewed; None if its time is over."""
        answer = self._ask("lease/timetolive", {"ID": lease}, "checking a lease", deadline)
        granted_s, left_s = answer.get("grantedTTL", 0), answer.get("TTL", 0)
        return None if left_s <= 0 else granted_s - left_s

    def lease_guards(self, lease: int, *, deadline: Deadline | None = None) -> bool:
        """Whether there is a key that has this lease."""
        request = {"ID": lease, "keys": True}
        answer = self._ask("lease/timetolive", request, "checking a lease", deadline)
        return bool(answer.get("keys"))

    def revoke_lease(self, lease: int, *, deadline: Deadline | None = None) -> None:
        """End a lease, and delete the keys that have it. A lease that is gone is not an error."""
        try:
            self._ask(
                "lease/revoke",
                {"ID": lease},
                "revoking a lease",
                deadline,
                changes=True,
                repeatable=True,
            )
        except EtcdRequestError as error:
            if error.code != NOT_FOUND:
                raise

    def ping(self, key: bytes, *, deadline: Deadline | None = None) -> None:
        """One read at the member whose turn it is, which is not tried again, nor elsewhere.

        Raises EtcdConnectionError when that does not answer, EtcdRequestError when it refuses.
        """
        message = op_range(key, count_only=True)["request_range"]
        self._ask("kv/range", message, f"reading {_shown(key)}", deadline, once=True)

    def watch(self, ranges: Sequence[tuple[bytes, bytes]], start_revision: int) -> Watch:
        """Writes to keys, or to ranges of keys up to an end, from a revision on.

        Start at one more than the revision of a read: nothing is missed between them. Raises
        ValueError for ranges that do not fit; see `fits_one_watch`.
        """
        if not self.fits_one_watch(ranges):
            raise ValueError(
                f"{len(ranges)} ranges are too long for one watch; watch one range that contains "
                "them"
            )
        return Watch(self._login, self._transport, self._members, ranges, start_revision)

    def fits_one_watch(self, ranges: Sequence[tuple[bytes, bytes]]) -> bool:
        """Whether one watch can take them: a single range, or few and short ones."""
        return len(ranges) == 1 or watch_bytes(ranges) <= self._transport.stream_bytes_max

    def deadline(self, seconds: float | None = None) -> Deadline:
        """This many seconds from now; None: the client's timeout."""
        return Deadline.after(self.timeout_s if seconds is None else seconds)

    def close(self) -> None:
        """Close this thread's connections. They come back when they are needed."""
        self._transport.close()

    def _txn(
        self,
        compare: Sequence[Message],
        success: Sequence[Message],
        failure: Sequence[Message],
        what: str,
        deadline: Deadline | None,
        *,
        repeatable: bool,
        changes: bool = True,
    ) -> TxnResult:
        message: Message = {
            "compare": list(compare),
            "success": list(success),
            "failure": list(failure),
        }
        answer = self._ask(
            "kv/txn", message, what, deadline, changes=changes, repeatable=repeatable
        )
        return TxnResult(
            answer.get("succeeded", False), revision_of(answer), answer.get("responses", [])
        )

    def _ask(
        self,
        method: str,
        message: Message,
        what: str,
        deadline: Deadline | None,
        *,
        changes: bool = False,
        repeatable: bool = False,
        once: bool = False,
    ) -> Message:
        def request(endpoint: Endpoint, attempt: Deadline) -> Message:
            return self._login.call(endpoint, method, message, attempt)

        return self._members.ask(
            request,
            what,
            deadline or self.deadline(),
            changes=changes,
            repeatable=repeatable,
            once=once,
        )


def _at(revision: int, operation: Message) -> Message:
    """An `op_range` as of that revision; 0: as it is."""
    if not revision:
        return operation
    return {"request_range": operation["request_range"] | {"revision": revision}}


def _shown(key: bytes) -> str:
    return repr(key[:120].decode("utf-8", "backslashreplace"))

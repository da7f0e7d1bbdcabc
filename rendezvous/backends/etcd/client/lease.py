"""The lease of a run's data: it lives as long as a node writes with it, and some time longer. A
node that finds it at a key of the run takes it over, so that a run has only one.

No thread renews it: a node that is about to write asks for it, and renews it when half of its time
is over. Any thread may use it, also after a fork; two that find it spent at once make two leases,
of which one runs out unused.
"""

from contextlib import suppress

from rendezvous._base.deadline import Deadline, now_s
from rendezvous._base.errors import StoreError
from rendezvous.backends.etcd.client.client import EtcdClient

__all__ = ["KeptLease"]

# etcd grants no less, whatever is asked for.
_TTL_S_MIN = 2


class KeptLease:
    """Granted when it is first needed and nobody else's is known, and anew when the cluster forgot
    it.

    What was written outlives its writer: revoked is only a lease with which nothing was written.

    Args:
        ttl_s: whole seconds without a renewal after which its keys are deleted, at the earliest.
    """

    def __init__(self, client: EtcdClient, ttl_s: int) -> None:
        self._client = client
        self.ttl_s = max(ttl_s, _TTL_S_MIN)
        # With the time of its last renewal; replaced as one, as any thread may.
        self._held = (0, 0.0)
        # Granted here, and so far lent once.
        self._lent_once: set[int] = set()

    @property
    def current(self) -> int:
        """The lease as it is; 0: none is known."""
        return self._held[0]

    def get(self, deadline: Deadline) -> int:
        """The lease to write with, of which at least half the time is left."""
        lease = self.renew(deadline)
        if lease:
            return lease
        begin_s = now_s()
        lease, _ = self._client.grant_lease(self.ttl_s, deadline=deadline)
        self._lent_once.add(lease)
        self._held = (lease, begin_s)
        return lease

    def renew(self, deadline: Deadline) -> int:
        """As `get`; 0: none is known, or it is gone, or another one's has less time."""
        while True:
            lease, renewed_s = self._held
            self._lent_once.discard(lease)
            # Else another thread gives it back at this moment; it forgets the lease first.
            if self.current == lease:
                break
        if not lease or now_s() - renewed_s < self.ttl_s / 2:
            return lease
        begin_s = now_s()
        if self._client.keep_lease(lease, deadline=deadline) < self.ttl_s:
            self.forget(lease)
            return 0
        if self.current == lease:
            self._held = (lease, begin_s)
        return lease

    def adopt(self, lease: int) -> None:
        """Use the one that a key of the run has, unless one is known. 0: it has none."""
        if lease and not self.current:
            self._held = (lease, -self.ttl_s)  # how much of its time is left, is not known

    def give_back(self, lease: int, deadline: Deadline) -> None:
        """What was to be written with it was refused. Best effort: it runs out in any case.

        Revoked only if it never guarded anything: another one may have taken over what did.
        """
        if lease not in self._lent_once:
            return
        self.forget(lease)
        try:
            self._lent_once.remove(lease)
        except KeyError:
            return  # lent again meanwhile
        with suppress(StoreError):
            # An attempt whose answer did not come may have written.
            if not self._client.lease_guards(lease, deadline=deadline):
                self._client.revoke_lease(lease, deadline=deadline)

    def forget(self, lease: int) -> None:
        """The cluster does not know it."""
        if self.current == lease:
            self._held = (0, 0.0)

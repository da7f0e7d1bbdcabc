"""A lease that lives as long as somebody writes with it, and some time longer.

No thread renews it: whoever is about to write asks for it, and when half of its time is spent it is
renewed on the way. Any thread may use it, also after a fork; two that find it spent at once make
two leases, of which one runs out unused.
"""

from rendezvous._deadline import Deadline, now_s
from rendezvous.backends.etcd.client import EtcdClient

__all__ = ["KeptLease"]

# etcd grants no less, whatever is asked for.
_TTL_S_MIN = 2


class KeptLease:
    """Granted when it is first needed, and anew when the cluster forgot it.

    Never revoked: what was written shall outlive its writer.

    Args:
        ttl_s: whole seconds without a renewal after which its keys are deleted, at the earliest.
    """

    def __init__(self, client: EtcdClient, ttl_s: int) -> None:
        self._client = client
        self.ttl_s = max(ttl_s, _TTL_S_MIN)
        self._lease = 0
        self._renewed_s = 0.0

    def get(self, deadline: Deadline) -> int:
        """The lease to write with, of which at least half the time is left."""
        lease = self._lease
        if lease and now_s() - self._renewed_s < self.ttl_s / 2:
            return lease
        begin_s = now_s()
        if not lease or self._client.keep_lease(lease, deadline=deadline) == 0:
            lease, _ = self._client.grant_lease(self.ttl_s, deadline=deadline)
        self._lease, self._renewed_s = lease, begin_s
        return lease

    def forget(self, lease: int) -> None:
        """The cluster does not know it."""
        if self._lease == lease:
            self._lease = 0

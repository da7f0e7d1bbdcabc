"""A key space for each round, in whatever store the run has.

Keys of one round must not be seen in the next: old communicator ids and addresses would be taken
for new ones.
"""

from rendezvous._prefix_store import PrefixStore
from rendezvous.api import KeyValueStore

__all__ = ["round_store"]


def round_store(store: KeyValueStore, run_id: str, round_number: int) -> KeyValueStore:
    """The part of `store` that belongs to one round of one run."""
    return PrefixStore(f"torch.rendezvous.{run_id}.{round_number}", store)

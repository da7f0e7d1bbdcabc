"""A put by the gRPC client, to a server that answers as a test wants it to."""

from __future__ import annotations

import pytest

from rendezvous._base.deadline import Deadline
from rendezvous.backends.etcd import EtcdClient
from rendezvous.errors import StoreError
from support.http2 import Request, StrictServer

# A header whose revision is 7: the answer to a put.
WRITTEN = b"\x0a\x02\x18\x07"


def succeed(request: Request) -> None:
    request.answer(WRITTEN)


def put(server: StrictServer, value: bytes = b"v") -> int:
    client = EtcdClient(server.endpoint)
    try:
        return client.put(b"k", value, deadline=Deadline.after(60))
    finally:
        client.close()


def failure(server: StrictServer) -> StoreError:
    with pytest.raises(StoreError) as caught:
        put(server)
    return caught.value


def is_ambiguous(error: StoreError) -> bool:
    return bool(getattr(error, "ambiguous"))  # noqa: B009  (both kinds have it)

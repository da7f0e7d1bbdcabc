"""Which transport an etcd client has, with and without the library that gRPC needs."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys

import pytest

from rendezvous.backends.etcd import EtcdClient
from rendezvous.backends.etcd.transport import open_transport
from rendezvous.backends.etcd.transport.gateway import GatewayTransport
from rendezvous.backends.etcd.transport.grpc import GrpcTransport


@pytest.fixture
def without_h2(monkeypatch: pytest.MonkeyPatch) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "h2" else find(name)
    )


def test_it_is_grpc_where_h2_is_installed() -> None:
    assert isinstance(open_transport(None, None), GrpcTransport)
    assert isinstance(open_transport("grpc", None), GrpcTransport)
    assert isinstance(open_transport("gateway", None), GatewayTransport)


@pytest.mark.usefixtures("without_h2")
def test_it_is_the_gateway_where_h2_is_not_installed() -> None:
    assert isinstance(open_transport(None, None), GatewayTransport)


@pytest.mark.usefixtures("without_h2")
def test_grpc_without_h2_says_what_to_install() -> None:
    with pytest.raises(ValueError, match=r"pip install 'rendezvous-store\[etcd\]'"):
        EtcdClient("127.0.0.1:1", transport="grpc")


def test_another_name_is_refused() -> None:
    with pytest.raises(ValueError, match=r"transport is 'http'; use 'grpc', or 'gateway'"):
        EtcdClient("127.0.0.1:1", transport="http")


@pytest.mark.parametrize(("transport", "is_loaded"), [("grpc", True), ("gateway", False)])
def test_h2_is_loaded_only_where_it_is_used(transport: str, is_loaded: bool) -> None:
    """It costs more than the rest of the client."""
    script = (
        "import json, sys\n"
        "from rendezvous.backends.etcd import EtcdClient\n"
        "before = 'h2' in sys.modules\n"
        f"EtcdClient('127.0.0.1:1', transport={transport!r})\n"
        "print(json.dumps([before, 'h2' in sys.modules]))\n"
    )
    output = subprocess.check_output([sys.executable, "-c", script], text=True, cwd="/")
    assert json.loads(output) == [False, is_loaded]

"""How the members of a cluster are written."""

from __future__ import annotations

import pytest

from rendezvous.backends.etcd.transport.endpoints import parse_endpoints


@pytest.mark.parametrize(
    ("text", "found", "secure"),
    [
        ("", ["localhost:2379"], None),
        ("a", ["a:2379"], None),
        ("a:1,b, c:3", ["a:1", "b:2379", "c:3"], None),
        ("etcd://a,b:2,c", ["a:2379", "b:2", "c:2379"], None),
        ("http://a/", ["a:2379"], False),
        ("https://a:1,https://b:2", ["a:1", "b:2"], True),
        ("etcds://[fd00::5],[::1]:7", ["[fd00::5]:2379", "[::1]:7"], True),
        ("a,a:2379,b", ["a:2379", "b:2379"], None),
    ],
)
def test_endpoints_are_read(text: str, found: list[str], secure: bool | None) -> None:
    """Ports have a default; a scheme before the first counts for all; none is named twice."""
    endpoints, said = parse_endpoints(text)
    assert list(map(str, endpoints)) == found
    assert said is secure


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("a,,b", "an empty one"),
        ("http://a,https://b", "mix schemes"),
        ("ftp://a", "scheme 'ftp'"),
        ("a:0", "port 0"),
        ("a:65536", "is not between 0 and 65535"),
        ("fd00::5", "brackets"),
    ],
)
def test_what_is_no_endpoint_is_refused(text: str, what: str) -> None:
    """The error says what is wrong with it."""
    with pytest.raises(ValueError, match=what):
        parse_endpoints(text)


def test_a_list_is_taken_as_well() -> None:
    """As a program has it."""
    endpoints, _ = parse_endpoints(["a", "b:1"])
    assert list(map(str, endpoints)) == ["a:2379", "b:1"]

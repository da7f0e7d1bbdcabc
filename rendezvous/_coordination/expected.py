"""Nodes that a launcher expects: which of them are missing, and how far each one got.

Finds out addresses of names on a thread of its own, as a name server may take long. Knows no rule.
"""

import ipaddress
import socket
import threading
from collections.abc import Iterable, Mapping
from contextlib import suppress

from rendezvous import _core
from rendezvous._base.host_names import join_names

__all__ = ["UNKNOWN", "Expected"]

UNKNOWN = "did not join"
_HOW = {
    "never": "never connected",
    "was": "connected once, and did not join",
    "is": "connected, and did not join",
    "lost": "joined, and was lost",
    "": UNKNOWN,
}


class Expected:
    """Of one node's run.

    Args:
        names: host names or addresses.
        count: how many nodes are expected; more than there are names where only a number is known.
    """

    def __init__(self, names: Iterable[str] = (), count: int = 0) -> None:
        self.names = tuple(dict.fromkeys(names))
        self.count = max(count, len(self.names))
        self._addresses: dict[str, frozenset[str]] = {
            name: frozenset({name}) for name in self.names if _is_address(name)
        }
        self._is_asked = False

    def __bool__(self) -> bool:
        return self.count > 0

    def find_addresses(self, within_s: float = 0.0) -> None:
        """Begin to look the names up, and wait so long for the end of it.

        What is not known in time plays no part.
        """
        unknown = [name for name in self.names if name not in self._addresses]
        if self._is_asked or not unknown:
            return
        self._is_asked = True

        def look_up() -> None:
            for name in unknown:
                with suppress(OSError, UnicodeError):
                    found = socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)
                    self._addresses[name] = frozenset(str(each[4][0]) for each in found)

        thread = threading.Thread(target=look_up, name="rendezvous-expected", daemon=True)
        thread.start()
        if within_s > 0:
            thread.join(within_s)

    def missing(self, present: Iterable[_core.Node]) -> list[str]:
        """The names of those that are none of these nodes."""
        addresses = {node.addr for node in present}
        shorts = {_short(addr) for addr in addresses}
        return [
            name
            for name in self.names
            if name not in addresses
            and _short(name) not in shorts
            and not self._addresses.get(name, frozenset()) & addresses
        ]

    def addresses(self, names: Iterable[str]) -> list[str]:
        """Those that are known by now, for the server to say who has connected."""
        return sorted({addr for name in names for addr in self._addresses.get(name, frozenset())})

    def text(
        self,
        present: Iterable[_core.Node],
        count: int,
        lost: Iterable[_core.Node],
        hosts: Mapping[str, str],
    ) -> str:
        """Who is missing, and how far each one got; empty if nobody is.

        Args:
            present: those that joined, as far as they are named; count: how many they are.
            hosts: of addresses, whether a connection from there `is` there, `was`, or `never` was.
        """
        present = list(present)
        if not self.names or count > len(present):
            left = self.count - count
            return f"{left} of {self.count} expected nodes are missing" if left > 0 else ""
        missing = self.missing(present)
        if not missing:
            return ""
        each = [
            f"{join_names(names)} ({how})"
            for how, names in self.missing_by_how(present, lost, hosts).items()
        ]
        return f"missing of the expected nodes: {', '.join(each)}"

    def missing_by_how(
        self,
        present: Iterable[_core.Node],
        lost: Iterable[_core.Node],
        hosts: Mapping[str, str],
    ) -> dict[str, list[str]]:
        """The names of those that are missing, by how far they got, in words."""
        found: dict[str, list[str]] = {}
        missing = self.missing(present)
        back = set(self.missing(lost))
        for name in missing:
            how = _HOW[self._how(name, hosts) if name in back else "lost"]
            found.setdefault(how, []).append(name)
        return found

    def _how(self, name: str, hosts: Mapping[str, str]) -> str:
        ways = {hosts.get(address, "") for address in self._addresses.get(name, frozenset())}
        return next((way for way in ("is", "was", "never") if way in ways), "")


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def _short(name: str) -> str:
    return name if _is_address(name) else name.partition(".")[0].lower()

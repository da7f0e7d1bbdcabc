"""Run by tests where only a wheel is installed: Python's OpenSSL and the wheel's in one process,
each of which shakes hands before, between and after the other.

Prints the versions of both. Python's libraries are open to all that is loaded later, as some
programs and launchers load them: a name that the wheel left open would be taken from there.
"""

from __future__ import annotations

import ctypes
import re
import ssl
from pathlib import Path

TOKEN = "0123456789abcdef0123456789abcdef"


def shake_hands_in_python() -> str:
    """Without certificates, which nothing here could make."""
    sides = []
    for protocol in (ssl.PROTOCOL_TLS_CLIENT, ssl.PROTOCOL_TLS_SERVER):
        context = ssl.SSLContext(protocol)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        context.set_ciphers("AECDH-AES128-SHA:@SECLEVEL=0")
        sides.append(context)
    there, back = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = sides[0].wrap_bio(back, there)
    server = sides[1].wrap_bio(there, back, server_side=True)
    for _ in range(10):
        for side in (client, server):
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                continue
    client.write(b"hello")
    assert server.read() == b"hello"
    cipher = client.cipher()
    assert cipher is not None
    return cipher[0]


def open_to_all() -> int:
    """Python's OpenSSL, where it is a library of its own; how many of its libraries there are."""
    maps = Path("/proc/self/maps").read_text()
    found = set(re.findall(r"/\S*/lib(?:ssl|crypto)[^/\s]*\.so\S*", maps))
    for library in found:
        ctypes.CDLL(library, ctypes.RTLD_GLOBAL)
    return len(found)


def shake_hands_in_rendezvous() -> str:
    import rendezvous

    with rendezvous.Server(token=TOKEN) as server:
        store = rendezvous.TCPStore("127.0.0.1", server.port, token=TOKEN)
        store.set("key", b"value")
        assert store.get("key") == b"value"
        store.close()
        try:
            rendezvous.TCPStore("127.0.0.1", server.port, token=TOKEN[::-1])
        except rendezvous.StoreRefusedError:
            pass
        else:
            raise AssertionError("a wrong token was taken")
    return rendezvous._core.tls_library()


def main() -> None:
    shake_hands_in_python()
    libraries = open_to_all()
    version = shake_hands_in_rendezvous()
    shake_hands_in_python()
    assert shake_hands_in_rendezvous() == version
    print(f"{version}; Python's: {ssl.OPENSSL_VERSION}, in {libraries} libraries")


if __name__ == "__main__":
    main()

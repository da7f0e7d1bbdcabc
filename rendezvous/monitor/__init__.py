"""What a store server of this process knows, for browsers, Prometheus and probes: over HTTP.

    with rendezvous.Server("0.0.0.0", 29400) as server, Monitor(server, "127.0.0.1:9109"):
        ...

It asks the server as its owner does, in memory, and needs no token of the store. Nothing of it runs
on the server's thread but the questions, of which there are few, however many browsers look.
"""

from rendezvous.monitor.access import MonitorSecurity
from rendezvous.monitor.monitor import DEFAULT_HTTP_PORT, Monitor, place_of

__all__ = ["DEFAULT_HTTP_PORT", "Monitor", "MonitorSecurity", "place_of"]

"""Every error this package raises, as one tree. Imports nothing of ours; the core raises these too.

RendezvousError
├── RendezvousClosedError            the run takes no more nodes
│   ├── RendezvousFinishedError      the others finished the job while this node waited
│   └── RendezvousFailedError        nodes gave up for good, and those left are too few
├── RendezvousTimeoutError           (TimeoutError) too few nodes joined in time; says who did
├── RendezvousConnectionError        (ConnectionError) the backend cannot be reached
├── RendezvousStateError             what is stored is no state, or has other settings
├── RendezvousGracefulExitError      this node was asked to leave; nothing is wrong
└── StoreError                       (RuntimeError) any failure of a store operation
    ├── StoreTimeoutError            (TimeoutError) the deadline passed first
    │   ├── StoreKeysMissingError    what was waited for is not there; names keys or ranks
    │   └── StoreNoAnswerError       no answer came; whether a write took place is not known
    ├── StoreConnectionError         (ConnectionError) no connection, or a broken one
    │   ├── StoreAddressInUseError   somebody else listens on the port that was to be served
    │   ├── StoreRestartedError      the server came back without the data it had
    │   └── StoreProtocolError       the peer is no store, or broke the protocol
    ├── StoreValueError              (ValueError) a bad argument; `add` on what is no number
    │   └── StoreLimitError          a key, a value or a request is larger than the limits allow
    ├── QueueEmptyError              nothing to pop, and the caller does not wait
    ├── StoreUnsupportedError        this store does not know the operation
    └── StoreClosedError             the store was closed by its owner

The built-in class in parentheses is a base as well, so that `except TimeoutError` and torch users'
`except RuntimeError` (for stores) catch what they should.
"""

from collections.abc import Sequence

__all__ = [
    "QueueEmptyError",
    "RendezvousClosedError",
    "RendezvousConnectionError",
    "RendezvousError",
    "RendezvousFailedError",
    "RendezvousFinishedError",
    "RendezvousGracefulExitError",
    "RendezvousStateError",
    "RendezvousTimeoutError",
    "StoreAddressInUseError",
    "StoreClosedError",
    "StoreConnectionError",
    "StoreError",
    "StoreKeysMissingError",
    "StoreLimitError",
    "StoreNoAnswerError",
    "StoreProtocolError",
    "StoreRestartedError",
    "StoreTimeoutError",
    "StoreUnsupportedError",
    "StoreValueError",
]


class RendezvousError(Exception):
    """The root of all that this package raises on purpose, bad arguments (ValueError) aside."""


class RendezvousClosedError(RendezvousError):
    """No more nodes are taken: somebody closed the run, or its job is over."""


class RendezvousFinishedError(RendezvousClosedError):
    """The others finished the job while this node waited for a place, as a spare or a late joiner.

    Nothing is wrong and nothing is left to do: what a launcher would report as success.
    """


class RendezvousFailedError(RendezvousClosedError):
    """Nodes gave up for good, and fewer than min_nodes are left: nobody waits for others any more.

    The message names the node that gave up first, with its exit code, the time and its last line.
    """


class RendezvousTimeoutError(RendezvousError, TimeoutError):
    """A rendezvous did not complete in time.

    Attributes, all known to the node that gave up:
        joined: the nodes that had joined, as text ("hostA (pid 12)"), this node included if it had.
        lost: nodes that stopped sending heartbeats since the last round completed.
        missing: names of expected nodes that had not joined (RendezvousRules.expect).
        min_nodes, max_nodes: how many nodes were asked for; 0 when the error is not about a count.
    """

    def __init__(
        self,
        *args: object,
        joined: Sequence[str] = (),
        lost: Sequence[str] = (),
        missing: Sequence[str] = (),
        min_nodes: int = 0,
        max_nodes: int = 0,
    ) -> None:
        super().__init__(*args)
        self.joined = list(joined)
        self.lost = list(lost)
        self.missing = list(missing)
        self.min_nodes = min_nodes
        self.max_nodes = max_nodes


class RendezvousConnectionError(RendezvousError, ConnectionError):
    """The backend could not be reached. What the backend itself raised is the cause."""


class RendezvousStateError(RendezvousError):
    """What is stored for the run is no rendezvous state, or was made with other settings."""


class RendezvousGracefulExitError(RendezvousError):
    """This node shall leave the job, although nothing failed."""


class StoreError(RendezvousError, RuntimeError):
    """A store operation failed. The message names the operation, the key and the endpoint."""


class StoreTimeoutError(StoreError, TimeoutError):
    """A store operation's deadline passed. The message contains the word "timeout".

    Nearly always one of the two below, which mean opposite things: the store said that something is
    not there, or it said nothing.
    """


class StoreKeysMissingError(StoreTimeoutError):
    """The store answered: what was waited for is not there.

    Attributes, of which each names at most the first 1,024:
        keys: the keys, as the store's user knows them, that have no value (or no item, for a queue;
            no other version, for `watch`); for a barrier or an exchange, its key. What is no UTF-8
            is in surrogate escapes, as `list_keys` has it.
        ranks: the ranks that have not come to a barrier or an exchange; empty for all else.
    """

    def __init__(self, *args: object, keys: Sequence[str] = (), ranks: Sequence[int] = ()) -> None:
        super().__init__(*args)
        self.keys = list(keys)
        self.ranks = list(ranks)


class StoreNoAnswerError(StoreTimeoutError):
    """No answer came in time: the server is stopped, overloaded or cut off, or a file is locked.

    Nothing is known: a key may be there, and a write may have taken place, or take place yet.
    """


class StoreConnectionError(StoreError, ConnectionError):
    """The store's server cannot be reached, or the connection broke."""


class StoreAddressInUseError(StoreConnectionError):
    """The port that was to be served is taken; the message names its holder where it can."""


class StoreRestartedError(StoreConnectionError):
    """The server is back, but without the data it had: what was written before is gone."""


class StoreProtocolError(StoreConnectionError):
    """The peer is no store, or sent bytes that the protocol does not allow."""


class StoreValueError(StoreError, ValueError):
    """An argument is not valid, or `add` met a value that is no number."""


class StoreLimitError(StoreValueError):
    """A key, a value or a request is larger than the limits allow."""


class QueueEmptyError(StoreError):
    """The queue has no item, and the caller asked not to wait for one."""


class StoreUnsupportedError(StoreError):
    """This store, or the server it talks to, does not know the operation."""


class StoreClosedError(StoreError):
    """The store was used after it had been closed."""


# As users know them: in tracebacks, in pickles and in help().
for _name in __all__:
    if isinstance(globals()[_name], type):
        globals()[_name].__module__ = "rendezvous.errors"

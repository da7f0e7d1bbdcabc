"""Every error this package raises, as one tree. Imports no other module; the core raises these too.

RendezvousError
├── RendezvousClosedError            no more nodes can join the run
│   ├── RendezvousFinishedError      the others finished the job while this node waited
│   └── RendezvousFailedError        it has failed for good: do not restart it
├── RendezvousTimeoutError           (TimeoutError) too few nodes joined in time; names them
├── RendezvousConnectionError        (ConnectionError) the backend cannot be reached
├── RendezvousStateError             the stored state is invalid, or has other settings
├── RendezvousUnhealthyError         this node's health check has failed
├── RendezvousGracefulExitError      this node was asked to leave; nothing is wrong
└── StoreError                       (RuntimeError) any failure of a store operation
    ├── StoreTimeoutError            (TimeoutError) the deadline passed first
    │   ├── StoreKeysMissingError    the awaited keys or ranks are not there; names them
    │   └── StoreNoAnswerError       no answer came; a write may have taken place
    ├── StoreConnectionError         (ConnectionError) no connection, or a broken one
    │   ├── StoreAddressInUseError   another process already listens on the port
    │   ├── StoreRestartedError      the server was restarted and lost its data
    │   ├── StoreProtocolError       the peer is not a store, or broke the protocol
    │   └── StoreRefusedError        one side does not take the other's token
    ├── StoreValueError              (ValueError) a bad argument; `add` to a non-numeric value
    │   └── StoreLimitError          a key, a value or a request is larger than the limits allow
    ├── QueueEmptyError              the queue is empty, and the caller does not wait
    ├── StoreUnsupportedError        this store does not support the operation
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
    "RendezvousUnhealthyError",
    "StoreAddressInUseError",
    "StoreClosedError",
    "StoreConnectionError",
    "StoreError",
    "StoreKeysMissingError",
    "StoreLimitError",
    "StoreNoAnswerError",
    "StoreProtocolError",
    "StoreRefusedError",
    "StoreRestartedError",
    "StoreTimeoutError",
    "StoreUnsupportedError",
    "StoreValueError",
]


class RendezvousError(Exception):
    """The base of all errors that this package raises, except for bad arguments (ValueError)."""


class RendezvousClosedError(RendezvousError):
    """No more nodes can join: the run was closed, or its job is over."""


class RendezvousFinishedError(RendezvousClosedError):
    """The others finished the job while this node waited for a place, as a spare or a late joiner.

    Nothing is wrong, and nothing is left to do: a launcher should report success.
    """


class RendezvousFailedError(RendezvousClosedError):
    """The run has failed for good, and to start its nodes again is of no use.

    Either nodes gave up, and fewer than min_nodes are left: then the message names the node that
    gave up first, with its exit code, the time and its last line. Or somebody has said not to
    restart it (`rendezvous close --do-not-restart`, `set_closed(do_not_restart=True)`, a command
    that ended with exit code 93): then it has the reason. An ordinary close raises
    RendezvousClosedError.
    """


class RendezvousTimeoutError(RendezvousError, TimeoutError):
    """A rendezvous did not complete in time.

    Attributes, all known to the node that gave up:
        joined: the nodes that had joined, as text ("hostA (pid 12)"), this node included if it had.
        lost: nodes that stopped sending heartbeats since the last round was complete.
        missing: names of expected nodes that had not joined (RendezvousRules.expect).
        min_nodes, max_nodes: how many nodes were asked for; 0 when the error is not about a count.
        excluded: nodes whose health checks have failed, each with its reason.
    """

    def __init__(
        self,
        *args: object,
        joined: Sequence[str] = (),
        lost: Sequence[str] = (),
        missing: Sequence[str] = (),
        min_nodes: int = 0,
        max_nodes: int = 0,
        excluded: Sequence[str] = (),
    ) -> None:
        super().__init__(*args)
        self.joined = list(joined)
        self.lost = list(lost)
        self.missing = list(missing)
        self.min_nodes = min_nodes
        self.max_nodes = max_nodes
        self.excluded = list(excluded)


class RendezvousConnectionError(RendezvousError, ConnectionError):
    """The backend could not be reached. What the backend itself raised is the cause."""


class RendezvousStateError(RendezvousError):
    """The stored value of the run is not a rendezvous state, or has other settings."""


class RendezvousUnhealthyError(RendezvousError):
    """This node's health check has failed, so it does not take part.

    A health check that is a callable may raise it, too.

    Attributes:
        reason: what the check says, as the other nodes are told.
        do_not_restart: whether the whole run has failed by that, for good.
    """

    def __init__(self, *args: object, reason: str = "", do_not_restart: bool = False) -> None:
        super().__init__(*args)
        self.reason = reason
        self.do_not_restart = do_not_restart


class RendezvousGracefulExitError(RendezvousError):
    """This node was asked to leave the job, although nothing failed."""


class StoreError(RendezvousError, RuntimeError):
    """A store operation failed. The message names the operation, the key and the endpoint."""


class StoreTimeoutError(StoreError, TimeoutError):
    """A store operation's deadline passed. The message contains the word "timeout".

    Nearly always one of the two subclasses, which mean opposite things: the store answered that
    something is not there, or it did not answer.
    """


class StoreKeysMissingError(StoreTimeoutError):
    """The store answered that the awaited keys or ranks are not there.

    Attributes, of which each names at most the first 1,024:
        keys: the keys, as the store's user knows them, that have no value (or no item, for a queue;
            no other version, for `watch`); for a barrier or an exchange, its key. Bytes that are
            not UTF-8 are surrogate escapes, as in `list_keys`.
        ranks: the ranks that have not arrived at a barrier or an exchange; otherwise empty.
    """

    def __init__(self, *args: object, keys: Sequence[str] = (), ranks: Sequence[int] = ()) -> None:
        super().__init__(*args)
        self.keys = list(keys)
        self.ranks = list(ranks)


class StoreNoAnswerError(StoreTimeoutError):
    """No answer came in time: the server is stopped, overloaded or cut off, or a file is locked.

    The outcome is unknown: the key may be there, and a write may have happened or still happen.
    """


class StoreConnectionError(StoreError, ConnectionError):
    """The store's server cannot be reached, or the connection broke."""


class StoreAddressInUseError(StoreConnectionError):
    """The port to serve is in use; if possible, the message names the process that has it."""


class StoreRestartedError(StoreConnectionError):
    """The server was restarted and has lost its data: earlier writes are gone."""


class StoreProtocolError(StoreConnectionError):
    """The peer is not a store, or sent bytes that the protocol does not allow."""


class StoreRefusedError(StoreConnectionError):
    """One side does not take the other's token or certificate; the message says what to set."""


class StoreValueError(StoreError, ValueError):
    """An argument is invalid, or `add` met a value that is not a number."""


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

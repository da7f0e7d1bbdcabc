"""One HTTP/2 connection to one member, for one request at a time. Used by the thread that made it.

HTTP/2 itself is h2's, without its multiplexing: a connection costs a thread nothing, and a request
that waits holds up nobody. Owns what must come by a deadline, and what the end of a connection
means for the request on it. Knows nothing of what headers and bodies mean.
"""

import ssl
from typing import Any

from h2.config import H2Configuration
from h2.connection import ConnectionInputs, H2Connection, H2ConnectionStateMachine
from h2.errors import ErrorCodes
from h2.events import (
    ConnectionTerminated,
    DataReceived,
    Event,
    InformationalResponseReceived,
    ResponseReceived,
    StreamEnded,
    StreamReset,
    TrailersReceived,
)
from h2.exceptions import H2Error, NoAvailableStreamIDError
from h2.settings import SettingCodes, Settings

from rendezvous._base.deadline import Deadline
from rendezvous.backends.etcd.transport.endpoints import Endpoint
from rendezvous.backends.etcd.transport.errors import TransportError
from rendezvous.backends.etcd.transport.line import Line, ended, lost

__all__ = ["Connection", "Headers"]

_RECEIVE_BYTES = 262_144
# As large as can be: what limits a member is how fast we read.
_WINDOW_BYTES = 2**31 - 1
_BLOCKS_MAX = 8  # two, and some that say that the answer takes time
_READS_BETWEEN_MAX = 64  # of what nobody asked for, before another connection is made
_DATA_BYTES_MAX = 1024 * 1024 * 1024  # more than any answer that is of use to anyone

Headers = list[tuple[bytes, bytes]]


class Connection:
    """Connects at once. Raises TransportError, also from its methods; it is of no use then.

    Attributes:
        headers: blocks of the answer to the current request: at its begin, and at its end.
        data: what has come of the answer's body; whoever reads it takes it away.
        is_answered: whether the answer is whole.
    """

    def __init__(
        self, endpoint: Endpoint, context: ssl.SSLContext | None, deadline: Deadline
    ) -> None:
        self._line = Line(endpoint, context, deadline)
        self._h2 = _greeting()
        self._has_greeted = False
        self._begin = b""  # what came first, for the message about something that is no HTTP/2
        self._is_going = False
        # What came behind what was read last, and cannot be read.
        self._failure: TransportError | None = None
        self._stream = 0
        self._request_is_sent = False
        self.headers: list[Headers] = []
        self.data = bytearray()
        self.is_answered = True

    @property
    def is_usable(self) -> bool:
        """Whether another request may be sent. Reads what came in between."""
        try:
            for _ in range(_READS_BETWEEN_MAX):
                is_open = self.is_answered and not self._is_going
                if not is_open or self._line.is_quiet:
                    return is_open
                data = self._line.receive_by(_RECEIVE_BYTES, Deadline.after(0))
                if data is None:
                    return is_open
                if not data:
                    return False
                self._take(data)
        except (OSError, TransportError):
            pass
        return False

    def request(self, headers: Headers, body: bytes, deadline: Deadline, *, ends: bool) -> None:
        """Send a request, and nothing more of it if that `ends` it. Nothing of an empty body."""
        self.headers, self.data, self.is_answered = [], bytearray(), False
        self._request_is_sent, self._stream = False, 0
        self._wait_for_a_stream(deadline)
        try:
            self._stream = self._h2.get_next_available_stream_id()
            self._h2.send_headers(self._stream, headers)
        except NoAvailableStreamIDError as error:
            raise TransportError("the connection has no stream left", sent=False) from error
        except H2Error as error:
            raise TransportError(f"HTTP/2 refuses it: {error}", sent=False, fatal=True) from error
        position = 0
        while position < len(body) and not self.is_answered:
            room = self._room()
            if room <= 0:
                # A member that does not want the rest answers before it has everything.
                if not self.receive(deadline):
                    raise TransportError("no answer to sending in time", sent=False)
                continue
            piece = body[position : position + room]
            position += len(piece)
            self._h2.send_data(self._stream, piece, end_stream=ends and position == len(body))
        # A member takes whole frames only: if this fails, it has no whole request.
        self._flush(deadline)
        self._request_is_sent = position == len(body)
        if not self._request_is_sent:
            self._is_going = True

    def receive(self, deadline: Deadline) -> bool:
        """Wait for more of the answer; False when the deadline passes first.

        What came last is taken then, too: a member that never pauses moves no deadline.
        """
        if self._failure is not None:
            raise self._failure
        self._flush(deadline)
        try:
            data = self._line.receive_by(_RECEIVE_BYTES, deadline)
        except OSError as error:
            raise lost(error) from error
        if data is None:
            return False
        if not data:
            if self._has_greeted:
                raise self._broken("it closed the connection")
            raise self._stranger() if self._begin else ended()
        self._take(data)
        return self.is_answered or self._failure is not None or not deadline.is_over

    def interrupt(self) -> None:
        """From any thread: `receive` ends at once."""
        self._line.shut_down()

    def close(self) -> None:
        """May be called again."""
        self._line.close()

    def _wait_for_a_stream(self, deadline: Deadline) -> None:
        """A member may take no requests for a while, and say so."""
        while self._h2.open_outbound_streams >= self._h2.remote_settings.max_concurrent_streams:
            if self._is_going:
                raise TransportError("it is going away", sent=False)
            if not self.receive(deadline):
                raise self._refused()

    def _refused(self) -> TransportError:
        text = "it refused the request"
        if self._h2.remote_settings.max_concurrent_streams == 0:
            text = (
                "it accepts no requests at the moment (its HTTP/2 setting MAX_CONCURRENT_STREAMS "
                "is 0); check the member, or the proxy in front of it"
            )
        return TransportError(text, sent=False)

    def _room(self) -> int:
        """How much of a body may be sent now, in one piece."""
        window = self._h2.local_flow_control_window(self._stream)
        return min(window, self._h2.max_outbound_frame_size)

    def _flush(self, deadline: Deadline) -> None:
        unsent = self._h2.data_to_send()
        if unsent:
            self._line.send(unsent, deadline)

    def _take(self, data: bytes) -> None:
        if not self._has_greeted:
            self._begin += data
            if _is_of_another_protocol(self._begin):
                raise self._stranger()
        failure: H2Error | None = None
        try:
            self._h2.receive_data(data)
        except H2Error as error:
            failure = error
        events = self._h2.take_events()
        if events:
            self._has_greeted, self._begin = True, b""
        for event in events:
            self._take_event(event)
        if failure is None:
            return
        if not self._has_greeted:
            raise self._stranger() from failure
        # What came before it counts: it may be the whole answer.
        self._is_going = True
        self._failure = self._broken(f"its HTTP/2 is malformed: {failure}")

    def _take_event(self, event: Event) -> None:
        if isinstance(event, DataReceived):
            self._h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            if self._is_awaited(event.stream_id):
                self.data += event.data
                if len(self.data) > _DATA_BYTES_MAX:
                    raise self._broken(f"its answer has more than {_DATA_BYTES_MAX} bytes")
        elif isinstance(event, ResponseReceived | InformationalResponseReceived | TrailersReceived):
            if self._is_awaited(event.stream_id):
                if len(self.headers) >= _BLOCKS_MAX:
                    raise self._broken("it keeps sending headers")
                self.headers.append(event.headers)
        elif isinstance(event, StreamEnded):
            self.is_answered = self.is_answered or event.stream_id == self._stream
        elif isinstance(event, StreamReset) and self._is_awaited(event.stream_id):
            if event.error_code == ErrorCodes.REFUSED_STREAM:
                raise self._refused()
            raise self._broken(f"it ended the request (HTTP/2 error {int(event.error_code)})")
        elif isinstance(event, ConnectionTerminated):
            self._is_going = True
            if self._stream > (event.last_stream_id or 0) and not self.is_answered:
                # It says that it has not looked at this request, and will not.
                code = int(event.error_code or 0)
                raise TransportError(f"it is going away (HTTP/2 error {code})", sent=False)

    def _is_awaited(self, stream: int | None) -> bool:
        return stream == self._stream and not self.is_answered

    def _broken(self, text: str) -> TransportError:
        return TransportError(text, sent=self._request_is_sent)

    def _stranger(self) -> TransportError:
        """What it means that a member begins otherwise than HTTP/2 does."""
        if self._begin.startswith(b"HTTP/"):
            text = (
                "it speaks HTTP/1.1, not gRPC; use transport=gateway if that is etcd's JSON gateway"
            )
        elif self._begin.startswith(_TLS_ALERT):
            text = "it speaks TLS; use protocol=https, or write https:// before the endpoint"
        else:
            return TransportError(
                f"its answer is not HTTP/2: {self._begin[:40]!r}; is it etcd's port for clients?",
                sent=True,
            )
        # Nothing that is sent can change it.
        return TransportError(text, sent=False, fatal=True)


_TLS_ALERT = b"\x15\x03"


def _is_of_another_protocol(begin: bytes) -> bool:
    """Which h2 would read as the head of a long frame, and wait for the rest."""
    return begin.startswith((b"HTTP/", _TLS_ALERT))


class _StateMachine(H2ConnectionStateMachine):
    """After GOAWAY a member still answers what it has begun, and looks whether we are there."""

    def process_input(self, input_: ConnectionInputs) -> list[Event]:
        before = self.state
        events: list[Event] = super().process_input(input_)
        if input_ is ConnectionInputs.RECV_GOAWAY:
            self.state = before
        return events


class _H2Connection(H2Connection):
    # Whose late frames are told from wrong ones. Of one request at a time, few are to come.
    MAX_CLOSED_STREAMS = 64

    def __init__(self, config: H2Configuration) -> None:
        super().__init__(config)
        self._taken: list[Event] = []

    def take_events(self) -> list[Event]:
        """What was received; of data whose end is wrong, what was before."""
        taken, self._taken = self._taken, []
        return taken

    def _receive_frame(self, frame: Any) -> list[Event]:
        events: list[Event] = super()._receive_frame(frame)
        self._taken += events
        return events

    def clear_outbound_data_buffer(self) -> None:
        """Called at GOAWAY, after which what is due to the member still is."""


def _greeting() -> _H2Connection:
    """A client that has its greeting to send."""
    h2 = _H2Connection(
        H2Configuration(
            client_side=True,
            header_encoding=None,
            validate_outbound_headers=False,
            normalize_outbound_headers=False,
        )
    )
    h2.state_machine = _StateMachine()
    h2.local_settings = Settings(
        client=True,
        initial_values={
            SettingCodes.ENABLE_PUSH: 0,
            SettingCodes.INITIAL_WINDOW_SIZE: _WINDOW_BYTES,
        },
    )
    h2.initiate_connection()
    h2.increment_flow_control_window(_WINDOW_BYTES - h2.inbound_flow_control_window)
    return h2

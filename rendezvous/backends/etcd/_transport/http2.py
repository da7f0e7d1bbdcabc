"""One HTTP/2 connection to one member, for one request at a time. Used by the thread that made it.

Source: RFC 9113. A client's part, without priorities, pushes and multiplexing: a connection costs a
thread nothing, and a request that waits holds up nobody. Owns frames, flow control and what a
connection's end means for the request on it. Knows nothing of what headers and bodies mean.
"""

import ssl
import struct
from enum import IntEnum

from rendezvous.backends.etcd._deadline import Deadline
from rendezvous.backends.etcd._endpoints import Endpoint
from rendezvous.backends.etcd._errors import TransportError
from rendezvous.backends.etcd._transport.hpack import HpackError, decode_block
from rendezvous.backends.etcd._transport.line import Line, ended, lost

__all__ = ["Connection"]


class _Type(IntEnum):
    DATA = 0
    HEADERS = 1
    RST_STREAM = 3
    SETTINGS = 4
    PUSH_PROMISE = 5
    PING = 6
    GOAWAY = 7
    WINDOW_UPDATE = 8
    CONTINUATION = 9


_END_STREAM = _ACK = 0x1
_END_HEADERS = 0x4
_PADDED = 0x8
_PRIORITY = 0x20
_PRIORITY_BYTES = 5

_HEADER_TABLE_SIZE, _ENABLE_PUSH, _INITIAL_WINDOW_SIZE, _MAX_FRAME_SIZE = 1, 2, 4, 5
_REFUSED_STREAM = 7

_HEAD = struct.Struct(">BHBBI")  # length in three bytes, type, flags, stream
_NUMBER = struct.Struct(">I")
_SETTING = struct.Struct(">HI")

_RECEIVE_BYTES = 262_144
_FRAME_BYTES_MAX = 16_384  # as we do not allow more
_HEADER_BYTES_MAX = 65_536
_BLOCKS_MAX = 8  # two, and some that say that the answer takes time
_WINDOW_BYTES = 65_535  # of a connection that has said nothing yet
_WINDOW_BYTES_MAX = 2**31 - 1
_STREAM_MAX = 2**31 - 1
_DATA_BYTES_MAX = 1024 * 1024 * 1024  # more than any answer that is of use to anyone

Headers = tuple[tuple[bytes, bytes], ...]


def _frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    size = len(payload)
    return _HEAD.pack(size >> 16, size & 0xFFFF, kind, flags, stream) + payload


# Windows as large as can be: what limits a member is how fast we read. No table: see hpack.py.
_PREFACE = (
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
    + _frame(
        _Type.SETTINGS,
        0,
        0,
        _SETTING.pack(_HEADER_TABLE_SIZE, 0)
        + _SETTING.pack(_ENABLE_PUSH, 0)
        + _SETTING.pack(_INITIAL_WINDOW_SIZE, _WINDOW_BYTES_MAX),
    )
    + _frame(_Type.WINDOW_UPDATE, 0, 0, _NUMBER.pack(_WINDOW_BYTES_MAX - _WINDOW_BYTES))
)


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
        self._unsent = _PREFACE
        self._received = bytearray()
        self._greeted = False
        self._going = False
        self._stream = -1
        self._send_window = _WINDOW_BYTES
        self._stream_window = 0
        self._new_stream_window = _WINDOW_BYTES
        self._frame_bytes_max = _FRAME_BYTES_MAX
        self._unacknowledged = 0
        self._block: bytearray | None = None
        self._block_ends_stream = False
        self._request_is_sent = False
        self.headers: list[Headers] = []
        self.data = bytearray()
        self.is_answered = True

    @property
    def is_usable(self) -> bool:
        """Whether another request may be sent. Reads what came in between."""
        try:
            while not self._line.is_quiet:
                data = self._line.receive_by(_RECEIVE_BYTES, Deadline(0))
                if data is None:
                    break
                if not data:
                    return False
                self._take(data)
        except (OSError, TransportError):
            return False
        return self.is_answered and not self._going and self._stream + 2 <= _STREAM_MAX

    def request(self, block: bytes, body: bytes, deadline: Deadline, *, ends: bool) -> None:
        """Send a request, and nothing more of it if that `ends` it.

        block: its headers, encoded.
        """
        self._stream += 2
        self._stream_window = self._new_stream_window
        self.headers, self.data, self.is_answered = [], bytearray(), False
        self._request_is_sent = False
        if len(block) > _FRAME_BYTES_MAX:
            raise TransportError("the request's headers are too long", sent=False, fatal=True)
        out = self._unsent + _frame(_Type.HEADERS, _END_HEADERS, self._stream, block)
        self._unsent = b""
        position = 0
        while position < len(body) and not self.is_answered:
            room = min(self._frame_bytes_max, self._send_window, self._stream_window)
            if room <= 0:
                self._line.send(out, deadline)
                out = b""
                # A member that does not want the rest answers before it has everything.
                if not self.receive(deadline):
                    raise TransportError("no answer to sending in time", sent=False)
                continue
            piece = body[position : position + room]
            position += len(piece)
            self._send_window -= len(piece)
            self._stream_window -= len(piece)
            flags = _END_STREAM if ends and position == len(body) else 0
            out += _frame(_Type.DATA, flags, self._stream, piece)
        # A member takes whole frames only: if this fails, it has no whole request.
        self._line.send(out, deadline)
        self._request_is_sent = position == len(body)
        if not self._request_is_sent:
            self._going = True

    def receive(self, deadline: Deadline) -> bool:
        """Wait for more of the answer; False when the deadline passes first."""
        if self._unsent:
            self._line.send(self._unsent, deadline)
            self._unsent = b""
        try:
            data = self._line.receive_by(_RECEIVE_BYTES, deadline)
        except OSError as error:
            raise lost(error) from error
        if data is None:
            return False
        if not data:
            raise ended() if not self._greeted else self._broken("it closed the connection")
        self._take(data)
        return True

    def interrupt(self) -> None:
        """From any thread: `receive` ends at once."""
        self._line.shut_down()

    def close(self) -> None:
        """May be called again."""
        self._line.close()

    def _take(self, data: bytes) -> None:
        received = self._received
        received += data
        position = 0
        if not self._greeted and len(received) >= _HEAD.size:
            _check_greeting(received)
            self._greeted = True
        while len(received) - position >= _HEAD.size:
            high, low, kind, flags, stream = _HEAD.unpack_from(received, position)
            size = high << 16 | low
            if size > _FRAME_BYTES_MAX:
                raise self._broken(f"it sent a frame of {size} bytes")
            begin = position + _HEAD.size
            if len(received) < begin + size:
                break
            position = begin + size
            try:
                self._take_frame(kind, flags, stream & _STREAM_MAX, bytes(received[begin:position]))
            except (IndexError, struct.error, HpackError) as error:
                raise self._broken(f"a frame cannot be read: {error}") from error
        del received[:position]
        if self._unacknowledged > _WINDOW_BYTES_MAX // 4:
            update = _NUMBER.pack(self._unacknowledged)
            self._unsent += _frame(_Type.WINDOW_UPDATE, 0, 0, update)
            self._unsent += _frame(_Type.WINDOW_UPDATE, 0, self._stream, update)
            self._unacknowledged = 0

    def _take_frame(self, kind: int, flags: int, stream: int, payload: bytes) -> None:
        if self._block is not None and kind != _Type.CONTINUATION:
            raise self._broken("it sent half a header block")
        if kind in (_Type.HEADERS, _Type.CONTINUATION):
            self._take_block(kind, flags, stream, payload)
        elif kind == _Type.DATA:
            self._unacknowledged += len(payload)
            if self._is_awaited(stream):
                self._take_data(flags, payload)
        elif kind == _Type.SETTINGS and not flags & _ACK:
            self._apply_settings(payload)
        elif kind == _Type.PING and not flags & _ACK:
            self._unsent += _frame(_Type.PING, _ACK, 0, payload)
        elif kind == _Type.WINDOW_UPDATE:
            self._widen(stream, *_NUMBER.unpack(payload))
        elif kind == _Type.RST_STREAM and self._is_awaited(stream):
            self._take_reset(*_NUMBER.unpack(payload))
        elif kind == _Type.GOAWAY:
            self._take_goaway(payload)
        elif kind == _Type.PUSH_PROMISE:
            raise self._broken("it sent what it may not")

    def _is_awaited(self, stream: int) -> bool:
        return stream == self._stream and not self.is_answered

    def _take_data(self, flags: int, payload: bytes) -> None:
        self.data += _unpadded(flags, payload)
        if len(self.data) > _DATA_BYTES_MAX:
            raise self._broken(f"its answer has more than {_DATA_BYTES_MAX} bytes")
        self.is_answered = bool(flags & _END_STREAM)

    def _take_block(self, kind: int, flags: int, stream: int, payload: bytes) -> None:
        if kind == _Type.HEADERS:
            block = _unpadded(flags, payload)
            self._block = bytearray(block[_PRIORITY_BYTES:] if flags & _PRIORITY else block)
            self._block_ends_stream = bool(flags & _END_STREAM)
        elif self._block is None:
            raise self._broken("it sent the end of a header block without its begin")
        else:
            self._block += payload
        if len(self._block) > _HEADER_BYTES_MAX:
            raise self._broken("its headers are too long")
        if not flags & _END_HEADERS:
            return
        headers = decode_block(bytes(self._block))
        self._block = None
        if self._is_awaited(stream):
            if len(self.headers) >= _BLOCKS_MAX:
                raise self._broken("it sends headers again and again")
            self.headers.append(headers)
            self.is_answered = self._block_ends_stream

    def _apply_settings(self, payload: bytes) -> None:
        for name, value in _SETTING.iter_unpack(payload):
            if name == _INITIAL_WINDOW_SIZE:
                self._stream_window += value - self._new_stream_window
                self._new_stream_window = value
            elif name == _MAX_FRAME_SIZE:
                self._frame_bytes_max = value
        self._unsent += _frame(_Type.SETTINGS, _ACK, 0, b"")

    def _widen(self, stream: int, more: int) -> None:
        if stream == 0:
            self._send_window += more & _WINDOW_BYTES_MAX
        elif self._is_awaited(stream):
            self._stream_window += more & _WINDOW_BYTES_MAX

    def _take_reset(self, code: int) -> None:
        if code == _REFUSED_STREAM:
            raise TransportError("it refused the request", sent=False)
        raise self._broken(f"it ended the request (HTTP/2 error {code})")

    def _take_goaway(self, payload: bytes) -> None:
        last, code = struct.unpack_from(">II", payload)
        self._going = True
        if self._stream > last & _STREAM_MAX and not self.is_answered:
            # It says that it has not looked at this request, and will not.
            raise TransportError(f"it is going away (HTTP/2 error {code})", sent=False)

    def _broken(self, text: str) -> TransportError:
        return TransportError(text, sent=self._request_is_sent)


def _unpadded(flags: int, payload: bytes) -> bytes:
    if not flags & _PADDED:
        return payload
    padding = payload[0]
    if padding >= len(payload):
        raise IndexError("it has more padding than bytes")
    return payload[1 : len(payload) - padding]


def _check_greeting(received: bytearray) -> None:
    """A member begins with its settings. Raises TransportError for what speaks something else."""
    if received[3] == _Type.SETTINGS and received[5:9] == b"\0\0\0\0":
        return
    if received.startswith(b"HTTP/1."):
        raise TransportError(
            "it speaks HTTP/1.1, and no gRPC; say transport=gateway if that is etcd's JSON gateway",
            sent=False,
            fatal=True,
        )
    if received[0] == 0x15 and received[1] == 0x03:  # a TLS alert
        raise TransportError(
            "it speaks TLS; say protocol=https, or write https:// before the endpoint",
            sent=False,
            fatal=True,
        )
    raise TransportError(
        f"it answered with no HTTP/2: {bytes(received[:40])!r}; is it etcd's port for clients?",
        sent=True,
    )

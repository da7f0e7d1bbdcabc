"""One HTTP/2 connection to one member, for one request at a time. Used by the thread that made it.

Source: RFC 9113. A client's part, without priorities, pushes and multiplexing: a connection costs a
thread nothing, and a request that waits holds up nobody. Owns frames, flow control and what a
connection's end means for the request on it. Knows nothing of what headers and bodies mean.
"""

import ssl
import struct

from rendezvous._deadline import Deadline
from rendezvous.backends.etcd._endpoints import Endpoint
from rendezvous.backends.etcd._errors import TransportError
from rendezvous.backends.etcd._transport import frames
from rendezvous.backends.etcd._transport.frames import Type, frame
from rendezvous.backends.etcd._transport.hpack import HpackError, decode_block
from rendezvous.backends.etcd._transport.line import Line, ended, lost

__all__ = ["Connection"]

_RECEIVE_BYTES = 262_144
# A window is opened again when so much of it is spent.
_SPENT_BYTES_MAX = frames.WINDOW_BYTES_MAX // 4
_HEADER_BYTES_MAX = 65_536
_BLOCKS_MAX = 8  # two, and some that say that the answer takes time
_DATA_BYTES_MAX = 1024 * 1024 * 1024  # more than any answer that is of use to anyone

Headers = tuple[tuple[bytes, bytes], ...]


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
        self._unsent = frames.PREFACE
        self._received = bytearray()
        self._greeted = False
        self._going = False
        self._stream = -1
        self._send_window = frames.WINDOW_BYTES
        self._stream_window = 0
        self._new_stream_window = frames.WINDOW_BYTES
        self._frame_bytes_max = frames.FRAME_BYTES_MAX
        # Of our windows: bytes that came since they were opened last.
        self._spent = self._stream_spent = 0
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
                data = self._line.receive_by(_RECEIVE_BYTES, Deadline.after(0))
                if data is None:
                    break
                if not data:
                    return False
                self._take(data)
        except (OSError, TransportError):
            return False
        return self.is_answered and not self._going and self._stream + 2 <= frames.STREAM_MAX

    def request(self, block: bytes, body: bytes, deadline: Deadline, *, ends: bool) -> None:
        """Send a request, and nothing more of it if that `ends` it.

        block: its headers, encoded.
        """
        self._stream += 2
        self._stream_window = self._new_stream_window
        self._stream_spent = 0
        self.headers, self.data, self.is_answered = [], bytearray(), False
        self._request_is_sent = False
        if len(block) > frames.FRAME_BYTES_MAX:
            raise TransportError("the request's headers are too long", sent=False, fatal=True)
        out = self._unsent + frame(Type.HEADERS, frames.END_HEADERS, self._stream, block)
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
            flags = frames.END_STREAM if ends and position == len(body) else 0
            out += frame(Type.DATA, flags, self._stream, piece)
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
            if self._received and not self._greeted:
                frames.has_greeted(self._received, ended=True)
            raise self._broken("it closed the connection") if self._greeted else ended()
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
        self._greeted = self._greeted or frames.has_greeted(received)
        while self._greeted and len(received) - position >= frames.HEAD.size:
            high, low, kind, flags, stream = frames.HEAD.unpack_from(received, position)
            size = high << 16 | low
            if size > frames.FRAME_BYTES_MAX:
                raise self._broken(f"it sent a frame of {size} bytes")
            begin = position + frames.HEAD.size
            if len(received) < begin + size:
                break
            position = begin + size
            try:
                payload = bytes(received[begin:position])
                self._take_frame(kind, flags, stream & frames.STREAM_MAX, payload)
            except (IndexError, struct.error, HpackError) as error:
                raise self._broken(f"a frame cannot be read: {error}") from error
        del received[:position]
        self._open_windows()

    def _open_windows(self) -> None:
        if self._spent > _SPENT_BYTES_MAX:
            self._unsent += frame(Type.WINDOW_UPDATE, 0, 0, frames.NUMBER.pack(self._spent))
            self._spent = 0
        if self._stream_spent > _SPENT_BYTES_MAX and not self.is_answered:
            update = frames.NUMBER.pack(self._stream_spent)
            self._unsent += frame(Type.WINDOW_UPDATE, 0, self._stream, update)
            self._stream_spent = 0

    def _take_frame(self, kind: int, flags: int, stream: int, payload: bytes) -> None:
        if self._block is not None and kind != Type.CONTINUATION:
            raise self._broken("it sent half a header block")
        if kind in (Type.HEADERS, Type.CONTINUATION):
            self._take_block(kind, flags, stream, payload)
        elif kind == Type.DATA:
            self._spent += len(payload)
            if self._is_awaited(stream):
                self._stream_spent += len(payload)
                self._take_data(flags, payload)
        elif kind == Type.SETTINGS and not flags & frames.ACK:
            self._apply_settings(payload)
        elif kind == Type.PING and not flags & frames.ACK:
            self._unsent += frame(Type.PING, frames.ACK, 0, payload)
        elif kind == Type.WINDOW_UPDATE:
            self._widen(stream, *frames.NUMBER.unpack(payload))
        elif kind == Type.RST_STREAM and self._is_awaited(stream):
            self._take_reset(*frames.NUMBER.unpack(payload))
        elif kind == Type.GOAWAY:
            self._take_goaway(payload)
        elif kind == Type.PUSH_PROMISE:
            raise self._broken("it sent what it may not")

    def _is_awaited(self, stream: int) -> bool:
        return stream == self._stream and not self.is_answered

    def _take_data(self, flags: int, payload: bytes) -> None:
        self.data += frames.unpadded(flags, payload)
        if len(self.data) > _DATA_BYTES_MAX:
            raise self._broken(f"its answer has more than {_DATA_BYTES_MAX} bytes")
        self.is_answered = bool(flags & frames.END_STREAM)

    def _take_block(self, kind: int, flags: int, stream: int, payload: bytes) -> None:
        if kind == Type.HEADERS:
            self._block = bytearray(frames.block_of(flags, payload))
            self._block_ends_stream = bool(flags & frames.END_STREAM)
        elif self._block is None:
            raise self._broken("it sent the end of a header block without its begin")
        else:
            self._block += payload
        if len(self._block) > _HEADER_BYTES_MAX:
            raise self._broken("its headers are too long")
        if not flags & frames.END_HEADERS:
            return
        headers = decode_block(bytes(self._block))
        self._block = None
        if self._is_awaited(stream):
            if len(self.headers) >= _BLOCKS_MAX:
                raise self._broken("it sends headers again and again")
            self.headers.append(headers)
            self.is_answered = self._block_ends_stream

    def _apply_settings(self, payload: bytes) -> None:
        for name, value in frames.SETTING.iter_unpack(payload):
            if name == frames.INITIAL_WINDOW_SIZE:
                self._stream_window += value - self._new_stream_window
                self._new_stream_window = value
            elif name == frames.MAX_FRAME_SIZE:
                self._frame_bytes_max = value
        self._unsent += frame(Type.SETTINGS, frames.ACK, 0, b"")

    def _widen(self, stream: int, more: int) -> None:
        if stream == 0:
            self._send_window += more & frames.WINDOW_BYTES_MAX
        elif self._is_awaited(stream):
            self._stream_window += more & frames.WINDOW_BYTES_MAX

    def _take_reset(self, code: int) -> None:
        if code == frames.REFUSED_STREAM:
            raise TransportError("it refused the request", sent=False)
        raise self._broken(f"it ended the request (HTTP/2 error {code})")

    def _take_goaway(self, payload: bytes) -> None:
        last, code = struct.unpack_from(">II", payload)
        self._going = True
        if self._stream > last & frames.STREAM_MAX and not self.is_answered:
            # It says that it has not looked at this request, and will not.
            raise TransportError(f"it is going away (HTTP/2 error {code})", sent=False)

    def _broken(self, text: str) -> TransportError:
        return TransportError(text, sent=self._request_is_sent)

"""Header blocks of HTTP/2, both ways, without a dynamic table. Pure.

Source: RFC 7541. What we send is literal and never indexed. What we read may use the static table
and Huffman's code; the dynamic table is not there, as our SETTINGS give it no room. So a block
means the same whenever it comes, and what a member says again and again is decoded once.
"""

from functools import lru_cache

__all__ = ["HpackError", "decode_block", "encode_header"]

# RFC 7541, appendix A, from 1 on; a name alone has an empty value.
_STATIC = (
    *((b":authority", b""), (b":method", b"GET"), (b":method", b"POST"), (b":path", b"/")),
    *((b":path", b"/index.html"), (b":scheme", b"http"), (b":scheme", b"https")),
    *((b":status", status) for status in (b"200", b"204", b"206", b"304", b"400", b"404", b"500")),
    *((b"accept-charset", b""), (b"accept-encoding", b"gzip, deflate")),
    *(
        (name, b"")
        for name in (
            b"accept-language accept-ranges accept access-control-allow-origin age allow "
            b"authorization cache-control content-disposition content-encoding content-language "
            b"content-length content-location content-range content-type cookie date etag expect "
            b"expires from host if-match if-modified-since if-none-match if-range "
            b"if-unmodified-since last-modified link location max-forwards proxy-authenticate "
            b"proxy-authorization range referer refresh retry-after server set-cookie "
            b"strict-transport-security transfer-encoding user-agent vary via www-authenticate"
        ).split()
    ),
)
# RFC 7541, appendix B: the length in bits of each byte's code, a digit each in base 36, and that of
# the end of a string. The code is canonical: lengths are all there is to know.
_HUFFMAN_LENGTHS = (
    "dnsssssssoussussssssssusssssssss6aacd68baa8b8666555666666678f6cad67777777777777777777777"
    "878djde6f56565666577666567655677777fbedskmkkmmmnmnnnnnonoomnonnnnlmnmnnomlkmmnnlnmmolmnn"
    "llmlnmnnkmmmnmmnqqkjmnmpqqqrrqopjlqrrqrollqqsrrrkoklmllnmmppooqnqrqqrrrrrsrrrrrqu"
)
_END_OF_STRING = 256
_PADDING_BITS_MAX = 7
_INTEGER_MAX = 1 << 28


class HpackError(ValueError):
    """The bytes are no header block, or use what they may not."""


def encode_header(name: bytes, value: bytes) -> bytes:
    """One header, which nobody on the way may put into a table."""
    return b"\x10" + _encode_string(name) + _encode_string(value)


@lru_cache(maxsize=64)
def decode_block(block: bytes) -> tuple[tuple[bytes, bytes], ...]:
    """The headers, in their order. Raises HpackError."""
    headers = []
    position = 0
    try:
        while position < len(block):
            first = block[position]
            if first & 0x80:
                index, position = _decode_integer(block, position, 7)
                headers.append(_static(index))
            elif first & 0xE0 == 0x20:
                size, position = _decode_integer(block, position, 5)
                if size != 0:
                    raise HpackError("it wants a dynamic table, for which there is no room")
            else:
                index, position = _decode_integer(block, position, 6 if first & 0x40 else 4)
                if index:
                    name = _static(index)[0]
                else:
                    name, position = _decode_string(block, position)
                value, position = _decode_string(block, position)
                headers.append((name, value))
    except IndexError:
        raise HpackError("it ends within a header") from None
    return tuple(headers)


def _static(index: int) -> tuple[bytes, bytes]:
    if not 1 <= index <= len(_STATIC):
        raise HpackError(f"there is no header {index} in the static table")
    return _STATIC[index - 1]


def _encode_string(data: bytes) -> bytes:
    return _encode_integer(len(data), 7) + data


def _encode_integer(value: int, bits: int) -> bytes:
    most = (1 << bits) - 1
    if value < most:
        return bytes((value,))
    out = bytearray((most,))
    value -= most
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _decode_integer(block: bytes, position: int, bits: int) -> tuple[int, int]:
    most = (1 << bits) - 1
    value = block[position] & most
    position += 1
    if value < most:
        return value, position
    shift = 0
    while value < _INTEGER_MAX:
        byte = block[position]
        position += 1
        value += (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
        shift += 7
    raise HpackError("a number is too large")


def _decode_string(block: bytes, position: int) -> tuple[bytes, int]:
    is_coded = block[position] & 0x80
    length, begin = _decode_integer(block, position, 7)
    end = begin + length
    if end > len(block):
        raise HpackError("a string is longer than its block")
    data = block[begin:end]
    return (_decode_huffman(data) if is_coded else data), end


def _huffman_codes() -> dict[tuple[int, int], int]:
    """Symbols by the length and the bits of their codes."""
    codes: dict[tuple[int, int], int] = {}
    code = length = 0
    lengths = [int(digit, 36) for digit in _HUFFMAN_LENGTHS]
    for symbol in sorted(range(len(lengths)), key=lambda each: (lengths[each], each)):
        code <<= lengths[symbol] - length
        length = lengths[symbol]
        codes[length, code] = symbol
        code += 1
    return codes


_HUFFMAN = _huffman_codes()
_HUFFMAN_BITS_MAX = max(length for length, _ in _HUFFMAN)


def _decode_huffman(data: bytes) -> bytes:
    out = bytearray()
    code = length = 0
    for byte in data:
        for shift in range(7, -1, -1):
            code = code << 1 | byte >> shift & 1
            length += 1
            symbol = _HUFFMAN.get((length, code))
            if symbol is not None:
                if symbol == _END_OF_STRING:
                    raise HpackError("a string has an end before its end")
                out.append(symbol)
                code = length = 0
            elif length > _HUFFMAN_BITS_MAX:
                raise HpackError("a string is not in Huffman's code")
    # What is left of the last byte are the first bits of the end's code, all of them ones.
    if length > _PADDING_BITS_MAX or code != (1 << length) - 1:
        raise HpackError("a string's padding is wrong")
    return bytes(out)

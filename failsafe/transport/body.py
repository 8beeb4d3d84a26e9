"""Reading an answer's body: whole or piece by piece, decompressed, and no larger than allowed."""

from __future__ import annotations

import http.client
import zlib
from contextlib import suppress
from typing import Any

CHUNK = 65_536  # bytes read at a time, so that no length a server claims is ever allocated in advance
_LARGEST_REFUSAL = 1024 * 1024
_LARGEST_PIECE = 1024 * 1024
_CODINGS = frozenset({"gzip", "x-gzip", "deflate"})
_GZIP_OR_ZLIB = zlib.MAX_WBITS | 32  # by its first bytes
_MOST_MEMBERS = 100  # each one costs a copy of what follows it
_UNKNOWN_CODING = "the answer's content-encoding is unknown"
_BROKEN_CODING = "the answer's body cannot be decompressed"


class Unusable(Exception):
    """The body cannot be used; the message says why. Raised inside the transport only."""


def read_body(raw: Any, most: int) -> bytes:
    """
    The whole body.

    Args:
        raw: A urllib3 response whose body was not read yet.
        most: Bytes allowed, on the wire and decompressed.

    Raises:
        Unusable: It is larger than that, in an encoding nobody asked for, or cannot be decompressed.
        http.client.IncompleteRead: What was compressed is cut short.
        urllib3.exceptions.HTTPError: It stopped early or came late.
    """
    codings = _codings(raw)
    if not _CODINGS.issuperset(codings):
        raise Unusable(_UNKNOWN_CODING)
    if (raw.length_remaining or 0) > most:
        raise Unusable(_too_large(most))
    first: bytes = raw.read1(CHUNK, decode_content=False)
    if raw.length_remaining == 0 and not codings:
        return first
    read = bytearray(first)
    _read_on(read, raw, most)
    _check_size(read, most)
    return _unpacked(bytes(read), codings, most)


class Unpacker:
    """
    Decompresses a body that comes piece by piece. Not thread-safe.

    Gzip may come in several members, as many as there are; what is none after them is ignored.

    Args:
        raw: A urllib3 response whose body was not read yet.

    Raises:
        Unusable: It is in an encoding nobody asked for, or in several.
    """

    def __init__(self, raw: Any) -> None:
        codings = _codings(raw)
        if not _CODINGS.issuperset(codings):
            raise Unusable(_UNKNOWN_CODING)
        if len(codings) > 1:
            raise Unusable("the answer is compressed more than once")
        self.plain = not codings
        """Whether there is nothing to do."""
        self._stream = None if self.plain else zlib.decompressobj(_GZIP_OR_ZLIB)
        self._tail = b""
        self._more = False
        self._between = False  # a member has ended, and nothing of a next one has come

    @property
    def pending(self) -> bool:
        """Whether more can be unpacked of what came before."""
        return self._more

    @property
    def whole(self) -> bool:
        """Whether the body could end here."""
        return self._between or self._stream is None

    def unpack(self, piece: bytes) -> bytes:
        """
        What *piece* holds, as far as it fits into a mebibyte; the rest is :attr:`pending`.

        Raises:
            Unusable: It cannot be decompressed.
        """
        stream, packed = self._stream, self._tail + piece
        if stream is None or not (packed or self._more):
            return b""
        try:
            unpacked = stream.decompress(packed, _LARGEST_PIECE)
        except zlib.error:
            if not self._between:
                raise Unusable(_BROKEN_CODING) from None
            self._stream, self._tail, self._more = None, b"", False
            return b""
        self._between = stream.eof
        if stream.eof:
            self._stream = zlib.decompressobj(_GZIP_OR_ZLIB)
            self._tail = stream.unused_data
            self._more = bool(self._tail)
        else:
            self._tail = stream.unconsumed_tail
            # At the limit zlib may hold some back, and have taken all of its input.
            self._more = bool(self._tail) or len(unpacked) == _LARGEST_PIECE
        return unpacked


def read_refusal(raw: Any, most: int) -> bytes:
    """
    As much of the body as comes, decompressed; never raises an ``Exception``.

    An answer that is no success is known by its status and headers, and a part of its words is better than none.

    Args:
        raw: A urllib3 response whose body was not read yet.
        most: Bytes wanted, 1 MiB at most; what comes after them is left unread.
    """
    most = min(most, _LARGEST_REFUSAL)
    read = bytearray()
    with suppress(Exception):
        _read_on(read, raw, most)
    if not _codings(raw):
        return bytes(read[:most])
    with suppress(zlib.error):
        return _inflated(bytes(read), most)[0]
    return b""


def _read_on(read: bytearray, raw: Any, most: int) -> None:
    """Add to *read* what comes, still compressed, until that is all or too much."""
    while len(read) <= most and (piece := raw.read1(CHUNK, decode_content=False)):
        read += piece


def _codings(raw: Any) -> list[str]:
    """What the body is encoded with, in the order in which it was done."""
    header = raw.headers.get("content-encoding")
    if not header:
        return []
    return [coding for coding in map(str.strip, header.lower().split(",")) if coding not in ("", "identity")]


def _unpacked(body: bytes, codings: list[str], most: int) -> bytes:
    """
    *body* with every coding taken off.

    Raises:
        Unusable: It cannot be decompressed, or holds more than *most* bytes.
        http.client.IncompleteRead: It is cut short; a part decompresses as well as the whole, so the end is looked for.
    """
    for _ in codings if body else ():  # each says in its first bytes what it is
        try:
            body, whole = _inflated(body, most)
        except zlib.error:
            raise Unusable(_BROKEN_CODING) from None
        _check_size(body, most)
        if not whole:
            raise http.client.IncompleteRead(b"")
    return body


def _inflated(packed: bytes, most: int) -> tuple[bytes, bool]:
    """
    *packed* decompressed, and whether that is all of it; of what is more than *most* bytes, one byte more is made.

    Gzip may come in several members (RFC 1952 section 2.2); what is none after them is ignored, as by other clients.

    Raises:
        zlib.error: It cannot be decompressed, or has more than a hundred members.
    """
    body = bytearray()
    for _ in range(_MOST_MEMBERS):
        stream = zlib.decompressobj(_GZIP_OR_ZLIB)
        try:
            body += stream.decompress(packed, most + 1 - len(body))
        except zlib.error:
            if not body:
                raise
            return bytes(body), True
        packed = stream.unused_data
        if not stream.eof or not packed or len(body) > most:
            return bytes(body), stream.eof
    raise zlib.error


def _check_size(body: bytes | bytearray, most: int) -> None:
    if len(body) > most:
        raise Unusable(_too_large(most))


def _too_large(most: int) -> str:
    return f"answer larger than {most / 2**20:.3g} MiB"

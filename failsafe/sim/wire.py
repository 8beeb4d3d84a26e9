"""HTTP/1.1 by hand: requests from bytes, answers to bytes, so that every fault can be exact."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from http import HTTPStatus
from typing import Any, NoReturn

Headers = tuple[tuple[str, str], ...]

_REASONS = {status.value: status.phrase for status in HTTPStatus} | {
    529: "Site is overloaded",
    498: "Capacity Exceeded",
}


class BadRequest(Exception):
    """The bytes are no HTTP request; the message says why."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Head:
    """
    The head of a request.

    Attributes:
        method: ``POST``, ``GET``, ...
        path: The path, without the query.
        query: What followed the ``?``, or "".
        headers: By lower-case name; of a repeated one, the last.
        keep_alive: Whether the client means to use the connection again.
    """

    method: str
    path: str
    query: str
    headers: Mapping[str, str]
    keep_alive: bool

    def content_length(self) -> int:
        """The body's length in bytes; 0 when none is given."""
        value = self.headers.get("content-length", "0")
        if not (value.isascii() and value.isdigit()):
            raise BadRequest(f"Content-Length: {value!r} is not a number")
        return int(value)

    def is_chunked(self) -> bool:
        """Whether the body comes in chunks."""
        return self.headers.get("transfer-encoding", "").lower() == "chunked"

    def expects_continue(self) -> bool:
        """Whether the client waits for ``100 Continue`` before it sends the body."""
        return self.headers.get("expect", "").lower() == "100-continue"


def parse_head(data: bytes) -> Head:
    """
    Read the head of a request, without its final blank line.

    Raises:
        BadRequest: It is none.
    """
    first, *lines = data.decode("latin-1").split("\r\n")
    words = first.split(" ")
    if len(words) != 3 or not words[2].startswith("HTTP/1."):
        raise BadRequest(f"{first[:100]!r} is not the first line of an HTTP/1 request")
    method, target, version = words
    headers = {}
    for line in lines:
        name, colon, value = line.partition(":")
        if not colon:
            raise BadRequest(f"{line[:100]!r} is not a header")
        headers[name.lower()] = value.strip()
    path, _, query = target.partition("?")
    keep_alive = version != "HTTP/1.0" and headers.get("connection", "").lower() != "close"
    return Head(method=method, path=path, query=query, headers=headers, keep_alive=keep_alive)


@dataclass(frozen=True, slots=True)
class Request:
    """A whole request: its head, its body, and the body's JSON (None when it is none)."""

    head: Head
    body: bytes
    decoded: Any


@dataclass(frozen=True, slots=True)
class Wait:
    """A pause between two pieces of a body, seconds; ``math.inf`` stalls."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Cut:
    """The end of the connection in the middle of a body; with *reset*, by RST."""

    reset: bool


Piece = bytes | Wait | Cut


@dataclass(frozen=True, kw_only=True, slots=True)
class Response:
    """
    An answer before it is put on the wire.

    Attributes:
        status: The HTTP status.
        headers: All headers but those of the framing.
        body: The whole body, unless
        pieces: makes it while it is sent, possibly with pauses and cuts.
        length: The length of what *pieces* makes, where it is known.
    """

    status: int
    headers: Headers
    body: bytes = b""
    pieces: Callable[[], Iterator[Piece]] | None = None
    length: int | None = None

    def content(self) -> bytes:
        """The whole body at once, pauses and cuts left out."""
        if self.pieces is None:
            return self.body
        return b"".join(piece for piece in self.pieces() if isinstance(piece, bytes))

    def flattened(self) -> Response:
        """The same answer with its body in memory."""
        return self if self.pieces is None else replace(self, body=self.content(), pieces=None, length=None)

    def head(self, *framing: tuple[str, str]) -> bytes:
        """The status line and headers, with the final blank line."""
        return head_bytes(self.status, (*self.headers, *framing))


def head_bytes(status: int, headers: Iterable[tuple[str, str]]) -> bytes:
    """A status line and headers as bytes, with the final blank line."""
    lines = [f"HTTP/1.1 {status} {_REASONS.get(status, 'Unknown')}"]
    lines += [f"{name}: {value}" for name, value in headers]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1", "replace")


def chunk(data: bytes) -> bytes:
    """One chunk of a chunked body; not for empty *data*, which would end the body."""
    return b"%x\r\n%b\r\n" % (len(data), data)


LAST_CHUNK = b"0\r\n\r\n"
"""The end of a chunked body."""
CHUNKED = ("Transfer-Encoding", "chunked")
"""The header that announces one."""


def merged(headers: Headers, others: Headers) -> Headers:
    """*headers* with those of *others* added, which replace headers of the same name."""
    names = {name.lower() for name, _ in others}
    return tuple(pair for pair in headers if pair[0].lower() not in names) + others


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(name)


_ENCODER = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))
_ASCII_ENCODER = json.JSONEncoder(separators=(",", ":"))
_DECODER = json.JSONDecoder(parse_constant=_refuse_constant)


def to_json(body: Any) -> bytes:
    """*body* as compact JSON in UTF-8; with lone surrogates, which no UTF-8 can hold, in ASCII."""
    try:
        return _ENCODER.encode(body).encode()
    except UnicodeEncodeError:
        return _ASCII_ENCODER.encode(body).encode()


def from_json(data: bytes) -> Any:
    """The JSON in *data*, or None when it is none; NaN and Infinity are not (RFC 8259 section 6)."""
    try:
        return _DECODER.decode(data.decode()) if data else None
    except (ValueError, RecursionError):
        return None

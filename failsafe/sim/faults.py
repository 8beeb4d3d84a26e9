"""What each delivery does to the socket."""

from __future__ import annotations

import gzip
import math
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import singledispatch

from failsafe.sim import deliveries
from failsafe.sim.connection import Connection
from failsafe.sim.deliveries import Delivery
from failsafe.sim.wire import CHUNKED, LAST_CHUNK, Cut, Piece, Response, Wait, chunk

_HANDSHAKE_FAILURE = b"\x15\x03\x03\x00\x02\x02\x28"  # RFC 8446 section 6: alert, fatal, handshake_failure
_NOT_TLS = b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"


@singledispatch
def deliver(_delivery: Delivery, connection: Connection, response: Response) -> None:
    """
    Put *response* on the wire as the delivery says; the connection may be closed afterwards.

    What concerns only new connections (:class:`NeverRead`, :class:`BreakTls`) is no hindrance to an answer on an
    old one.

    Raises:
        ClientGone: The client has hung up, or the provider is being stopped.
    """
    _whole(deliveries.Whole(), connection, response)


@deliver.register
def _whole(_delivery: deliveries.Whole, connection: Connection, response: Response) -> None:
    if response.pieces is None:
        # one write: two small packets would meet Nagle's algorithm and delayed acknowledgement, 40 ms a request
        connection.send(response.head(_length(response.body)) + response.body)
    elif response.length is not None:
        connection.send(response.head(("Content-Length", str(response.length))))
        _play(connection, response.pieces())
    else:
        connection.send(response.head(CHUNKED))
        _play_chunked(connection, response.pieces())


def _length(body: bytes) -> tuple[str, str]:
    return "Content-Length", str(len(body))


def _play(connection: Connection, pieces: Iterable[Piece]) -> None:
    """Send *pieces*, pausing and cutting where they say so."""
    for piece in pieces:
        if isinstance(piece, Wait):
            connection.pause(piece.seconds)
        elif isinstance(piece, Cut):
            _end(connection, piece.reset)
            return
        elif piece:
            connection.send(piece)


def _play_chunked(connection: Connection, pieces: Iterable[Piece]) -> None:
    _play(connection, (chunk(piece) if isinstance(piece, bytes) and piece else piece for piece in pieces))
    if connection.is_open:
        connection.send(LAST_CHUNK)


def _end(connection: Connection, reset: bool) -> None:
    if reset:
        connection.reset()
    else:
        connection.close()


@deliver.register
def _chunked(delivery: deliveries.Chunked, connection: Connection, response: Response) -> None:
    connection.send(response.head(CHUNKED))
    _play_chunked(connection, _slices(response.content(), delivery.size))


def _slices(data: bytes, size: int) -> Iterator[bytes]:
    for start in range(0, len(data), size):
        yield data[start : start + size]


@deliver.register
def _gzipped(_delivery: deliveries.Gzipped, connection: Connection, response: Response) -> None:
    packed = replace(response, headers=(*response.headers, ("Content-Encoding", "gzip")), length=None)
    if response.pieces is None:
        packed = replace(packed, body=gzip.compress(response.body, mtime=0))
    else:
        pieces = response.pieces
        packed = replace(packed, pieces=lambda: _gzip_each(pieces()))
    _whole(deliveries.Whole(), connection, packed)


def _gzip_each(pieces: Iterable[Piece]) -> Iterator[Piece]:
    """Pack piece by piece, so that a reader can unpack each as it comes."""
    packer = zlib.compressobj(wbits=zlib.MAX_WBITS | 16)
    for piece in pieces:
        if isinstance(piece, bytes):
            yield packer.compress(piece) + packer.flush(zlib.Z_SYNC_FLUSH)
        else:
            yield piece
    yield packer.flush()


@deliver.register
def _hang(_delivery: deliveries.Hang, connection: Connection, _response: Response) -> None:
    connection.pause(math.inf)


@deliver.register
def _close(_delivery: deliveries.Close, connection: Connection, _response: Response) -> None:
    connection.close()


@deliver.register
def _reset(_delivery: deliveries.Reset, connection: Connection, _response: Response) -> None:
    connection.reset()


@deliver.register
def _refuse(_delivery: deliveries.RefuseConnections, connection: Connection, _response: Response) -> None:
    """The request overtook the closing of the port."""
    connection.reset()


@deliver.register
def _drip_headers(delivery: deliveries.DripHeaders, connection: Connection, response: Response) -> None:
    whole = response.flattened()
    for byte in _slices(whole.head(_length(whole.body)), 1):
        connection.send(byte)
        connection.pause(delivery.interval)
    connection.send(whole.body)


@deliver.register
def _drip_body(delivery: deliveries.DripBody, connection: Connection, response: Response) -> None:
    body = response.content()
    connection.send(response.head(CHUNKED if delivery.chunked else _length(body)))
    for piece in _slices(body, delivery.size):
        connection.send(chunk(piece) if delivery.chunked else piece)
        connection.pause(delivery.interval)
    if delivery.chunked:
        connection.send(LAST_CHUNK)


@deliver.register
def _endless_body(delivery: deliveries.EndlessBody, connection: Connection, response: Response) -> None:
    body = response.content()
    connection.send(response.head(CHUNKED) + (chunk(body) if body else b""))
    filler = chunk(b" " * delivery.size)
    while True:
        connection.pause(delivery.interval)
        connection.send(filler)


@deliver.register
def _blank_lines(delivery: deliveries.BlankLines, connection: Connection, response: Response) -> None:
    connection.send(response.head(CHUNKED))
    sent = 0
    while sent < delivery.count:
        connection.send(chunk(b"\n"))
        connection.pause(delivery.interval)
        sent += 1
    _play_chunked(connection, [response.content()])


@deliver.register
def _cut_body(delivery: deliveries.CutBody, connection: Connection, response: Response) -> None:
    body = response.content()
    size = int(len(body) * delivery.share)
    if delivery.framing == "length":
        # with all of it sent there would be nothing cut
        connection.send(response.head(_length(body)) + body[: min(size, max(len(body) - 1, 0))])
    elif delivery.framing == "chunked":
        connection.send(response.head(CHUNKED) + (chunk(body[:size]) if size else b""))
    else:
        connection.send(response.head(("Connection", "close")) + body[:size])
    _end(connection, delivery.reset)


@deliver.register
def _stall_body(delivery: deliveries.StallBody, connection: Connection, response: Response) -> None:
    body = response.content()
    size = min(int(len(body) * delivery.share), len(body) - 1)
    connection.send(response.head(_length(body)) + body[: max(size, 0)])
    connection.pause(math.inf)


def greet(delivery: Delivery, connection: Connection) -> None:
    """
    What happens to a new connection before its first request; it may be closed afterwards.

    Raises:
        ClientGone: The client has hung up, or the provider is being stopped.
    """
    if isinstance(delivery, deliveries.NeverRead):
        connection.shrink_receive_buffer()
        connection.pause(math.inf)
    elif isinstance(delivery, deliveries.BreakTls):
        _break_tls(delivery.how, connection)


def _break_tls(how: str, connection: Connection) -> None:
    connection.wait_for_bytes()
    if how == "stall":
        connection.pause(math.inf)
    elif how == "garbage":
        connection.send(_NOT_TLS)
    elif how == "alert":
        connection.send(_HANDSHAKE_FAILURE)
    _end(connection, reset=how == "reset")

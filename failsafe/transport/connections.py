"""urllib3 connections and pools that use deadline sockets."""

from __future__ import annotations

import http.client
import queue
import re
from collections import deque
from typing import Any

from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import ConnectTimeoutError, NewConnectionError
from urllib3.response import HTTPResponse

from failsafe.models import Phase
from failsafe.transport.exchange import current
from failsafe.transport.sockets import DeadlineSocket, claim, has_more, held_by, open_socket

_DIGITS = re.compile(r"\d{1,18}", re.ASCII)
_CHUNK_HEAD = re.compile(rb"([0-9a-fA-F]{1,8})(?:;[^\r\n]*)?\r\n")  # RFC 9112 section 7.1
_JOINED = 65_536  # bytes of body that are worth copying to leave in one packet with the head


class FinalResponse(http.client.HTTPResponse):
    """
    An answer whose beginning and end are certain.

    The standard library drops no interim answer (1xx) but 100, leaves out every header after one it cannot
    read, guesses where a body ends when the headers contradict each other, and does not look whether more
    was sent than the answer, which the next one on that connection would begin with.
    """

    def __init__(self, sock: Any, *args: Any, **kwargs: Any) -> None:
        super().__init__(sock, *args, **kwargs)
        self._held = held_by(sock)
        current().final = self

    def begin(self) -> None:
        """Read the head of the answer."""
        super().begin()
        if self.msg.defects and self.msg.get_payload():
            raise http.client.HTTPException("a line among the headers is no header")
        self._check_framing()
        if self.status == http.HTTPStatus.SWITCHING_PROTOCOLS:
            self.will_close = True

    def _check_framing(self) -> None:
        """Refuse a body whose end two servers could see at two places (RFC 9112 section 6.3)."""
        coding = self.msg.get("transfer-encoding")
        lengths = self.msg.get_all("content-length", ())
        if coding is not None:
            if coding.strip().lower() != "chunked":
                raise http.client.HTTPException("its Transfer-Encoding is unknown")
            if lengths:
                del self.msg["content-length"]
                self.will_close = True
        elif lengths and (len(set(lengths)) > 1 or not _DIGITS.fullmatch(lengths[0].strip())):
            raise http.client.HTTPException("its Content-Length is no length")

    def _read_status(self) -> tuple[str, int, str]:
        while True:
            version, status, reason = super()._read_status()  # type: ignore[misc]
            if not 100 <= status < 200 or status == http.HTTPStatus.SWITCHING_PROTOCOLS:
                return version, status, reason
            http.client.parse_headers(self.fp)

    def read1(self, n: int = -1) -> bytes:
        """
        Read what has come, at least one byte.

        Of a chunked body that is every whole chunk that lies in this process already: the standard library gives one
        chunk at a time, in five calls, and a stream has one an event.
        """
        if self.chunked and not self.chunk_left and self.fp is not None and n > 0:
            chunks = self._whole_chunks(n)
            if chunks:
                return chunks
        return super().read1(n)

    def _whole_chunks(self, most: int) -> bytes:
        """The chunks of *most* bytes together that have come as a whole; waits, if nothing has come at all."""
        ahead = self.fp.peek(1)
        position = 0
        if self.chunk_left == 0:  # the end of the chunk before is still due
            if not ahead.startswith(b"\r\n"):
                return b""
            position = 2
        pieces: list[bytes] = []
        while head := _CHUNK_HEAD.match(ahead, position):
            start, size = head.end(), int(head[1], 16)
            end = start + size
            if not size or size > most or not ahead.startswith(b"\r\n", end):
                break
            pieces.append(ahead[start:end])
            position, most = end + 2, most - size
        if not pieces:
            return b""
        self.fp.read(position)
        self.chunk_left = None  # as before the head of a chunk
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def _read_next_chunk_size(self) -> int:
        size: int = super()._read_next_chunk_size()  # type: ignore[misc]
        if size < 0:  # the standard library would take all that follows for one chunk, heads of chunks included
            raise ValueError
        return size

    def _close_conn(self) -> None:
        finished = not self.chunk_left if self.chunked else self.length == 0
        if finished and not self.will_close and has_more(self.fp, self._held):
            self._held.spoilt = True
        super()._close_conn()  # type: ignore[misc]


class DeadlineConnection(HTTPConnection):
    """A plain connection, to the server or to a proxy that forwards."""

    response_class = FinalResponse
    _held_back: list[bytes] | None = None

    def _new_conn(self) -> DeadlineSocket:
        exchange = current()
        try:
            exchange.connecting()
            held = open_socket(self._dns_host.strip("[]"), self.port, exchange, self.socket_options)
        except TimeoutError as error:
            raise ConnectTimeoutError(self, "timed out") from error
        except OSError as error:
            raise NewConnectionError(self, "failed") from error
        exchange.phase = Phase.PROXY if self.proxy_is_tunneling else Phase.TLS
        return held

    def _tunnel(self) -> None:
        super()._tunnel()
        current().check()  # a cut connection may look like the end of the proxy's answer
        current().phase = Phase.TLS

    def connect(self) -> None:
        """Connect within the connect limit, proxy and TLS included."""
        super().connect()
        current().connected()

    def request(self, *args: Any, **kwargs: Any) -> None:
        """Send a request, head and a body of moderate size in one write."""
        exchange = current()
        if self.sock is None:
            self.connect()
        claim(self.sock, exchange)
        exchange.phase = Phase.SEND
        self._held_back = []
        try:
            super().request(*args, **kwargs)
            self._flush(self._held_back)
        finally:
            self._held_back = None

    def send(self, data: Any) -> None:
        """Send *data*, or hold it back while a request is put together."""
        if self._held_back is None:
            super().send(data)
        else:
            self._held_back.append(data)

    def _flush(self, parts: list[bytes]) -> None:
        self._held_back = None
        if sum(map(len, parts)) <= _JOINED:
            parts = [b"".join(parts)]
        for part in parts:
            super().send(part)

    def getresponse(self) -> HTTPResponse:  # type: ignore[override] # as urllib3 has it
        """Wait for the head of the answer."""
        exchange = current()
        exchange.phase = Phase.WAIT
        response = super().getresponse()
        exchange.phase = Phase.READ
        return response


class DeadlineTLSConnection(DeadlineConnection, HTTPSConnection):
    """A TLS connection, straight or through a proxy's tunnel."""

    def connect(self) -> None:
        """Connect within the connect limit, proxy and TLS included."""
        HTTPSConnection.connect(self)
        encryption: str | None = self.sock.version()  # type: ignore[union-attr]
        if encryption is None:  # the peer hung up so early that Python skipped the handshake
            self.close()
            raise NewConnectionError(self, "hung up before the TLS handshake")
        current().connected()


class IdleConnections:
    """
    The idle connections of one pool, newest first; what urllib3 uses of a ``LifoQueue``.

    Holds no lock, so a fork in another thread's middle of things leaves no lock for ever taken in the
    child. Thread-safe: a deque's own operations are atomic.

    Args:
        most: How many connections are kept.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._idle: deque[HTTPConnection] = deque()

    def get(self, block: bool = False, timeout: float | None = None) -> HTTPConnection:  # noqa: ARG002
        """The connection that was put in last."""
        try:
            return self._idle.pop()
        except IndexError:
            raise queue.Empty from None

    def put(self, connection: HTTPConnection | None, block: bool = False) -> None:  # noqa: ARG002
        """
        Keep *connection* if there is room, else close it; None, urllib3's empty place, needs none.

        It never says that it is full: urllib3 would warn of what is no fault of the user's.
        """
        if connection is None:
            return
        if len(self._idle) < self._most:
            self._idle.append(connection)
        else:
            connection.close()

    def qsize(self) -> int:
        """How many are idle."""
        return len(self._idle)


class DeadlinePool(HTTPConnectionPool):
    """Connections of one plain-text host."""

    ConnectionCls = DeadlineConnection
    QueueCls = IdleConnections  # type: ignore[assignment]

    def connect_once(self, *, tunnel: bool) -> None:
        """
        Make a connection of its own as a request would, and close it.

        Args:
            tunnel: Whether the way leads through a tunnel that the proxy is to open.
        """
        connection: Any = self._new_conn()
        try:
            if tunnel:
                self._prepare_proxy(connection)
            else:
                connection.connect()
        finally:
            connection.close()

    def _put_conn(self, conn: Any) -> None:
        _give_back(conn)
        super()._put_conn(conn)


class DeadlineTLSPool(DeadlinePool, HTTPSConnectionPool):
    """Connections of one TLS host."""

    ConnectionCls = DeadlineTLSConnection


def _give_back(connection: HTTPConnection | None) -> None:
    """Let go of a connection before another thread can see it: a late cancellation must not end its call."""
    if connection is None:
        return
    held: Any = current().release()
    if held is not None:
        held.exchange = None
        if held.spoilt:
            connection.close()

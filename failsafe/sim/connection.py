"""One client's connection, seen from the fake provider."""

from __future__ import annotations

import contextlib
import select
import socket
import ssl
import struct
import threading
from collections.abc import Callable

from failsafe.sim.record import BODY_KEPT, Record
from failsafe.sim.wire import BadRequest, Head, parse_head

_RST_ON_CLOSE = struct.pack("ii", 1, 0)
_SHORT_PAUSE = 0.05  # seconds; below it, a client that hangs up is not worth a system call
_HEAD_LIMIT = 256 * 1024
_BODY_LIMIT = 256 * 1024 * 1024
_READ_SIZE = 65_536
_HUNG_UP = getattr(select, "POLLRDHUP", None)  # Linux only


class ClientGone(Exception):
    """The client has hung up, or the provider is being stopped; nothing more can be said."""


class Connection:
    """
    A socket with the few verbs that the faults are made of.

    Used by the one thread that serves it, except for :meth:`interrupt` and :meth:`abort`, which any thread may call.

    Args:
        sock: The accepted socket; closed by this object.
        record: Where every byte that comes in is kept.
        stopping: Set when the provider stops.
    """

    def __init__(self, sock: socket.socket, record: Record, stopping: threading.Event) -> None:
        self.number = record.add_connection()
        self._record = record
        self._stopping = stopping
        self._buffer = bytearray()
        self._closing = threading.Lock()
        self._sock: socket.socket | None = sock  # guarded by _closing where it is closed or interrupted
        sock.settimeout(None)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    @property
    def is_open(self) -> bool:
        """Whether it can still be used."""
        return self._sock is not None

    def start_tls(self, context: ssl.SSLContext) -> None:
        """
        Shake hands as the server.

        Raises:
            ClientGone: The handshake failed.
        """
        with self._closing:
            plain = self._live()
            self._sock = context.wrap_socket(plain, server_side=True, do_handshake_on_connect=False)
        self._guarded(self._sock.do_handshake)

    def interrupt(self) -> None:
        """Wake the serving thread out of whatever it waits for on this socket. Thread-safe."""
        with self._closing:
            self._shut_down(socket.SHUT_RDWR)

    def abort(self) -> None:
        """
        The same, but the client sees a reset (RST) when the thread closes the socket. Thread-safe.

        It does not wake a thread that is sending to a client which does not read.
        """
        with self._closing:
            if self._sock is not None:
                self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RST_ON_CLOSE)
                # the reading side alone: shutting down the other would say FIN before the RST
                self._shut_down(socket.SHUT_RD)

    def _shut_down(self, how: int) -> None:
        if self._sock is not None:
            with contextlib.suppress(OSError):  # the client was faster
                # the plain method: an SSLSocket's own would drop its session under the serving thread's feet
                socket.socket.shutdown(self._sock, how)

    def close(self) -> None:
        """Close in good order (FIN). Does nothing the second time."""
        with self._closing:
            sock, self._sock = self._sock, None
        if sock is not None:
            sock.close()

    def reset(self) -> None:
        """Close by RST, which throws away whatever the client has not read yet."""
        with self._closing:
            if self._sock is not None:
                self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RST_ON_CLOSE)
        self.close()

    def shrink_receive_buffer(self) -> None:
        """Take as little as the system allows while nothing is read."""
        self._live().setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)

    def send(self, data: bytes) -> None:
        """
        Send all of *data*.

        Raises:
            ClientGone: The client does not take it.
        """
        sock = self._live()
        try:
            sock.sendall(data)
        except OSError:
            raise ClientGone from None

    def pause(self, seconds: float) -> None:
        """
        Wait *seconds* (``math.inf``: until the client hangs up or the provider stops).

        Raises:
            ClientGone: Either happened.
        """
        if seconds <= 0:
            return
        if seconds <= _SHORT_PAUSE or _HUNG_UP is None:
            gone = self._stopping.wait(min(seconds, threading.TIMEOUT_MAX))
        else:
            poller = select.poll()
            poller.register(self._live(), _HUNG_UP)
            gone = bool(poller.poll(None if seconds > _LONGEST_POLL else seconds * 1000))
        if gone or self._stopping.is_set():
            raise ClientGone

    def read_head(self) -> Head | None:
        """
        The head of the next request, or None when the client is done.

        Raises:
            BadRequest: What came is no request.
        """
        while (end := self._buffer.find(b"\r\n\r\n")) < 0:
            if len(self._buffer) > _HEAD_LIMIT:
                raise BadRequest(f"the head is longer than {_HEAD_LIMIT} bytes")
            if not self._receive():
                return None
        head = bytes(self._buffer[:end])
        del self._buffer[: end + 4]
        return parse_head(head)

    def read_body(self, head: Head) -> bytes:
        """
        The body that belongs to *head*.

        Raises:
            BadRequest: Its framing is broken, or it is longer than 256 MiB.
            ClientGone: It stopped short.
        """
        if head.is_chunked():
            return self._read_chunks()
        length = head.content_length()
        if length > _BODY_LIMIT:
            raise BadRequest(f"the body is longer than {_BODY_LIMIT} bytes")
        return self._take(length)

    def wait_for_bytes(self) -> None:
        """
        Block until the client has said something.

        Raises:
            ClientGone: It hung up instead.
        """
        if not self._receive():
            raise ClientGone

    def _read_chunks(self) -> bytes:
        body = bytearray()
        while True:
            size_line = self._take_line()
            try:
                size = int(size_line.partition(b";")[0], 16)
            except ValueError:
                raise BadRequest(f"{size_line[:100]!r} is not the size of a chunk") from None
            if size < 0 or len(body) + size > _BODY_LIMIT:
                raise BadRequest(f"the body is longer than {_BODY_LIMIT} bytes")
            body += self._take(size)
            trailer = self._take_line()
            if not size:
                while trailer:
                    trailer = self._take_line()
                return bytes(body)

    def _take_line(self) -> bytes:
        while (end := self._buffer.find(b"\r\n")) < 0:
            if len(self._buffer) > _HEAD_LIMIT:
                raise BadRequest("a line of the body's framing has no end")
            self.wait_for_bytes()
        line = bytes(self._buffer[:end])
        del self._buffer[: end + 2]
        return line

    def _take(self, length: int) -> bytes:
        if length - len(self._buffer) > _READ_SIZE:
            return self._take_long(length)
        while len(self._buffer) < length:
            self.wait_for_bytes()
        data = bytes(self._buffer[:length])
        del self._buffer[:length]
        return data

    def _take_long(self, length: int) -> bytes:
        """Read into place, without a copy a piece; only the first MiB goes into the record."""
        body = bytearray(length)
        filled = len(self._buffer)
        body[:filled] = self._buffer
        self._buffer.clear()
        view = memoryview(body)
        while filled < length:
            try:
                size = self._live().recv_into(view[filled : filled + 1024 * 1024])
            except OSError:
                raise ClientGone from None
            if not size:
                raise ClientGone
            if filled < BODY_KEPT:
                self._record.add_bytes(view[filled : filled + size])
            filled += size
        return bytes(body)

    def _receive(self) -> bool:
        """Read what there is, blocking for the first byte; False at the end."""
        try:
            data = self._live().recv(_READ_SIZE)
        except OSError:
            return False
        self._record.add_bytes(data)
        self._buffer += data
        return bool(data)

    def _live(self) -> socket.socket:
        if self._sock is None:
            raise ClientGone
        return self._sock

    def _guarded(self, action: Callable[[], object]) -> None:
        try:
            action()
        except (OSError, ValueError):  # ssl raises ValueError when the socket was closed meanwhile
            raise ClientGone from None


_LONGEST_POLL = 86_400.0  # seconds; poll() overflows far above this

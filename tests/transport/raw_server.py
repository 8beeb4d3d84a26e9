"""A loopback server that does, connection by connection, what a test's script says."""

from __future__ import annotations

import socket
import ssl
import struct
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from types import TracebackType
from typing import Self

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"


class Peer:
    """The server's end of one connection."""

    def __init__(self, sock: socket.socket, server: RawServer) -> None:
        self.sock = sock
        self.server = server
        self._unread = b""

    def read_request(self) -> bytes:
        """One whole request, or b"" when the client has hung up."""
        head, body = self._read_head()
        if not head:
            return b""
        length = 0
        for line in head.split(b"\r\n"):
            if line.lower().startswith(b"content-length:"):
                length = int(line.split(b":")[1])
        while len(body) < length:
            body += self.sock.recv(65536)
        self._unread = body[length:]
        self.server.requests.append(head + b"\r\n\r\n" + body[:length])
        self.server.asked.set()
        return self.server.requests[-1]

    def _read_head(self) -> tuple[bytes, bytes]:
        received = self._unread
        while b"\r\n\r\n" not in received:
            part = self.sock.recv(65536)
            if not part:
                return b"", b""
            received += part
        head, _, body = received.partition(b"\r\n\r\n")
        return head, body

    def send(self, data: bytes) -> None:
        self.sock.sendall(data)

    def drip(self, data: bytes, every: float = 0.02) -> None:
        """Send *data* a byte at a time, again and again, until the test ends or the client hangs up."""
        while True:
            for place in range(len(data)):
                if self.server.stopped.wait(every):
                    return
                self.send(data[place : place + 1])

    def hang(self) -> None:
        """Do nothing until the client hangs up, or the test ends."""
        while self.sock.recv(65536):
            pass

    def stall(self) -> None:
        """Read nothing until the test ends."""
        self.server.stopped.wait(10)

    def reset(self) -> None:
        """Cut the connection with an RST."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()


Script = Callable[[Peer], None]


def answer(data: bytes = OK) -> Script:
    """A script that answers every request of a connection with *data*."""

    def script(peer: Peer) -> None:
        while peer.read_request():
            peer.send(data)

    return script


def answer_once(data: bytes) -> Script:
    """A script that answers one request with *data* and hangs up."""

    def script(peer: Peer) -> None:
        peer.read_request()
        peer.send(data)

    return script


class RawServer:
    """
    Serves each connection by the next of *scripts*; the last one serves all that follow.

    With *tls*, scripts see the decrypted connection.
    """

    def __init__(
        self,
        *scripts: Script,
        tls: ssl.SSLContext | None = None,
        receive_buffer: int | None = None,
        family: socket.AddressFamily = socket.AF_INET,
    ) -> None:
        self.requests: list[bytes] = []
        self.connections = 0
        self.stopped = threading.Event()
        self.asked = threading.Event()
        self.accepted = threading.Event()
        self._scripts: Sequence[Script] = scripts
        self._tls = tls
        self._socks: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self._listener = socket.socket(family)
        if receive_buffer is not None:
            self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self._listener.bind(("::1" if family is socket.AF_INET6 else "127.0.0.1", 0))
        self._listener.listen(64)
        self.port: int = self._listener.getsockname()[1]
        self._start(self._accept)

    @property
    def url(self) -> str:
        return f"{'https' if self._tls else 'http'}://127.0.0.1:{self.port}"

    def _start(self, target: Callable[..., None], *args: object) -> None:
        thread = threading.Thread(target=target, args=args, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            script = self._scripts[min(self.connections, len(self._scripts) - 1)]
            self.connections += 1
            self._socks.append(sock)
            self.accepted.set()
            self._start(self._serve, sock, script)

    def _serve(self, sock: socket.socket, script: Script) -> None:
        try:
            if self._tls is not None:
                sock = self._tls.wrap_socket(sock, server_side=True)
                self._socks.append(sock)
            script(Peer(sock, self))
        except OSError:
            pass  # the client hung up, or the test ended
        finally:
            sock.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stopped.set()
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for sock in self._socks:
            with suppress(OSError):
                socket.socket.shutdown(sock, socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(5)
            assert not thread.is_alive()
        for sock in self._socks:
            sock.close()

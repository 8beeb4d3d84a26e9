"""
Sockets that keep the deadline of the exchange they serve.

A socket's own timeout bounds one operation, so a peer that sends a byte now and then is never late. These
lower their timeout to what is left before every operation; no thread watches over them.
"""

from __future__ import annotations

import errno
import io
import os
import socket
import ssl
from typing import Any

from failsafe.models import Phase
from failsafe.transport import resolver
from failsafe.transport.exchange import Exchange, current
from failsafe.transport.resolver import Address, LookupFailed

_LATE_AT_MOST = 0.002
"""Seconds by which an operation may end too late, so that a quick exchange need not ask the system at every step."""


class BoundedSocket(socket.socket):
    """What both kinds of socket share: the exchange they serve bounds their operations."""

    exchange: Exchange | None = None
    """The exchange it serves, or None while it is idle in the pool."""
    spoilt = False
    """Whether more came than an answer, so that the next one would begin with what is none of it."""

    def pending(self) -> int:
        """Bytes that lie in this process and were not read yet; a plain socket leaves them to the system."""
        return 0

    def settimeout(self, value: float | None) -> None:
        """
        Bound the next operation; None changes nothing while the socket serves an exchange.

        urllib3 lifts the limit before it sends and before it reads, and every operation here sets its own: each
        change is a call of the system.
        """
        if value is not None or self.exchange is None:
            super().settimeout(value)

    def recv_into(self, *args: Any) -> int:
        """Receive into a buffer, for as long as the exchange may."""
        _arm(self)
        return super().recv_into(*args)

    def send(self, *args: Any) -> int:
        """Send some of the data, for as long as the exchange may."""
        _arm(self, writing=True)
        return super().send(*args)


class DeadlineSocket(BoundedSocket):
    """A plain socket whose blocking operations end with the exchange that holds it."""

    def recv(self, *args: Any) -> bytes:
        """Receive, for as long as the exchange may."""
        _arm(self)
        return super().recv(*args)

    def sendall(self, *args: Any) -> None:
        """Send all of the data, for as long as the exchange may."""
        _arm(self, writing=True)  # the timeout bounds the whole of sendall, not each of its writes
        super().sendall(*args)


class DeadlineTLSSocket(BoundedSocket, ssl.SSLSocket):
    """
    A TLS socket whose blocking operations, the handshake included, end with the exchange that holds it.

    Its ``sendall`` comes through :meth:`send`.
    """

    def pending(self) -> int:
        """Bytes decrypted and not yet read."""
        return ssl.SSLSocket.pending(self)

    def do_handshake(self, block: bool = False) -> None:
        """Take the plain socket's place in the exchange of this thread, and shake hands in time."""
        claim(self, current())
        _arm(self)
        super().do_handshake(block)

    def recv(self, *args: Any) -> bytes:
        """Receive, for as long as the exchange may."""
        if self.exchange is None:  # Python looks whether a connection broke before the handshake, and may leave it open
            claim(self, current())
        _arm(self)
        return super().recv(*args)


def claim(held: Any, exchange: Exchange) -> None:
    """
    Bind *held* to *exchange*.

    Args:
        held: One of the sockets above, or urllib3's TLS-in-TLS around one.
        exchange: Whose limits count, and whose cancellation shuts it down.

    Raises:
        GaveUp: The exchange is cancelled.
    """
    held = held_by(held)
    held.exchange = exchange
    exchange.claim(held)


def held_by(sock: Any) -> BoundedSocket:
    """The socket among those above that *sock* is, or that urllib3's TLS-in-TLS *sock* is around."""
    return sock if isinstance(sock, BoundedSocket) else sock.socket


def has_more(reader: io.BufferedReader, held: BoundedSocket) -> bool:
    """
    Whether bytes lie in the *reader*, or decrypted within the TLS layer of *held*, that nobody read yet.

    Nobody sees those who looks at the socket itself, as urllib3 does before it uses a connection again.
    """
    exchange = held.exchange
    if exchange is None:
        return False
    exchange.at_once = True
    try:
        return bool(reader.peek(1))
    except (OSError, ValueError):  # nobody can tell
        return True
    finally:
        exchange.at_once = False


def open_socket(
    host: str, port: int, exchange: Exchange, options: list[tuple[int, int, int | bytes]] | None
) -> DeadlineSocket:
    """
    Connect to the first address of *host* that answers; all of them share the connect limit.

    Args:
        host: A name or an address, without brackets.
        port: The TCP port.
        exchange: Whose connect limit counts, and whose cancellation ends this.
        options: Socket options to set before connecting: level, name, value.

    Raises:
        OSError: No address answered (``TimeoutError`` if the limit ended); ``exchange.blame`` says why in words.
    """
    exchange.phase = Phase.DNS
    try:
        addresses = resolver.shared.resolve(host, port, exchange)
    except LookupFailed as error:
        exchange.blame = str(error)
        raise
    exchange.phase = Phase.CONNECT
    problem: OSError = LookupFailed()
    for place, address in enumerate(addresses):
        exchange.check()
        try:
            return _connect(address, exchange, options, exchange.left / (len(addresses) - place))
        except OSError as error:
            problem = error
            exchange.blame = _describe(error, address)
    try:
        raise problem
    finally:
        del problem  # it holds this frame, which would hold it


def _connect(
    address: Address, exchange: Exchange, options: list[tuple[int, int, int | bytes]] | None, seconds: float
) -> DeadlineSocket:
    """Connect to one address within *seconds*."""
    family, kind, protocol, target = address
    held = DeadlineSocket(family, kind, protocol)
    try:
        for option in options or ():
            held.setsockopt(*option)
        claim(held, exchange)
        held.settimeout(seconds)
        held.connect(target)
        exchange.check()  # a shutdown while connecting may look like success
    except BaseException:
        held.close()
        raise
    return held


_WORDS = {
    errno.ECONNREFUSED: "connection refused by {}",
    errno.ENETUNREACH: "no route to {}",
    errno.EHOSTUNREACH: "no route to {}",
}


def _describe(error: OSError, address: Address) -> str:
    """Why *address* could not be connected to, without the exception's own text."""
    where = spelled(*address[3][:2])
    if isinstance(error, TimeoutError):
        return f"{where} did not answer"
    if error.errno in _WORDS:
        return _WORDS[error.errno].format(where)
    return f"cannot connect to {where}: {os.strerror(error.errno) if error.errno else 'the socket failed'}"


def spelled(host: str, port: int) -> str:
    """Host and port as they stand in a URL."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _arm(held: BoundedSocket, *, writing: bool = False) -> None:
    """Let the next operation take what the exchange has left, and not a moment more."""
    exchange = held.exchange
    if exchange is None:
        return
    if exchange.at_once and not held.pending():
        raise BlockingIOError(errno.EAGAIN, "nothing is there")
    left = exchange.left
    in_force = held.gettimeout()
    if in_force is None or not left <= in_force <= left + _LATE_AT_MOST:
        held.settimeout(left)
    if writing:
        exchange.wrote = True

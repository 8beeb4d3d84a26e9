"""Looking up names within a time limit, although the system's resolver knows none."""

from __future__ import annotations

import ipaddress
import os
import socket
import threading
from typing import Any

from failsafe import forking, threads
from failsafe.signal_safe import SignalSafeEvent
from failsafe.transport.exchange import Exchange

Address = tuple[int, int, int, Any]
"""Family, type, protocol and socket address, as :func:`socket.getaddrinfo` gives them."""

MOST_LOOKUPS = 8
"""Look-ups that may run at once in a process, abandoned ones included."""


class LookupFailed(OSError):
    """A name has no address, or cannot be looked up now; the message says why."""


class _Lookup:
    """One look-up under way and the threads that wait for it."""

    def __init__(self) -> None:
        self.waiting: list[threading.Event] = []  # guarded by Resolver._lock
        self.addresses: list[Address] = []
        self.problem = ""
        self.done = False


class Resolver:
    """
    Looks names up in threads that can be left behind.

    ``getaddrinfo`` cannot be interrupted, so it runs in a daemonic thread; whoever has no time left walks
    away from it. Threads that ask for the same name share one look-up. When all places are taken by
    look-ups that nobody waits for any more, the next one fails at once; while somebody still waits for
    one of them, it waits for a place. Thread-safe.

    Args:
        most: Look-ups that may run at once, abandoned ones included.
    """

    def __init__(self, most: int = MOST_LOOKUPS) -> None:
        self._most = most
        self._after_fork()
        forking.register(self)

    def _after_fork(self) -> None:
        self._lock = threading.Lock()
        self._running: dict[tuple[str, int], _Lookup] = {}  # guarded by _lock
        self._queue: list[threading.Event] = []  # guarded by _lock

    def resolve(self, host: str, port: int, exchange: Exchange) -> list[Address]:
        """
        The addresses of *host*, in the order to try them; an IP address is its own.

        Raises:
            LookupFailed: There is none, or every place is taken by look-ups that hang.
            TimeoutError: The exchange's limit ended first.
            GaveUp: The exchange was cancelled.
        """
        literal = _literal(host, port)
        if literal is not None:
            return [literal]
        wake = SignalSafeEvent()
        exchange.waiting(wake)
        try:
            return self._wait(host, port, exchange, wake)
        finally:
            exchange.waiting(None)
            self._leave(wake)

    def _wait(self, host: str, port: int, exchange: Exchange, wake: threading.Event) -> list[Address]:
        lookup: _Lookup | None = None
        while lookup is None or not lookup.done:
            wake.clear()
            exchange.check()
            lookup = lookup or self._join(host, port, wake)
            if lookup is None or not lookup.done:
                exchange.clock.wait(wake, exchange.left)
        exchange.check()
        if not lookup.addresses:
            raise LookupFailed(f"cannot look up {host}: {lookup.problem}")
        return lookup.addresses

    def _join(self, host: str, port: int, wake: threading.Event) -> _Lookup | None:
        """The look-up of *host*, started if need be; None while there is no place for it."""
        with self._lock:
            lookup = self._running.get((host, port))
            if lookup is None:
                if len(self._running) >= self._most:
                    self._stand_in_line_locked(host, wake)
                    return None
                lookup = self._start_locked(host, port)
            lookup.waiting.append(wake)
        return lookup

    def _stand_in_line_locked(self, host: str, wake: threading.Event) -> None:
        if not any(lookup.waiting for lookup in self._running.values()):
            raise LookupFailed(f"cannot look up {host}: {self._most} other look-ups hang; check the DNS server")
        if wake not in self._queue:
            self._queue.append(wake)

    def _start_locked(self, host: str, port: int) -> _Lookup:
        lookup = self._running[host, port] = _Lookup()
        thread = threading.Thread(target=self._run, args=(host, port, lookup), name="failsafe-dns", daemon=True)
        try:
            threads.start(thread)
        except RuntimeError:  # the system has no thread left, or the interpreter is ending
            del self._running[host, port]
            raise LookupFailed(f"cannot look up {host}: no thread can be started") from None
        return lookup

    def _run(self, host: str, port: int, lookup: _Lookup) -> None:
        problem = "the look-up failed"
        try:
            lookup.addresses, problem = _look_up(host, port)
        finally:
            with self._lock:
                lookup.problem = problem
                lookup.done = True
                del self._running[host, port]
                woken = [*lookup.waiting, *self._queue]
                self._queue.clear()
            for wake in woken:
                wake.set()

    def _leave(self, wake: threading.Event) -> None:
        """Wait for nothing any more; whoever stands in line looks again, as a look-up may hang now."""
        with self._lock:
            for lookup in self._running.values():
                if wake in lookup.waiting:
                    lookup.waiting.remove(wake)
            if wake in self._queue:
                self._queue.remove(wake)
            woken = list(self._queue)
        for waiting in woken:
            waiting.set()


def _look_up(host: str, port: int) -> tuple[list[Address], str]:
    """The addresses of *host*, or none and the problem in words; the exception itself stays here."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except socket.gaierror as error:
        return [], str(error.strerror or "unknown name")
    except OSError as error:
        return [], os.strerror(error.errno) if error.errno else "the resolver failed"
    except UnicodeError:
        return [], "it is not a host name"
    addresses: list[Address] = [(family, kind, protocol, address) for family, kind, protocol, _, address in found]
    return addresses, "it has no address"


def _literal(host: str, port: int) -> Address | None:
    """*host* as an address if it is one already."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return None
    if isinstance(address, ipaddress.IPv4Address):
        return socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, (host, port)
    if address.scope_id is None:
        return socket.AF_INET6, socket.SOCK_STREAM, socket.IPPROTO_TCP, (host, port, 0, 0)
    return None


shared = Resolver()
"""The resolver of this process, as it counts the threads left behind in it."""

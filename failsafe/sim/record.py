"""What reached a fake provider, kept within bounds."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

BODY_KEPT = 1024 * 1024
"""How much of one request's body is kept, bytes."""
_REQUESTS_KEPT = 8192
_BODIES_KEPT = 64 * 1024 * 1024
_RAW_KEPT = 16 * 1024 * 1024


@dataclass(frozen=True, kw_only=True, slots=True)
class ReceivedRequest:
    """
    One request as it came in.

    Attributes:
        method: ``POST``, ``GET``, ...
        path: The path, without the query.
        query: What followed the ``?``, or "".
        headers: By lower-case name; of a repeated one, the last.
        body: The body's first MiB.
        decoded: The body's JSON, or None when it is none.
        received_at: Seconds on the provider's monotonic clock, when the request had been read.
        connection: The number of its connection, from 1.
    """

    method: str
    path: str
    query: str
    headers: Mapping[str, str]
    body: bytes
    decoded: Any
    received_at: float
    connection: int


class Record:
    """The latest requests and the first bytes that reached a provider. Thread-safe."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._requests: deque[ReceivedRequest] = deque(maxlen=_REQUESTS_KEPT)  # guarded by _changed
        self._body_bytes = 0  # guarded by _changed
        self._count = 0  # guarded by _changed
        self._raw = bytearray()  # guarded by _changed
        self._connections = 0  # guarded by _changed
        # counts that somebody waits for: a waiter woken by every request would slow the server down by half
        self._request_goals: list[int] = []  # guarded by _changed
        self._connection_goals: list[int] = []  # guarded by _changed

    def add_request(self, request: ReceivedRequest) -> None:
        """Keep *request*, dropping the oldest ones beyond 8,192 requests or 64 MiB of bodies."""
        with self._changed:
            if len(self._requests) == _REQUESTS_KEPT:
                self._drop_oldest_locked()
            self._requests.append(request)
            self._body_bytes += len(request.body)
            while self._body_bytes > _BODIES_KEPT:
                self._drop_oldest_locked()
            self._count += 1
            if self._count in self._request_goals:
                self._changed.notify_all()

    def _drop_oldest_locked(self) -> None:
        self._body_bytes -= len(self._requests.popleft().body)

    def add_bytes(self, data: bytes | memoryview) -> None:
        """Keep *data*, up to 16 MiB in all."""
        with self._changed:
            room = _RAW_KEPT - len(self._raw)
            if room > 0:
                self._raw += data[:room]

    def add_connection(self) -> int:
        """Count one more connection and return its number."""
        with self._changed:
            self._connections += 1
            if self._connections in self._connection_goals:
                self._changed.notify_all()
            return self._connections

    def requests(self) -> list[ReceivedRequest]:
        """The latest requests, oldest first."""
        with self._changed:
            return list(self._requests)

    def count(self) -> int:
        """All requests so far."""
        with self._changed:
            return self._count

    def connections(self) -> int:
        """All connections so far."""
        with self._changed:
            return self._connections

    def raw(self) -> bytes:
        """The first 16 MiB that came in, of all connections, as they came."""
        with self._changed:
            return bytes(self._raw)

    def wait_for_requests(self, count: int, timeout: float) -> bool:
        """Block until *count* requests have come in all, at most *timeout* seconds; True if they have."""
        return self._wait(self._request_goals, count, lambda: self._count >= count, timeout)

    def wait_for_connections(self, count: int, timeout: float) -> bool:
        """Block until *count* connections have come in all, at most *timeout* seconds; True if they have."""
        return self._wait(self._connection_goals, count, lambda: self._connections >= count, timeout)

    def _wait(self, goals: list[int], goal: int, reached: Callable[[], bool], timeout: float) -> bool:
        with self._changed:
            goals.append(goal)
            try:
                return self._changed.wait_for(reached, timeout)
            finally:
                goals.remove(goal)

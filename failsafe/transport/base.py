"""What a transport is given and what it gives back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import msgspec

from failsafe.deadline import CancelToken, Deadline
from failsafe.models import Failure
from failsafe.secret import Secret


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """
    What bounds one exchange.

    Attributes:
        deadline: When the whole exchange must have ended, whatever the network does.
        connect_timeout: Seconds for DNS, connecting (all addresses), proxy and TLS together.
        max_bytes: The largest answer body, decompressed.
        cancel: Ends the exchange from another thread, or None.
    """

    deadline: Deadline
    connect_timeout: float = 5.0
    max_bytes: int = 64 * 1024 * 1024
    cancel: CancelToken | None = None


class RawAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """
    An HTTP answer read to its end, whatever its status.

    Attributes:
        status: The HTTP status.
        headers: The answer's headers; look-ups ignore case.
        body: The whole body, decompressed.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes


class OpenAnswer(Protocol):
    """
    A successful HTTP answer whose body is still to be read, piece by piece. One thread at a time.

    Attributes:
        status: The HTTP status, a success.
        headers: The answer's headers; look-ups ignore case.
        bytes_received: Bytes of the body read off the wire.
    """

    status: int
    headers: Mapping[str, str]

    @property
    def bytes_received(self) -> int:
        """Bytes of the body read off the wire."""

    def read(self, limit: Deadline) -> bytes | Failure:
        """
        What comes next of the body, decompressed, as soon as anything comes; ``b""`` at its proper end.

        Returns by *limit* plus 50 ms. After a :class:`Failure` or the end nothing more is read, and the connection is
        given up or given back.
        """

    def close(self) -> None:
        """Give up what was not read: the socket is closed at once. From any thread; closing again does nothing."""


class Transport(Protocol):
    """
    The seam to the network, one a provider. Thread-safe.

    ``send``, ``open`` and ``connect`` never raise for anything the network does: that is a :class:`Failure` with its
    phase, its bytes and whether the request may have been billed. They return by
    ``limits.deadline`` plus 50 ms.
    """

    def send(
        self, method: str, path: str, body: bytes | None, key: Secret | None, limits: Limits
    ) -> RawAnswer | Failure:
        """Send one request to *path* below the base URL and read the whole answer."""

    def open(
        self, method: str, path: str, body: bytes | None, key: Secret | None, limits: Limits
    ) -> OpenAnswer | RawAnswer | Failure:
        """
        Send one request and read the head of the answer.

        An answer that is no success is read whole. Of the *limits* ``deadline`` bounds only this, and ``max_bytes``
        nothing but such an answer; ``cancel`` holds until the answer is read or closed.
        """

    def connect(self, limits: Limits) -> Failure | None:
        """
        Make a connection as a request would, its TLS handshake and the way through a proxy included, and close it.

        Nothing is asked on it; None if it could be made. Of the *limits* ``max_bytes`` says nothing here.
        """

    def close(self) -> None:
        """Close idle connections; exchanges under way end on their own, and what they lead to may still be sent."""

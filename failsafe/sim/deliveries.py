"""How a fake provider puts its answer on the wire, or fails to."""

from __future__ import annotations

import math
from dataclasses import dataclass

from failsafe import checks

_TLS_WAYS = ("garbage", "alert", "stall", "close", "reset")
_FRAMINGS = ("length", "chunked", "none")


class Delivery:
    """The base of all deliveries. Values: frozen and compared by content."""

    __slots__ = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Whole(Delivery):
    """Head and body in one write, as fast as it goes; a stream event by event."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Chunked(Delivery):
    """
    The body in chunks, properly ended.

    Attributes:
        size: Bytes a chunk.
    """

    size: int = 1024

    def __post_init__(self) -> None:
        checks.whole("size", self.size, least=1)


@dataclass(frozen=True, kw_only=True, slots=True)
class Gzipped(Delivery):
    """The body in gzip, whatever the client said it accepts."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Hang(Delivery):
    """Reads the request and never says a word."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Close(Delivery):
    """Reads the request and closes the connection in good order, without an answer."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Reset(Delivery):
    """Reads the request and resets the connection (RST), without an answer."""


@dataclass(frozen=True, kw_only=True, slots=True)
class DripHeaders(Delivery):
    """
    The head byte by byte; the body follows whole, should it ever come to that.

    Attributes:
        interval: Seconds between two bytes.
    """

    interval: float = 0.1

    def __post_init__(self) -> None:
        checks.number("interval", self.interval, least=0)


@dataclass(frozen=True, kw_only=True, slots=True)
class DripBody(Delivery):
    """
    The head at once, the body a little at a time.

    Attributes:
        interval: Seconds between two pieces.
        size: Bytes a piece.
        chunked: Chunked framing instead of ``Content-Length``.
    """

    interval: float = 0.1
    size: int = 1
    chunked: bool = False

    def __post_init__(self) -> None:
        checks.number("interval", self.interval, least=0)
        checks.whole("size", self.size, least=1)


@dataclass(frozen=True, kw_only=True, slots=True)
class EndlessBody(Delivery):
    """
    Chunks of the answer's own bytes and then of spaces, without end.

    Attributes:
        interval: Seconds between two chunks.
        size: Bytes of space a chunk.
    """

    interval: float = 0.01
    size: int = 16

    def __post_init__(self) -> None:
        checks.number("interval", self.interval, least=0)
        checks.whole("size", self.size, least=1)


@dataclass(frozen=True, kw_only=True, slots=True)
class BlankLines(Delivery):
    """
    Empty lines before the answer, as DeepSeek sends them under load.

    Source: api-docs.deepseek.com, "Rate Limit".

    Attributes:
        interval: Seconds between two lines.
        count: How many; ``math.inf`` for no end.
    """

    interval: float = 0.1
    count: float = math.inf

    def __post_init__(self) -> None:
        checks.number("interval", self.interval, least=0)
        if self.count != math.inf:
            checks.number("count", self.count, least=0)


@dataclass(frozen=True, kw_only=True, slots=True)
class CutBody(Delivery):
    """
    Ends the connection in the middle of the body.

    Attributes:
        share: How much of the body is sent, 0 to 1.
        framing: ``length`` promises the whole body in ``Content-Length``; ``chunked`` leaves the last chunk
            out; ``none`` has neither, so that only the content shows the cut.
        reset: RST instead of an orderly close.
    """

    share: float = 0.5
    framing: str = "length"
    reset: bool = False

    def __post_init__(self) -> None:
        checks.number("share", self.share, least=0, most=1)
        checks.one_of("framing", self.framing, _FRAMINGS)


@dataclass(frozen=True, kw_only=True, slots=True)
class StallBody(Delivery):
    """
    Stops in the middle of the body and keeps the connection open.

    Attributes:
        share: How much of the body is sent, 0 to 1.
    """

    share: float = 0.5

    def __post_init__(self) -> None:
        checks.number("share", self.share, least=0, most=1)


@dataclass(frozen=True, kw_only=True, slots=True)
class NeverRead(Delivery):
    """Takes the connection and reads nothing from it, so that a large request stalls while it is sent."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RefuseConnections(Delivery):
    """
    As if the process had died: every connection is reset, and connecting is refused.

    The port stays reserved and is opened again by the next behaviour.
    """


@dataclass(frozen=True, kw_only=True, slots=True)
class BreakTls(Delivery):
    """
    Spoils the TLS handshake.

    Attributes:
        how: After the client's first bytes: ``garbage``, a fatal ``alert``, ``stall``, ``close`` or ``reset``.
    """

    how: str = "garbage"

    def __post_init__(self) -> None:
        checks.one_of("how", self.how, _TLS_WAYS)

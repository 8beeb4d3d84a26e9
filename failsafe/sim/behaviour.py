"""One behaviour of a fake provider: what it says, how it is delivered, how long it takes and whom it hits."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from failsafe import checks
from failsafe.faults import Fault
from failsafe.sim.answers import Healthy, Reply
from failsafe.sim.deliveries import Delivery, RefuseConnections, Whole

_NEWLINES = ("\n", "\r\n", "\r")
_CUTS = ("clean", "close", "reset")
_ERROR_FORMS = ("event", "bare", "bare_list")


@dataclass(frozen=True, kw_only=True, slots=True)
class StreamShape:
    r"""
    How a streamed answer looks and where it breaks. Events are counted from 1, comments and pings apart.

    Attributes:
        interval: Seconds between two events.
        newline: What ends a line: ``\n``, ``\r\n`` or ``\r``.
        split: Bytes a packet, so that characters and line ends are torn apart; None: an event a packet.
        comments: How many comments come before the first event (``math.inf``: no end),
        comment: their text (``": keep-alive"``; ``""`` is a blank line), and
        comment_interval: the seconds between two of them.
        pings: How many ``ping`` events follow the first event (Anthropic only).
        done: Whether the end marker is sent (``[DONE]``, ``message_stop``).
        finish: Whether a finish reason is sent.
        usage: Whether usage is sent; None: as the request asks.
        obfuscation: Whether each OpenAI chunk carries random-looking padding.
        cut_after: The stream ends after so many events, and
        cut: how: ``clean`` (a proper end of the body), ``close`` (no last chunk) or ``reset`` (RST).
        stall_after: Nothing more comes after so many events.
        error_after: An error comes after so many events and ends the stream, and
        error: what it complains of, and
        error_form: as an ``event``, or as ``bare`` JSON without ``data:``, or the same inside a list of one,
            ``bare_list`` (both seen on Gemini).
    """

    interval: float = 0.0
    newline: str = "\n"
    split: int | None = None
    comments: float = 0
    comment: str = ": keep-alive"
    comment_interval: float = 0.1
    pings: int = 0
    done: bool = True
    finish: bool = True
    usage: bool | None = None
    obfuscation: bool = False
    cut_after: int | None = None
    cut: str = "clean"
    stall_after: int | None = None
    error_after: int | None = None
    error: Fault = Fault.OVERLOADED
    error_form: str = "event"

    def __post_init__(self) -> None:
        checks.number("interval", self.interval, least=0)
        checks.number("comment_interval", self.comment_interval, least=0)
        checks.one_of("newline", self.newline, _NEWLINES)
        checks.one_of("cut", self.cut, _CUTS)
        checks.one_of("error_form", self.error_form, _ERROR_FORMS)
        checks.whole("pings", self.pings)
        if self.comments != math.inf:
            checks.number("comments", self.comments, least=0)
        if self.split is not None:
            checks.whole("split", self.split, least=1)


_GOOD_ANSWER = Healthy()
_AT_ONCE = Whole()
PLAIN_STREAM = StreamShape()
"""A stream without a fault."""


@dataclass(frozen=True, slots=True)
class Behaviour:
    """
    What a fake provider does with a request. ``Behaviour()`` is a healthy one.

    Where more than one of ``probability``, ``every``, ``first`` and ``flap`` is given, all must agree; a request that
    is spared gets a healthy answer after the same latency, or after ``spared_latency``.

    Attributes:
        answer: What it says.
        delivery: How that is put on the wire.
        stream: How a streamed answer looks.
        latency: Seconds before the answer.
        latency_jitter: U(0, this) seconds more.
        spared_latency: Seconds before the answer to a request that is spared. None: ``latency``.
        probability: The share of requests that meet it, by chance.
        every: Only each n-th request meets it.
        first: Only the first n requests meet it.
        flap: On for so many seconds, off for as many, by turns.
        chat_only: Whether the list of models and ``/health`` stay healthy (embeddings are no exception).
        only_model: Only requests for this model meet it.
        only_key: Only requests with this key meet it.
    """

    answer: Reply = _GOOD_ANSWER
    delivery: Delivery = _AT_ONCE
    stream: StreamShape = PLAIN_STREAM
    latency: float = 0.0
    latency_jitter: float = 0.0
    spared_latency: float | None = None
    probability: float = 1.0
    every: int = 1
    first: int | None = None
    flap: float | None = None
    chat_only: bool = False
    only_model: str | None = None
    only_key: str | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if not isinstance(self.answer, Reply):
            checks.refuse("answer", self.answer, "one of failsafe.sim's answers is needed, such as Healthy()")
        if not isinstance(self.delivery, Delivery):
            checks.refuse("delivery", self.delivery, "one of failsafe.sim's deliveries is needed, such as Whole()")
        checks.number("latency", self.latency, least=0)
        checks.number("latency_jitter", self.latency_jitter, least=0)
        if self.spared_latency is not None:
            checks.number("spared_latency", self.spared_latency, least=0)
        checks.number("probability", self.probability, least=0, most=1)
        checks.whole("every", self.every, least=1)
        if self.first is not None:
            checks.whole("first", self.first)
        if self.flap is not None:
            checks.number("flap", self.flap, above=0)
        self._check_refusal()

    def _check_refusal(self) -> None:
        if not isinstance(self.delivery, RefuseConnections):
            return
        if self.picks or self.probability < 1 or self.every > 1 or self.first is not None:
            checks.refuse(
                "delivery", self.delivery, "no request can be picked before it is connected; only flap= may limit it"
            )

    @property
    def spares(self) -> bool:
        """Whether some requests may be spared."""
        return self.picks or self.probability < 1 or self.every > 1 or self.first is not None or self.flap is not None

    @property
    def picks(self) -> bool:
        """Whether what is in a request decides if it is spared."""
        return self.chat_only or self.only_model is not None or self.only_key is not None

    def concerns(self, chat: bool, model: str, key: str) -> bool:
        """Whether a request for *model* with *key* is one of those that may meet it."""
        return (chat or not self.chat_only) and self.only_model in (None, model) and self.only_key in (None, key)

    def spared(self) -> Behaviour:
        """What a spared request meets: a healthy answer after the same latency, or its own."""
        latency = self.latency if self.spared_latency is None else self.spared_latency
        return Behaviour(latency=latency, latency_jitter=self.latency_jitter)


HEALTHY = Behaviour()
"""A provider in good health."""

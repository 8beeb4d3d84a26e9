"""
What failsafe's own tests use, for the tests of programs that use failsafe.

::

    clock = FakeClock()
    openai = ScriptedProvider("openai", failing(Fault.TIMEOUT))
    backup = ScriptedProvider("backup", answer("hello"))
    with scripted_router(openai, backup, clock=clock) as router:
        assert router.chat("hi", model="gpt-4.1").provider == "backup"

No network, no waiting, no chance. The guide is ``docs/testing.md``.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple, TypeVar

import msgspec
from urllib3 import HTTPHeaderDict

from failsafe.clock import Random
from failsafe.config import ProviderConfig, RouterConfig
from failsafe.deadline import Deadline
from failsafe.events import Event
from failsafe.faults import Fault
from failsafe.models import Failure, Phase
from failsafe.policy_config import RetryConfig
from failsafe.router import Router
from failsafe.secret import Secret
from failsafe.transport.base import Limits, OpenAnswer, RawAnswer, Transport

EventT = TypeVar("EventT", bound=Event)

NO_BACKOFF = RetryConfig(base_delay=0.0, max_delay=0.0, jitter=False)
"""Retries without a wait between them, for tests on a real clock."""


class FakeClock:
    """
    A :class:`failsafe.clock.Clock` that stands still until told to move.

    ``wait`` moves it by the whole timeout at once (unless the event is set already), so code that
    sleeps under it takes no time; ``waits`` lists every such wait in seconds. Thread-safe.

    Args:
        start: The first value of :meth:`monotonic`, seconds.
        wall: The first value of :meth:`time`, seconds since 1970-01-01 UTC.
    """

    def __init__(self, start: float = 1000.0, wall: float = 1_800_000_000.0) -> None:
        self._lock = threading.Lock()
        self._now = start  # guarded by _lock
        self._wall_offset = wall - start
        self.waits: list[float] = []
        self._during_wait: list[Callable[[], None]] = []

    def monotonic(self) -> float:
        """Seconds on the fake scale."""
        with self._lock:
            return self._now

    def time(self) -> float:
        """Fake seconds since 1970-01-01 UTC; moves with :meth:`monotonic`."""
        return self.monotonic() + self._wall_offset

    def advance(self, seconds: float) -> None:
        """Move time forward by *seconds*."""
        with self._lock:
            self._now += seconds

    def wait(self, event: threading.Event, timeout: float) -> bool:
        """Move time forward by *timeout* seconds, unless *event* is set; True if it is set."""
        self.waits.append(timeout)
        for callback in self._during_wait:
            callback()
        if not event.is_set():
            self.advance(timeout)
        return event.is_set()

    @contextmanager
    def during_wait(self, callback: Callable[[], None]) -> Iterator[None]:
        """Run *callback* at the start of every wait inside the block, e.g. to cancel a token."""
        self._during_wait.append(callback)
        try:
            yield
        finally:
            self._during_wait.remove(callback)


class StreamScript(NamedTuple):
    """
    A streamed answer, as :func:`streaming` makes it.

    Attributes:
        pieces: What comes, in order: bytes, a failure that ends it, or a function of the limit on the wait
            (a :class:`failsafe.Deadline`) that returns either.
        headers: The answer's headers.
    """

    pieces: tuple[StreamPiece, ...]
    headers: HTTPHeaderDict


StreamPiece = bytes | Failure | Callable[[Deadline], bytes | Failure]
Outcome = RawAnswer | Failure | StreamScript
"""What a scripted provider does with a request."""


class SentRequest(NamedTuple):
    """One request that reached a :class:`ScriptedTransport`; ``body`` is decoded."""

    method: str
    path: str
    body: Any
    key: Secret | None
    limits: Limits


class ScriptedStream:
    """
    One :class:`failsafe.transport.base.OpenAnswer` that plays a :class:`StreamScript`.

    Attributes:
        closed: Whether it was closed, or read to its end.
    """

    def __init__(self, script: StreamScript, limits: Limits) -> None:
        self.status = 200
        self.headers: Mapping[str, str] = script.headers
        self.bytes_received = 0
        self.closed = False
        self._pieces = deque(script.pieces)
        self._cancel = limits.cancel

    def read(self, limit: Deadline) -> bytes | Failure:
        """The next piece; ``b""`` after the last."""
        if self._cancel is not None and self._cancel.cancelled:
            self.closed = True
            return failing(Fault.CANCELLED, phase=Phase.READ)
        piece = self._pieces.popleft() if self._pieces and not self.closed else b""
        came = piece(limit) if callable(piece) else piece
        if isinstance(came, Failure) or not came:
            self.closed = True
        else:
            self.bytes_received += len(came)
        return came

    def close(self) -> None:
        """Note that nobody wants the rest."""
        self.closed = True


def _whole(stream: ScriptedStream, limits: Limits) -> RawAnswer | Failure:
    body = b""
    while piece := stream.read(limits.deadline):
        if isinstance(piece, Failure):
            return piece
        body += piece
    return RawAnswer(status=stream.status, headers=stream.headers, body=body)


class ScriptedTransport:
    """
    A :class:`failsafe.transport.base.Transport` that answers from a script, without a network.

    Each request takes the next outcome; the last one is repeated for ever. An outcome may also be
    a function of the :class:`SentRequest`, e.g. one that moves a :class:`FakeClock` and then fails.
    ``requests`` lists what was sent, ``streams`` the answers that were handed out as streams. Thread-safe.

    Args:
        outcomes: What to do, in order; at least one.
    """

    def __init__(self, *outcomes: Outcome | Callable[[SentRequest], Outcome]) -> None:
        self._lock = threading.Lock()
        self._outcomes = deque(outcomes)  # guarded by _lock
        self.requests: list[SentRequest] = []
        self.streams: list[ScriptedStream] = []
        self.closed = False

    def send(
        self,
        method: str,
        path: str,
        body: bytes | None,
        key: Secret | None,
        limits: Limits,
    ) -> RawAnswer | Failure:
        """Note the request and return the next outcome; a scripted stream comes as a whole."""
        outcome = self._next(method, path, body, key, limits)
        return _whole(ScriptedStream(outcome, limits), limits) if isinstance(outcome, StreamScript) else outcome

    def open(
        self,
        method: str,
        path: str,
        body: bytes | None,
        key: Secret | None,
        limits: Limits,
    ) -> OpenAnswer | RawAnswer | Failure:
        """As :meth:`send`, for an answer that is read piece by piece; a whole one comes in one piece."""
        outcome = self._next(method, path, body, key, limits)
        if isinstance(outcome, RawAnswer) and 200 <= outcome.status < 300:
            outcome = StreamScript((outcome.body,), HTTPHeaderDict(outcome.headers))
        if not isinstance(outcome, StreamScript):
            return outcome
        stream = ScriptedStream(outcome, limits)
        self.streams.append(stream)
        return stream

    def connect(self, limits: Limits) -> Failure | None:
        """Note a request ``CONNECT`` and take the next outcome: the failure that it is, or None for any answer."""
        outcome = self._next("CONNECT", "", None, None, limits)
        return outcome if isinstance(outcome, Failure) else None

    def _next(self, method: str, path: str, body: bytes | None, key: Secret | None, limits: Limits) -> Outcome:
        request = SentRequest(method, path, None if body is None else msgspec.json.decode(body), key, limits)
        with self._lock:
            self.requests.append(request)
            outcome = self._outcomes.popleft() if len(self._outcomes) > 1 else self._outcomes[0]
        return outcome(request) if callable(outcome) else outcome

    def close(self) -> None:
        """Note that the transport was closed."""
        self.closed = True


class ScriptedProvider(ScriptedTransport):
    """
    One provider without a network: its settings, and a script of what it does.

    Args:
        name: Its name. A preset's name brings that preset's models with it; the answers are in OpenAI's
            form all the same, unless *settings* name another ``dialect``.
        outcomes: What it does with each request, as for :class:`ScriptedTransport`.
        **settings: Of :class:`failsafe.ProviderConfig`.

    Attributes:
        config: The settings.

    Raises:
        ConfigError: A setting is wrong.
    """

    def __init__(self, name: str, *outcomes: Outcome | Callable[[SentRequest], Outcome], **settings: Any) -> None:
        super().__init__(*(outcomes or (answer(),)))
        usual = {"base_url": "https://scripted.invalid/v1", "api_key": "scripted-key", "dialect": "openai"}
        self.config = ProviderConfig(name=name, **{**usual, **settings})

    @property
    def asked(self) -> int:
        """How many requests it was sent."""
        return len(self.requests)


def scripted(*providers: ScriptedProvider) -> Callable[[ProviderConfig], Transport]:
    """
    What ``Router(config, transport=...)`` takes, so that *providers* answer by their names.

    For a router whose settings come from elsewhere; every enabled provider of it needs a script.

    Raises:
        KeyError: When the router is made: one of its providers has no script.
    """
    by_name = {provider.config.name: provider for provider in providers}
    return lambda config: by_name[config.name]


def scripted_router(
    *providers: ScriptedProvider, clock: FakeClock | None = None, seed: int = 1, **settings: Any
) -> Router:
    """
    A router over *providers*, asked in this order.

    Args:
        providers: At least one.
        clock: Its time; by default one of its own, on which every wait is over at once.
        seed: Of its source of chance, so that each run draws the same numbers.
        **settings: Of :class:`failsafe.RouterConfig`.

    Raises:
        ConfigError: A setting is wrong.
    """
    return Router(
        RouterConfig(providers=[provider.config for provider in providers], **settings),
        clock=clock or FakeClock(),
        random=Random(seed),
        transport=scripted(*providers),
    )


class RecordedEvents:
    """
    A listener that keeps every event: ``router.on_event(events, sync=True)``, ``breaker.on_state_change(events)``.

    Thread-safe. ``sync=True`` lets an event be there as soon as the call that caused it has ended.

    Attributes:
        all: The events, oldest first.
    """

    def __init__(self) -> None:
        self.all: list[Event] = []  # append is atomic under the GIL

    def __call__(self, event: Event) -> None:
        """Keep *event*."""
        self.all.append(event)

    def of(self, kind: type[EventT]) -> list[EventT]:
        """Those of one kind, oldest first."""
        return [event for event in self.all if isinstance(event, kind)]

    def clear(self) -> None:
        """Forget all."""
        self.all.clear()


def failing(fault: Fault, message: str = "", **details: Any) -> Failure:
    """An outcome that is *fault*, as the transport would report it; *details* are those of ``Failure``."""
    return Failure(fault=fault, message=message or f"scripted: {fault}", **details)


def hanging(clock: FakeClock) -> Callable[[SentRequest], Outcome]:
    """A script that takes all the time it is given, on *clock*, and never answers."""

    def hang(request: SentRequest) -> Outcome:
        clock.advance(request.limits.deadline.left)
        return failing(Fault.TIMEOUT, "no answer", phase=Phase.WAIT, maybe_billed=True)

    return hang


def taking(clock: FakeClock, seconds: float, outcome: Outcome) -> Callable[[SentRequest], Outcome]:
    """A script that lets *seconds* pass on *clock* before *outcome*; it hangs if it is given less."""

    def play(request: SentRequest) -> Outcome:
        if request.limits.deadline.left <= seconds:
            return hanging(clock)(request)
        clock.advance(seconds)
        return outcome

    return play


def answer(text: str = "hello", *, model: str = "gpt-4.1", **headers: str) -> RawAnswer:
    """A complete answer in OpenAI's form; keyword arguments are headers, ``_`` standing for ``-``."""
    body = {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "model": model,
        "choices": [
            {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"},
        ],
        "usage": {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5},
    }
    return RawAnswer(status=200, headers=_headers(headers), body=msgspec.json.encode(body))


def streaming(
    *texts: str | StreamPiece, model: str = "gpt-4.1", finish: str | None = "stop", **headers: str
) -> StreamScript:
    """
    A streamed answer in OpenAI's form.

    Args:
        texts: A chunk each; a failure breaks it off, bytes are sent as they are, and so is what a function of
            the limit returns (see :func:`stalling`).
        model: Who says to have answered.
        finish: The finish reason; None: it ends without one, cut clean.
        headers: The answer's headers, ``_`` standing for ``-``.
    """
    frame = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "model": model}
    pieces = [
        _event(frame | {"choices": [{"index": 0, "delta": {"content": text}, "finish_reason": None}]})
        if isinstance(text, str)
        else text
        for text in texts
    ]
    if finish is not None:
        pieces.append(_event(frame | {"choices": [{"index": 0, "delta": {}, "finish_reason": finish}]}))
        usage = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}
        pieces.append(_event(frame | {"choices": [], "usage": usage}) + b"data: [DONE]\n\n")
    return StreamScript(tuple(pieces), _headers({"Content_Type": "text/event-stream", **headers}))


def _event(data: Any) -> bytes:
    return b"data: " + msgspec.json.encode(data) + b"\n\n"


def stalling(clock: FakeClock) -> Callable[[Deadline], Failure]:
    """A piece of a streamed answer that never comes: all the time it is given passes on *clock*."""

    def stall(limit: Deadline) -> Failure:
        clock.advance(limit.left)
        return failing(Fault.TIMEOUT, "no more", phase=Phase.READ, maybe_billed=True)

    return stall


def vectors(*numbers: Sequence[float], model: str = "text-embedding-3-small", **headers: str) -> RawAnswer:
    """Embeddings in OpenAI's form, one vector a text; keyword arguments are headers, ``_`` standing for ``-``."""
    body = {
        "object": "list",
        "model": model,
        "data": [
            {"object": "embedding", "index": index, "embedding": list(each)} for index, each in enumerate(numbers)
        ],
        "usage": {"prompt_tokens": 2 * len(numbers), "total_tokens": 2 * len(numbers)},
    }
    return RawAnswer(status=200, headers=_headers(headers), body=msgspec.json.encode(body))


def refusal(status: int, message: str = "no", *, code: str | None = None, **headers: str) -> RawAnswer:
    """An error answer in OpenAI's form; keyword arguments are headers, ``_`` standing for ``-``."""
    body = {"error": {"message": message, "type": None, "param": None, "code": code}}
    return RawAnswer(status=status, headers=_headers(headers), body=msgspec.json.encode(body))


def _headers(named: dict[str, str]) -> HTTPHeaderDict:
    headers = HTTPHeaderDict({"Content-Type": "application/json"})
    headers.update({name.replace("_", "-"): value for name, value in named.items()})
    return headers

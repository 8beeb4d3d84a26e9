"""What failsafe's own tests use, for the tests of programs that use failsafe."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import msgspec
from urllib3 import HTTPHeaderDict

from failsafe.models import Failure
from failsafe.secret import Secret
from failsafe.transport.base import Limits, RawAnswer


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


Outcome = RawAnswer | Failure
"""What a scripted provider does with a request."""


class SentRequest(NamedTuple):
    """One request that reached a :class:`ScriptedTransport`; ``body`` is decoded."""

    method: str
    path: str
    body: Any
    key: Secret | None
    limits: Limits


class ScriptedTransport:
    """
    A :class:`failsafe.transport.base.Transport` that answers from a script, without a network.

    Each request takes the next outcome; the last one is repeated for ever. An outcome may also be
    a function of the :class:`SentRequest`, e.g. one that moves a :class:`FakeClock` and then fails.
    ``requests`` lists what was sent. Thread-safe.

    Args:
        outcomes: What to do, in order; at least one.
    """

    def __init__(self, *outcomes: Outcome | Callable[[SentRequest], Outcome]) -> None:
        self._lock = threading.Lock()
        self._outcomes = deque(outcomes)  # guarded by _lock
        self.requests: list[SentRequest] = []
        self.closed = False

    def send(
        self,
        method: str,
        path: str,
        body: bytes | None,
        key: Secret | None,
        limits: Limits,
    ) -> Outcome:
        """Note the request and return the next outcome."""
        request = SentRequest(method, path, None if body is None else msgspec.json.decode(body), key, limits)
        with self._lock:
            self.requests.append(request)
            outcome = self._outcomes.popleft() if len(self._outcomes) > 1 else self._outcomes[0]
        return outcome(request) if callable(outcome) else outcome

    def close(self) -> None:
        """Note that the transport was closed."""
        self.closed = True


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


def refusal(status: int, message: str = "no", *, code: str | None = None, **headers: str) -> RawAnswer:
    """An error answer in OpenAI's form; keyword arguments are headers, ``_`` standing for ``-``."""
    body = {"error": {"message": message, "type": None, "param": None, "code": code}}
    return RawAnswer(status=status, headers=_headers(headers), body=msgspec.json.encode(body))


def _headers(named: dict[str, str]) -> HTTPHeaderDict:
    headers = HTTPHeaderDict({"Content-Type": "application/json"})
    headers.update({name.replace("_", "-"): value for name, value in named.items()})
    return headers

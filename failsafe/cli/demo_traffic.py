"""The two clients of ``failsafe demo``: one with failsafe, one that calls a single provider the plain way."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import requests

from failsafe.cli.demo_scenario import DEADLINE, MODELS
from failsafe.clock import SYSTEM_CLOCK
from failsafe.errors import CallFailed, FailsafeError, ProviderFault
from failsafe.models import Attempt
from failsafe.router import Router
from failsafe.sim import FakeProvider

_GRACE = 0.05  # seconds after the deadline that still count as in time
_SHOWN = 8
_EXPLAINED = 3


class Call(NamedTuple):
    """What became of one prompt; ``provider`` is who answered it, or None."""

    number: int
    prompt: str
    provider: str | None
    seconds: float
    attempts: tuple[Attempt, ...]
    error: str

    @property
    def good(self) -> bool:
        """Whether it was answered in time."""
        return self.provider is not None and self.seconds <= DEADLINE + _GRACE


class Score(NamedTuple):
    """What became of a client's calls; ``failed`` are the first few that were lost or late."""

    sent: int
    answered: int
    lost: int
    slowest: float
    failed: tuple[Call, ...]

    @property
    def under_way(self) -> int:
        """Calls that have not ended."""
        return self.sent - self.answered - self.lost


class Client:
    """
    Sends prompts from a pool of threads and keeps count. Thread-safe, but for :meth:`send`.

    Args:
        ask: Answers one prompt, or tells why it could not.
        threads: Calls in flight at once.
        name: Of the threads.
    """

    def __init__(self, ask: Callable[[int, str], Call], threads: int, name: str) -> None:
        self._ask = ask
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix=name)
        self._lock = threading.Lock()
        self.sent = 0
        """Calls so far; written by one thread only."""
        self._answered = 0  # guarded by _lock
        self._lost = 0  # guarded by _lock
        self._slowest = 0.0  # guarded by _lock
        self._latest: deque[Call] = deque(maxlen=_SHOWN)  # guarded by _lock
        self._failed: list[Call] = []  # guarded by _lock

    def send(self, prompt: str) -> None:
        """Send *prompt* as soon as a thread is free; returns at once."""
        self.sent += 1
        self._pool.submit(self._run, self.sent, prompt)

    def _run(self, number: int, prompt: str) -> None:
        call = self._ask(number, prompt)
        with self._lock:
            self._answered += call.provider is not None
            self._lost += call.provider is None
            self._slowest = max(self._slowest, call.seconds)
            self._latest.append(call)
            if not call.good and len(self._failed) < _EXPLAINED:
                self._failed.append(call)

    def recent(self) -> list[Call]:
        """The last few calls that ended, oldest first."""
        with self._lock:
            return list(self._latest)

    def score(self) -> Score:
        """The count at this moment."""
        with self._lock:
            return Score(self.sent, self._answered, self._lost, self._slowest, tuple(self._failed))

    def finish(self) -> None:
        """Wait for the calls under way, each of which ends by its deadline."""
        self._pool.shutdown(wait=True)


def with_failsafe(router: Router) -> Callable[[int, str], Call]:
    """Ask through *router*."""

    def ask(number: int, prompt: str) -> Call:
        began = SYSTEM_CLOCK.monotonic()
        attempts: tuple[Attempt, ...] = ()
        provider, error = None, ""
        try:
            reply = router.chat(prompt, model="fast")
        except (CallFailed, ProviderFault) as failure:
            attempts, error = failure.attempts, str(failure)
        except FailsafeError as failure:
            error = str(failure)
        else:
            attempts, provider = reply.attempts, reply.provider
        return Call(number, prompt, provider, SYSTEM_CLOCK.monotonic() - began, attempts, error)

    return ask


def the_plain_way(provider: FakeProvider) -> Callable[[int, str], Call]:
    """Ask *provider* alone with ``requests``, the deadline as its timeout, as many programs do."""

    def ask(number: int, prompt: str) -> Call:
        began = SYSTEM_CLOCK.monotonic()
        answered, error = None, ""
        try:
            if _asked_plainly(provider, prompt):
                answered = provider.name
        except (requests.RequestException, ValueError, LookupError, TypeError) as failure:
            error = type(failure).__name__
        return Call(number, prompt, answered, SYSTEM_CLOCK.monotonic() - began, (), error)

    return ask


def _asked_plainly(provider: FakeProvider, prompt: str) -> str:
    with requests.Session() as session:
        session.trust_env = False  # no proxy stands between this machine and itself
        response = session.post(
            f"{provider.base_url}/chat/completions",
            headers={"Authorization": f"Bearer {provider.key}"},
            json={"model": MODELS[0], "messages": [{"role": "user", "content": prompt}]},
            timeout=DEADLINE,
        )
    response.raise_for_status()
    return str(response.json()["choices"][0]["message"]["content"] or "")

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


class Call(NamedTuple):
    """What became of one prompt."""

    number: int
    prompt: str
    provider: str | None
    seconds: float
    attempts: tuple[Attempt, ...]
    error: str


class Client:
    """
    Sends prompts from a pool of threads and keeps count. Thread-safe.

    Args:
        ask: Answers one prompt, or tells why it could not.
        threads: Calls in flight at once.
        name: Of the threads.
    """

    def __init__(self, ask: Callable[[int, str], Call], threads: int, name: str) -> None:
        self._ask = ask
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix=name)
        self._lock = threading.Lock()
        self.sent = 0  # written by one thread only
        self.answered = 0  # guarded by _lock, as are the three below
        self.lost = 0
        self.slowest = 0.0
        self.latest: deque[Call] = deque(maxlen=8)

    def send(self, prompt: str) -> None:
        """Send *prompt* as soon as a thread is free; returns at once."""
        self.sent += 1
        self._pool.submit(self._run, self.sent, prompt)

    def _run(self, number: int, prompt: str) -> None:
        call = self._ask(number, prompt)
        with self._lock:
            self.answered += call.provider is not None
            self.lost += call.provider is None
            self.slowest = max(self.slowest, call.seconds)
            self.latest.append(call)

    def recent(self) -> list[Call]:
        """The last few calls, oldest first."""
        with self._lock:
            return list(self.latest)

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
    """Ask *provider* alone with ``requests.post``, the deadline as its timeout, as many programs do."""

    def ask(number: int, prompt: str) -> Call:
        began = SYSTEM_CLOCK.monotonic()
        answered, error = None, ""
        try:
            response = requests.post(
                f"{provider.base_url}/chat/completions",
                headers={"Authorization": f"Bearer {provider.key}"},
                json={"model": MODELS[0], "messages": [{"role": "user", "content": prompt}]},
                timeout=DEADLINE,
            )
            response.raise_for_status()
            if response.json()["choices"][0]["message"]["content"]:
                answered = provider.name
        except (requests.RequestException, ValueError, LookupError, TypeError) as failure:
            error = type(failure).__name__
        return Call(number, prompt, answered, SYSTEM_CLOCK.monotonic() - began, (), error)

    return ask

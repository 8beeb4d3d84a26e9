"""Routers over fake providers, and what the tests of whole calls share."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from typing import Any, TypeVar

from failsafe.clock import SYSTEM_CLOCK
from failsafe.config import ProviderConfig, RouterConfig
from failsafe.router import Router
from failsafe.sim import FakeCloud

VENDORS = ("openai", "anthropic", "gemini")
MODELS = {"fast": ["gpt-4.1-mini", "claude-haiku-4-5", "gemini-3.5-flash"]}
GRACE = 0.5
"""Seconds a call may be late on a busy machine before a test fails; 0.05 is what is promised."""
PATIENCE = 5.0
"""Seconds after which what should have happened long ago has failed."""

Result = TypeVar("Result")


def config(cloud: FakeCloud, *names: str, of: dict[str, dict[str, Any]] | None = None, **settings: Any) -> RouterConfig:
    """
    The settings of a router over *cloud*.

    Args:
        cloud: The providers.
        names: Which of them, in which order; all when none is named.
        of: Settings of single providers, by name.
        settings: The router's own.
    """
    chosen = [cloud[name] for name in names] or list(cloud)
    providers = [
        ProviderConfig(
            **{
                "name": each.name,
                "base_url": each.base_url,
                "api_key": each.key or None,
                **(of or {}).get(each.name, {}),
            }
        )
        for each in chosen
    ]
    return RouterConfig(providers=providers, **{"aliases": MODELS, **settings})


def said_by(provider: str, prompt: str) -> str:
    """What a healthy fake provider answers."""
    return f"provider {provider} says: {prompt}"


class ShiftedClock:
    """The machine's clock, which can be moved forward, and tells when somebody waits on it. Thread-safe."""

    def __init__(self) -> None:
        self.shift = 0.0
        self.waited_on = threading.Event()

    def monotonic(self) -> float:
        return SYSTEM_CLOCK.monotonic() + self.shift

    def time(self) -> float:
        return SYSTEM_CLOCK.time() + self.shift

    def wait(self, event: threading.Event, timeout: float) -> bool:
        self.waited_on.set()
        return SYSTEM_CLOCK.wait(event, timeout)


@contextmanager
def in_background(function: Callable[[], Result]) -> Iterator[Future[Result]]:
    """Run *function* in a thread for the length of the block; the future also carries what it raised."""
    future: Future[Result] = Future()

    def run() -> None:
        try:
            future.set_result(function())
        except BaseException as error:  # noqa: BLE001 - the test decides
            future.set_exception(error)

    thread = threading.Thread(target=run, name="test-caller", daemon=True)
    thread.start()
    try:
        yield future
    finally:
        thread.join(PATIENCE)
    assert not thread.is_alive(), "the call outlived its test"


def settles(condition: Callable[[], bool], seconds: float = 2.0) -> bool:
    """Whether *condition* holds within *seconds*; for the far end of a connection, which nothing announces."""
    end = SYSTEM_CLOCK.monotonic() + seconds
    while not condition():
        if SYSTEM_CLOCK.monotonic() > end:
            return False
        threading.Event().wait(0.002)
    return True


@contextmanager
def closing(router: Router) -> Iterator[Router]:
    """The router, closed without waiting for calls that hang because the test has failed."""
    try:
        yield router
    finally:
        router.close(timeout=PATIENCE)


def stopwatch() -> Callable[[], float]:
    """A function that tells the seconds since now."""
    began = SYSTEM_CLOCK.monotonic()
    return lambda: SYSTEM_CLOCK.monotonic() - began

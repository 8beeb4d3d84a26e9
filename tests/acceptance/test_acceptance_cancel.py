"""A cancelled token ends a call wherever it blocks, gives everything back, and touches no other call."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from failsafe.deadline import CancelToken
from failsafe.errors import Cancelled
from failsafe.events import CircuitState
from failsafe.faults import Fault
from failsafe.models import Phase, Reply
from failsafe.policy_config import CircuitBreakerConfig, RetryConfig
from failsafe.router import Router
from failsafe.sim import BEHAVIOURS, HEALTHY, Behaviour, DripBody, FakeCloud
from failsafe.transport import body, requests_transport
from tests.acceptance.routers import (
    GRACE,
    PATIENCE,
    ShiftedClock,
    config,
    in_background,
    said_by,
    settles,
    stopwatch,
)

HANG = BEHAVIOURS["hang"]
BREAKER = CircuitBreakerConfig(half_open_max_calls=1)


@contextmanager
def probing(cloud: FakeCloud, **settings: Any) -> Iterator[Router]:
    """A router whose next call is the one probe that the breaker admits, so that a lost permit shows."""
    clock = ShiftedClock()
    with Router(config(cloud, "openai", breaker=BREAKER, **settings), clock=clock) as router:
        router.breakers.get("openai").trip()
        clock.shift = BREAKER.timeout
        yield router


def cancelled(router: Router, blocked: Callable[[], bool]) -> Cancelled:
    """How a call ends that is cancelled once *blocked* has returned."""
    token = CancelToken()
    with in_background(lambda: router.chat("hello", model="fast", timeout=30, cancel=token)) as call:
        try:
            assert blocked()
        finally:
            took = stopwatch()
            token.cancel()
        error = call.exception(PATIENCE)
        assert took() < GRACE
    assert isinstance(error, Cancelled)
    return error


def assert_all_is_given_back(router: Router, cloud: FakeCloud) -> None:
    """No connection, no permit; and the next call is answered."""
    assert settles(lambda: cloud["openai"].open_connections == 0)
    stats = router.breakers.get("openai").stats()
    assert (stats.state, stats.probes_in_flight) == (CircuitState.HALF_OPEN, 0)
    cloud["openai"].behave(HEALTHY)
    assert router.chat("and now?", model="fast").content == said_by("openai", "and now?")


@pytest.mark.usefixtures("expect_logs")
def test_a_call_that_waits_for_headers_is_cancelled(cloud: FakeCloud) -> None:
    cloud["openai"].behave(HANG)
    with probing(cloud) as router:
        error = cancelled(router, lambda: cloud["openai"].wait_for_requests(1))
        assert [(each.fault, each.phase) for each in error.attempts] == [(Fault.CANCELLED, Phase.WAIT)]
        assert_all_is_given_back(router, cloud)


@pytest.mark.usefixtures("expect_logs")
@pytest.mark.parametrize("chunked", [False, True])
def test_a_call_whose_answer_drips_is_cancelled(
    cloud: FakeCloud, monkeypatch: pytest.MonkeyPatch, chunked: bool
) -> None:
    cloud["openai"].behave(Behaviour(delivery=DripBody(interval=0.01, chunked=chunked)))
    reading = call_marked(monkeypatch)
    with probing(cloud) as router:
        error = cancelled(router, reading)
        assert [(each.fault, each.phase) for each in error.attempts] == [(Fault.CANCELLED, Phase.READ)]
        assert_all_is_given_back(router, cloud)


def call_marked(monkeypatch: pytest.MonkeyPatch) -> Callable[[], bool]:
    """A function that waits until a body is being read."""
    begun, read = threading.Event(), body.read_body

    def read_body(*arguments: Any) -> bytes:
        begun.set()
        return read(*arguments)

    monkeypatch.setattr(requests_transport, "read_body", read_body)
    return lambda: begun.wait(PATIENCE)


def test_a_call_that_backs_off_is_cancelled(cloud: FakeCloud) -> None:
    for provider in cloud:
        provider.behave(BEHAVIOURS["server-error"])
    clock = ShiftedClock()
    slow = RetryConfig(base_delay=20, max_delay=20, jitter=False)
    with Router(config(cloud, retry=slow), clock=clock) as router:
        error = cancelled(router, lambda: clock.waited_on.wait(PATIENCE))
        assert [each.fault for each in error.attempts] == [Fault.SERVER] * 3
        cloud["openai"].behave(HEALTHY)
        assert router.chat("and now?", model="fast").provider == "openai"


def test_a_call_that_waits_for_a_cooldown_is_cancelled(cloud: FakeCloud) -> None:
    cloud["openai"].behave(BEHAVIOURS["rate-limit"])
    clock = ShiftedClock()
    with Router(config(cloud, "openai"), clock=clock) as router:
        error = cancelled(router, lambda: clock.waited_on.wait(PATIENCE))
    assert [each.fault for each in error.attempts] == [Fault.RATE_LIMIT]


def test_one_token_ends_every_call_that_uses_it_and_no_other(cloud: FakeCloud) -> None:
    cloud["openai"].behave(Behaviour(latency=0.3))
    token = CancelToken()
    with Router(config(cloud, "openai")) as router:
        with (
            in_background(lambda: router.chat("one", model="fast", cancel=token)) as one,
            in_background(lambda: router.chat("two", model="fast", cancel=token)) as two,
            in_background(lambda: router.chat("three", model="fast")) as three,
        ):
            assert cloud["openai"].wait_for_requests(3)
            token.cancel()
            assert isinstance(one.exception(PATIENCE), Cancelled)
            assert isinstance(two.exception(PATIENCE), Cancelled)
            assert three.result(PATIENCE).content == said_by("openai", "three")
        with pytest.raises(Cancelled, match="the call was cancelled"):
            router.chat("four", model="fast", cancel=token)
    assert cloud["openai"].count() == 3


def test_a_late_cancel_does_not_touch_the_connection_that_another_call_uses_by_now(cloud: FakeCloud) -> None:
    token = CancelToken()
    with Router(config(cloud, "openai")) as router:
        router.chat("first", model="fast", cancel=token)
        cloud["openai"].behave(Behaviour(latency=0.2))

        def second() -> Reply:
            return router.chat("second", model="fast")

        with in_background(second) as call:
            assert cloud["openai"].wait_for_requests(2)
            token.cancel()
            reply = call.result(PATIENCE)
    assert (reply.content, len(reply.attempts)) == (said_by("openai", "second"), 1)
    assert cloud["openai"].connections == 1

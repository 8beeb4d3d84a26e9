"""However a provider says when to come back: never earlier, at most a tenth later, and nobody waits meanwhile."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import pytest

from failsafe.errors import AllProvidersFailed
from failsafe.faults import REACTIONS, Fault
from failsafe.models import SkipReason
from failsafe.policy_config import CircuitBreakerConfig
from failsafe.router import Router
from failsafe.sim import BEHAVIOURS, HEALTHY, Behaviour, Error, FakeCloud
from failsafe.testing import FakeClock
from tests.acceptance.routers import VENDORS, config

STATED: Mapping[str, float] = MappingProxyType(
    {
        "rate-limit": 20.0,
        "rate-limit-fraction": 1.5,
        "rate-limit-ms": 1.5,
        "rate-limit-date": 20.0,
        "rate-limit-no-hint": REACTIONS[Fault.RATE_LIMIT].off_for,
        "overloaded-retry-after": 20.0,
    }
)
A_MOMENT = 1e-6


@pytest.mark.parametrize("first", VENDORS)
@pytest.mark.parametrize("name", STATED)
def test_the_first_is_left_alone_for_the_stated_time_and_the_second_answers_at_once(name: str, first: str) -> None:
    clock, stated = FakeClock(), STATED[name]
    second = next(vendor for vendor in VENDORS if vendor != first)
    with FakeCloud.of(first, second, clock=clock) as cloud, Router(config(cloud), clock=clock) as router:

        def answering() -> str:
            return router.chat("hello", model="fast").provider

        cloud[first].behave(BEHAVIOURS[name])
        assert answering() == second
        cloud[first].behave(HEALTHY)
        (put_off,) = router.stats()[first]["put_off"]
        assert stated - A_MOMENT <= put_off["retry_after"] <= 1.1 * stated + A_MOMENT
        clock.advance(stated - A_MOMENT)
        assert answering() == second
        assert cloud[first].count() == 1
        clock.advance(0.1 * stated + 2 * A_MOMENT)
        assert answering() == first
    assert clock.waits == []


@pytest.mark.parametrize("wall", [1_800_000_000.0, 1_800_000_000.999])
def test_a_date_is_never_taken_for_an_earlier_moment(wall: float) -> None:
    clock = FakeClock(wall=wall)
    with FakeCloud.of("openai", clock=clock) as cloud, Router(config(cloud), clock=clock) as router:
        cloud["openai"].behave(BEHAVIOURS["rate-limit-date"])
        with pytest.raises(AllProvidersFailed) as raised:
            router.chat("hello", model="fast", timeout=5)
        (put_off,) = router.stats()["openai"]["put_off"]
    assert 19 - A_MOMENT <= put_off["retry_after"] <= 1.1 * 21
    assert raised.value.retry_after == pytest.approx(put_off["retry_after"])


def test_calls_meanwhile_say_on_their_receipt_who_was_left_alone_and_for_how_long() -> None:
    clock = FakeClock()
    with FakeCloud.of("openai", "gemini", clock=clock) as cloud, Router(config(cloud), clock=clock) as router:
        cloud["openai"].behave(BEHAVIOURS["rate-limit"])
        router.chat("hello", model="fast")
        clock.advance(5)
        reply = router.chat("hello", model="fast")
    (skip,) = reply.skipped
    assert (skip.provider, skip.reason) == ("openai", SkipReason.COOLING)
    assert skip.retry_after is not None
    assert 15 <= skip.retry_after <= 17


def test_another_model_of_a_rate_limited_key_is_not_left_alone() -> None:
    clock = FakeClock()
    with FakeCloud.of("openai", "gemini", clock=clock) as cloud, Router(config(cloud), clock=clock) as router:
        cloud["openai"].behave(Behaviour(BEHAVIOURS["rate-limit"].answer, only_model="gpt-4.1-mini"))
        assert router.chat("hello", model="fast").provider == "gemini"
        assert router.chat("hello", model="gpt-4.1").provider == "openai"


def test_a_call_with_nobody_else_to_ask_waits_as_long_as_stated_and_is_answered() -> None:
    clock = FakeClock()
    with FakeCloud.of("openai", clock=clock) as cloud, Router(config(cloud), clock=clock) as router:
        cloud["openai"].behave(Behaviour(BEHAVIOURS["rate-limit"].answer, first=1))
        reply = router.chat("hello", model="fast", timeout=60)
    assert [attempt.fault for attempt in reply.attempts] == [Fault.RATE_LIMIT, None]
    assert 20 <= sum(clock.waits) <= 22 + A_MOMENT


def test_rate_limits_never_open_the_breaker() -> None:
    clock = FakeClock()
    settings = CircuitBreakerConfig(failure_threshold=2)
    with FakeCloud.of("openai", "gemini", clock=clock) as cloud:
        cloud["openai"].behave(BEHAVIOURS["rate-limit-no-hint"])
        with Router(config(cloud, breaker=settings), clock=clock) as router:
            for _ in range(6):
                router.chat("hello", model="fast")
                clock.advance(3600)
            assert router.breakers.get("openai").stats().streak == 0
        assert cloud["openai"].count() == 6


@pytest.mark.parametrize("garbage", ["soon", "-5", "nan", "1e999", "", "Thu, 99 Foo 2026 00:00:00 GMT"])
def test_a_hint_that_makes_no_sense_counts_as_none(garbage: str) -> None:
    clock, usual = FakeClock(), REACTIONS[Fault.RATE_LIMIT].off_for
    limited = Behaviour(Error(fault=Fault.RATE_LIMIT, headers=(("Retry-After", garbage),)))
    with FakeCloud.of("openai", "gemini", clock=clock) as cloud, Router(config(cloud), clock=clock) as router:
        cloud["openai"].behave(limited)
        assert router.chat("hello", model="fast").provider == "gemini"
        (put_off,) = router.stats()["openai"]["put_off"]
    assert usual - A_MOMENT <= put_off["retry_after"] <= 1.1 * usual + A_MOMENT

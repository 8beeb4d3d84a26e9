"""Retry-After, and what is sent again at all."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from email.utils import format_datetime

import pytest

from failsafe.config import ProviderConfig, RouterConfig
from failsafe.deadline import Deadline
from failsafe.errors import AllProvidersFailed, RateLimited
from failsafe.faults import Fault
from failsafe.models import Phase
from failsafe.policy_config import RetryConfig
from failsafe.retrying import retry_call
from failsafe.router import Router
from failsafe.sim import Behaviour, CutBody, FakeCloud
from failsafe.testing import FakeClock, answer, refusal
from tests.lessons.situations import raising
from tests.router_bench import Bench, failing

HOUR = 3600.0


@pytest.mark.parametrize("asked", [61.0, HOUR, 1e9, 1e308, math.inf, 10**400])
def test_47_urllib3_1338_a_long_retry_after_parks_nobody_and_is_not_cut_to_the_cap(asked: float) -> None:
    clock = FakeClock()
    error = RateLimited("slow down", retry_after=asked)
    with pytest.raises(RateLimited) as caught:
        retry_call(raising(error), config=RetryConfig(max_retries=5), clock=clock)
    assert clock.waits == [], "neither the time asked for nor the cap is slept, and nothing is sent early"
    assert caught.value.retry_after == asked


def test_47_urllib3_5152_5227_a_retry_after_within_the_cap_is_never_undercut() -> None:
    clock = FakeClock()
    with pytest.raises(RateLimited):
        retry_call(raising(RateLimited("slow down", retry_after=7)), config=RetryConfig(max_retries=20), clock=clock)
    assert len(clock.waits) == 20
    assert all(7 <= wait <= 8 for wait in clock.waits)


def test_47_urllib3_1338_a_retry_after_of_just_the_cap_is_waited_for() -> None:
    clock = FakeClock()
    config = RetryConfig(max_retries=1, jitter=False, retry_after_cap=60)
    with pytest.raises(RateLimited):
        retry_call(raising(RateLimited("slow down", retry_after=60)), config=config, clock=clock)
    assert clock.waits == [60]


def test_47_urllib3_1338_a_router_asks_somebody_else_at_once_and_comes_back_when_the_time_is_over() -> None:
    bench = Bench((refusal(429, retry_after="3000"), answer("a again")), answer("from b"))
    assert bench.ask().content == "from b"
    bench.clock.advance(2999)
    assert bench.ask().content == "from b"
    bench.clock.advance(302)
    assert bench.ask().content == "a again"
    assert bench.clock.waits == []


def test_47_urllib3_1338_a_router_with_nobody_else_raises_with_the_servers_time() -> None:
    bench = Bench(refusal(429, retry_after="3000"))
    error = bench.lose(timeout=Deadline.unlimited())
    assert isinstance(error, AllProvidersFailed)
    assert error.retry_after is not None
    assert 3000 <= error.retry_after <= 3300
    assert (bench.clock.waits, bench.asked()) == ([], {"a": 1})


ENORMOUS = [
    "9" * 400,
    "9" * 5000,
    "1" + "0" * 30,
    "99999999999.5",
    "Fri, 31 Dec 9999 23:59:59 GMT",
]
GARBAGE = [
    "Mon, 01 Jan 10000 00:00:00 GMT",
    "Fri, 31 Dec 99999 23:59:59 GMT",
    "inf",
    "nan",
    "1e999",
    "-1",
    "-9e99",
    "soon",
    "",
    "0x10",
    "Fri, 99 Foo 2026 99:99:99 GMT",
]


@pytest.mark.parametrize("said", [*ENORMOUS, *GARBAGE], ids=range(len(ENORMOUS) + len(GARBAGE)))
def test_47_urllib3_3743_posthog_74112_atlassian_1602_nab_596_no_value_raises_or_shuts_a_provider_for_long(
    said: str,
) -> None:
    bench = Bench((refusal(429, retry_after=said), answer("a again")), answer("from b"))
    assert bench.ask().content == "from b"
    (off,) = bench.endpoint().cooldowns.listing()
    assert 0 < off["retry_after"] <= HOUR
    if said in GARBAGE:
        assert off["retry_after"] <= 1.1, "as if nothing had been said"
    bench.clock.advance(HOUR)
    assert bench.ask().content == "a again"


@pytest.mark.parametrize("said", [math.nan, -1.0, "soon", None, True, [3], b"3"])
def test_47_nab_596_an_exception_whose_retry_after_is_garbage_is_repeated_as_if_it_had_none(said: object) -> None:
    clock = FakeClock()
    error = OSError("sick")
    error.retry_after = said  # type: ignore[attr-defined]
    with pytest.raises(OSError, match="sick"):
        retry_call(raising(error), config=RetryConfig(jitter=False, base_delay=0.5), clock=clock)
    assert clock.waits == [0.5, 1.0]


def _in_20_seconds(bench: Bench) -> str:
    return format_datetime(datetime.fromtimestamp(bench.clock.time() + 20, UTC), usegmt=True)


@pytest.mark.parametrize("form", ["seconds", "fraction", "milliseconds", "date", "duration"])
def test_47_urllib3_1338_every_form_of_it_is_understood(form: str) -> None:
    bench = Bench((lambda _request: limited, answer("a again")), answer("from b"))
    headers = {
        "seconds": {"retry_after": "20"},
        "fraction": {"retry_after": "20.25"},
        "milliseconds": {"retry_after_ms": "20000", "retry_after": "9000"},
        "date": {"retry_after": _in_20_seconds(bench)},
        "duration": {"retry_after": "20s"},
    }[form]
    limited = refusal(429, **headers)
    bench.ask()
    (off,) = bench.endpoint().cooldowns.listing()
    assert 20 <= off["retry_after"] <= 22.3


REPEATED = [408, 409, 425, 429, 500, 502, 503, 504, 529]


@pytest.mark.usefixtures("expect_logs")
@pytest.mark.parametrize("status", REPEATED)
def test_48_botocore_2635_every_status_that_may_pass_is_asked_again(status: int) -> None:
    alone = Bench((refusal(status), answer("second try")))
    assert alone.ask().content == "second try"
    assert Bench(refusal(status), answer("from b")).ask().content == "from b"


@pytest.mark.parametrize("status", [400, 413, 422])
def test_48_botocore_2635_a_status_that_will_not_pass_is_not(status: int) -> None:
    bench = Bench((refusal(status), answer()))
    bench.lose()
    assert bench.asked() == {"a": 1}


def test_49_urllib3_1059_after_a_read_timeout_it_is_asked_again_on_purpose_and_said_that_both_may_be_billed() -> None:
    silent = failing(Fault.TIMEOUT, phase=Phase.WAIT, maybe_billed=True)
    reply = Bench(silent, answer()).ask()
    assert [(attempt.provider, attempt.maybe_billed) for attempt in reply.attempts] == [("a", True), ("b", False)]


@pytest.mark.usefixtures("expect_logs")
def test_49_urllib3_542_requests_5948_a_body_that_breaks_off_is_an_attempt_that_no_lower_layer_repeats() -> None:
    with FakeCloud.of("openai", "anthropic") as cloud:
        cloud["openai"].behave(Behaviour(delivery=CutBody()))
        providers = [ProviderConfig(name=each.name, base_url=each.base_url, api_key=each.key) for each in cloud]
        models = {"fast": ["gpt-4.1-mini", "claude-haiku-4-5"]}
        with Router(RouterConfig(providers=providers, aliases=models)) as router:
            reply = router.chat("hello", model="fast", timeout=10)
        assert reply.provider == "anthropic"
        assert [attempt.fault for attempt in reply.attempts] == [Fault.TRUNCATED, None]
        assert (cloud["openai"].count(), cloud["anthropic"].count()) == (1, 1)

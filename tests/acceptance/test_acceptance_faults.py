"""Every fault of a plain call, on the first of three real servers: answered in time, and nothing wrong."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import pytest

from failsafe.clock import Random
from failsafe.errors import (
    AllProvidersFailed,
    ContentFiltered,
    ContextWindowExceeded,
    DeadlineExceeded,
    InvalidRequest,
    ProviderFault,
)
from failsafe.faults import Fault
from failsafe.policy_config import CircuitBreakerConfig, RetryConfig
from failsafe.router import Router
from failsafe.sim import BEHAVIOURS, HEALTHY, Behaviour, FakeCloud, FakeProvider, Redirect
from tests.acceptance.routers import GRACE, VENDORS, config, said_by, stopwatch

DEADLINE = 5.0
FIRST_LIMIT = 0.25
"""Seconds that a first provider which hangs is given; all else has time, so that a busy machine proves nothing."""

NO_FAULT = ("healthy", "gzip", "chunked", "some-blank-lines")

FAULTS: Mapping[str, Fault] = MappingProxyType(
    {
        "slow": Fault.TIMEOUT,
        "flap": Fault.SERVER,
        "server-error": Fault.SERVER,
        "bad-gateway": Fault.SERVER,
        "overloaded": Fault.OVERLOADED,
        "overloaded-retry-after": Fault.OVERLOADED,
        "conflict": Fault.CONFLICT,
        "request-timeout": Fault.SERVER,
        "rate-limit": Fault.RATE_LIMIT,
        "rate-limit-fraction": Fault.RATE_LIMIT,
        "rate-limit-date": Fault.RATE_LIMIT,
        "rate-limit-ms": Fault.RATE_LIMIT,
        "rate-limit-no-hint": Fault.RATE_LIMIT,
        "quota": Fault.QUOTA,
        "wrong-key": Fault.AUTH,
        "echoed-key": Fault.AUTH,
        "permission": Fault.PERMISSION,
        "unknown-model": Fault.MODEL,
        "unknown-path": Fault.MISCONFIGURED,
        "unsupported-parameter": Fault.UNSUPPORTED_PARAMETER,
        "should-retry": Fault.BAD_REQUEST,
        "should-not-retry": Fault.SERVER,
        "html": Fault.MALFORMED,
        "html-forbidden": Fault.SERVER,
        "half-json": Fault.MALFORMED,
        "error-in-200": Fault.SERVER,
        "no-choices": Fault.MALFORMED,
        "empty-message": Fault.MALFORMED,
        "empty-body": Fault.MALFORMED,
        "huge-body": Fault.MALFORMED,
        "gzip-bomb": Fault.MALFORMED,
        "redirect": Fault.MISCONFIGURED,
        "hang": Fault.TIMEOUT,
        "close": Fault.DISCONNECTED,
        "reset": Fault.DISCONNECTED,
        "drip-headers": Fault.TIMEOUT,
        "drip-body": Fault.TIMEOUT,
        "drip-chunks": Fault.TIMEOUT,
        "endless-chunks": Fault.TIMEOUT,
        "keep-alive-blank-lines": Fault.TIMEOUT,
        "close-mid-body": Fault.MALFORMED,
        "reset-mid-body": Fault.TRUNCATED,
        "truncated": Fault.TRUNCATED,
        "truncated-chunks": Fault.TRUNCATED,
        "stall-mid-body": Fault.TIMEOUT,
        "never-read": Fault.TIMEOUT,
        "refuse": Fault.NETWORK,
        "tls-failure": Fault.NETWORK,
        "tls-alert": Fault.NETWORK,
        "tls-stall": Fault.CONNECT_TIMEOUT,
        "tls-close": Fault.NETWORK,
    }
)
"""What the receipt says of each fault after which another provider answers."""

OWN_ERRORS: Mapping[str, type[ProviderFault]] = MappingProxyType(
    {"context-length": ContextWindowExceeded, "bad-request": InvalidRequest, "content-filter": ContentFiltered}
)
"""What the caller gets at once when no other provider would do better."""

BY_CHANCE = ("flaky",)
IN_THEIR_OWN_WAY = {("gemini", "unknown-path"): Fault.MODEL}
"""Gemini's address names the model, so one that it does not know may be either's fault."""
SILENCE = (Fault.TIMEOUT, Fault.CONNECT_TIMEOUT)
ALERTS = (Fault.QUOTA, Fault.AUTH, Fault.PERMISSION, Fault.MODEL, Fault.MISCONFIGURED)


def test_no_behaviour_of_a_plain_call_is_left_out() -> None:
    plain = {name for name in BEHAVIOURS if not name.startswith("stream-")}
    assert plain == {*NO_FAULT, *FAULTS, *OWN_ERRORS, *BY_CHANCE}


def router_with_first(cloud: FakeCloud, first: str, name: str, trap: FakeProvider) -> Router:
    """A router that asks *first* first, which behaves as *name* says."""
    provider, behaviour = cloud[first], BEHAVIOURS[name]
    settings: dict[str, Any] = {"timeout": FIRST_LIMIT} if FAULTS.get(name) in SILENCE else {}
    if name == "redirect":
        behaviour = Behaviour(Redirect(location=f"{trap.base_url}/chat/completions"))
    if name.startswith("tls-"):
        settings |= {"base_url": provider.https_base_url}
    provider.behave(behaviour)
    others = [vendor for vendor in VENDORS if vendor != first]
    return Router(config(cloud, first, *others, of={first: settings}))


@pytest.mark.usefixtures("expect_logs")
@pytest.mark.parametrize("first", VENDORS)
@pytest.mark.parametrize("name", FAULTS)
def test_the_next_provider_answers_in_full_and_in_time(
    cloud: FakeCloud, trap: FakeProvider, name: str, first: str
) -> None:
    second = next(vendor for vendor in VENDORS if vendor != first)
    prompt = f"what does {first} do under {name}?"
    with router_with_first(cloud, first, name, trap) as router:
        took = stopwatch()
        reply = router.chat(prompt, model="fast", timeout=DEADLINE)
        assert took() < (3 * FIRST_LIMIT if FAULTS[name] in SILENCE else DEADLINE)
    assert (reply.provider, reply.content) == (second, said_by(second, prompt))
    expected = IN_THEIR_OWN_WAY.get((first, name), FAULTS[name])
    assert [(attempt.provider, attempt.fault) for attempt in reply.attempts] == [(first, expected), (second, None)]
    assert reply.attempts[0].message
    assert trap.connections == 0


@pytest.mark.parametrize("first", VENDORS)
@pytest.mark.parametrize("name", NO_FAULT)
def test_an_answer_that_only_travels_oddly_is_taken_from_the_first(
    cloud: FakeCloud, trap: FakeProvider, name: str, first: str
) -> None:
    with router_with_first(cloud, first, name, trap) as router:
        reply = router.chat("grüße, 世界 🙂", model="fast", timeout=DEADLINE)
    assert (reply.provider, reply.content) == (first, said_by(first, "grüße, 世界 🙂"))
    assert [attempt.fault for attempt in reply.attempts] == [None]


@pytest.mark.parametrize(
    ("first", "name"),
    # the others read more than Claude Haiku: the next test
    [(first, name) for first in VENDORS for name in OWN_ERRORS if (first, name) != ("anthropic", "context-length")],
)
def test_what_no_other_provider_would_mend_is_raised_at_once(
    cloud: FakeCloud, trap: FakeProvider, name: str, first: str
) -> None:
    with router_with_first(cloud, first, name, trap) as router, pytest.raises(OWN_ERRORS[name]) as raised:
        router.chat("hello", model="fast", timeout=DEADLINE)
    assert {provider.name: provider.count() for provider in cloud} == {
        vendor: int(vendor == first) for vendor in VENDORS
    }
    assert (raised.value.provider, len(raised.value.attempts)) == (first, 1)
    assert str(raised.value).startswith(f"{first}: ")


def test_a_prompt_too_long_for_one_model_goes_to_the_one_that_reads_more(cloud: FakeCloud, trap: FakeProvider) -> None:
    with router_with_first(cloud, "anthropic", "context-length", trap) as router:
        reply = router.chat("hello", model="fast", timeout=DEADLINE)
    assert (reply.provider, reply.attempts[0].fault) == ("openai", Fault.CONTEXT)


def test_a_provider_that_fails_by_chance_costs_no_call_its_answer() -> None:
    with FakeCloud.of(*VENDORS, random=Random(3)) as cloud:
        cloud["openai"].behave(BEHAVIOURS["flaky"])
        settings = config(cloud, breaker=CircuitBreakerConfig(failure_threshold=1000))
        with Router(settings) as router:
            replies = [router.chat(f"question {number}", model="fast") for number in range(40)]
    assert [reply.content for reply in replies] == [
        said_by(reply.provider, f"question {number}") for number, reply in enumerate(replies)
    ]
    assert {reply.provider for reply in replies} == {"openai", "anthropic"}


@pytest.mark.usefixtures("expect_logs")
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_no_request_goes_through_a_redirect(cloud: FakeCloud, trap: FakeProvider, status: int) -> None:
    for provider in cloud:
        provider.behave(Behaviour(Redirect(location=f"{trap.base_url}/chat/completions", status=status)))
    with Router(config(cloud)) as router, pytest.raises(AllProvidersFailed) as raised:
        router.chat("secret plans", model="fast", timeout=DEADLINE)
    assert [attempt.fault for attempt in raised.value.attempts] == [Fault.MISCONFIGURED] * 3
    assert (trap.connections, trap.bytes_received) == (0, b"")


@pytest.mark.usefixtures("expect_logs")
@pytest.mark.parametrize("fault", ALERTS)
def test_what_a_person_must_mend_is_not_asked_for_again_by_the_next_call(cloud: FakeCloud, fault: Fault) -> None:
    name = next(name for name, expected in FAULTS.items() if expected is fault)
    cloud["openai"].behave(BEHAVIOURS[name])
    with Router(config(cloud)) as router:
        for _ in range(3):
            router.chat("hello", model="fast", timeout=DEADLINE)
    assert cloud["openai"].count() == 1


def test_two_hanging_providers_leave_the_third_its_slice_of_the_deadline(cloud: FakeCloud) -> None:
    for name in ("openai", "anthropic"):
        cloud[name].behave(BEHAVIOURS["hang"])
    with Router(config(cloud)) as router:
        took = stopwatch()
        reply = router.chat("hello", model="fast", timeout=2.0)
        assert took() < 2.0 + GRACE
    assert (reply.provider, [attempt.fault for attempt in reply.attempts]) == (
        "gemini",
        [Fault.TIMEOUT, Fault.TIMEOUT, None],
    )


@pytest.mark.parametrize("name", ["hang", "drip-headers", "drip-body", "endless-chunks", "keep-alive-blank-lines"])
def test_all_down_longer_than_the_deadline_ends_with_it_and_lists_every_attempt(cloud: FakeCloud, name: str) -> None:
    for provider in cloud:
        provider.behave(BEHAVIOURS[name])
    with Router(config(cloud)) as router:
        took = stopwatch()
        with pytest.raises(DeadlineExceeded, match=r"^no answer within the deadline of 0\.4 s") as raised:
            router.chat("anyone?", model="fast", timeout=0.4)
        assert 0.4 <= took() < 0.4 + GRACE
    assert [attempt.provider for attempt in raised.value.attempts] == list(VENDORS)
    assert all(f"{vendor} (" in str(raised.value) for vendor in VENDORS)


def test_all_refusing_fails_as_soon_as_the_rounds_are_used_up(cloud: FakeCloud) -> None:
    for provider in cloud:
        provider.behave(BEHAVIOURS["refuse"])
    with Router(config(cloud, retry=RetryConfig(max_retries=1, base_delay=0.01))) as router:
        took = stopwatch()
        with pytest.raises(AllProvidersFailed) as raised:
            router.chat("anyone?", model="fast", timeout=30)
        assert took() < 1 + GRACE
    assert [(attempt.provider, attempt.round) for attempt in raised.value.attempts] == [
        (vendor, number) for number in (1, 2) for vendor in VENDORS
    ]
    assert {attempt.fault for attempt in raised.value.attempts} == {Fault.NETWORK}
    assert str(raised.value).count("connection refused by 127.0.0.1:") == 6


def test_a_provider_that_recovers_is_asked_again_in_the_next_round_of_the_same_call(cloud: FakeCloud) -> None:
    for provider in cloud:
        provider.behave(BEHAVIOURS["server-error"])
    cloud["anthropic"].behave(Behaviour(BEHAVIOURS["server-error"].answer, first=1))
    with Router(config(cloud, retry=RetryConfig(max_retries=1, base_delay=0.01))) as router:
        reply = router.chat("hello", model="fast", timeout=DEADLINE)
    assert (reply.provider, reply.attempts[-1].round) == ("anthropic", 2)


def test_a_provider_that_is_down_and_comes_back_answers_again(cloud: FakeCloud) -> None:
    with Router(config(cloud)) as router:
        answered = []
        for behaviour in (HEALTHY, BEHAVIOURS["refuse"], HEALTHY):
            cloud["openai"].behave(behaviour)
            answered.append(router.chat("hello", model="fast", timeout=DEADLINE).provider)
    assert answered == ["openai", "anthropic", "openai"]

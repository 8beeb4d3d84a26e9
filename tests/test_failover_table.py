"""The fault table, row by row: what each fault does to the call, the breaker, and the calls that follow."""

from __future__ import annotations

from contextlib import suppress
from itertools import pairwise

import pytest

from failsafe.errors import AllProvidersFailed, Cancelled, FailsafeError, ProviderFault
from failsafe.events import CircuitState, PutOff
from failsafe.faults import REACTIONS, BreakerEffect, Fault, NextStep, Scope
from failsafe.models import SkipReason
from failsafe.policy_config import RetryConfig
from failsafe.testing import answer
from tests.router_bench import Bench, failing

ENDS_THE_CALL = [
    fault for fault, row in REACTIONS.items() if row.step is NextStep.RAISE and fault is not Fault.CANCELLED
]
MOVES_ON = [fault for fault, row in REACTIONS.items() if row.step in (NextStep.NEXT, NextStep.NEXT_ONLY)]
COMES_BACK = [
    fault
    for fault, row in REACTIONS.items()
    if row.step is NextStep.NEXT and row.scope in (Scope.NONE, Scope.PROVIDER) and not row.alert
]
ALERTS = [fault for fault, row in REACTIONS.items() if row.alert]

ONE_ROUND = RetryConfig(max_retries=0)

pytestmark = pytest.mark.usefixtures("expect_logs")


@pytest.mark.parametrize("fault", MOVES_ON)
def test_the_next_provider_is_asked_at_once(fault: Fault) -> None:
    bench = Bench(failing(fault), answer())
    assert bench.ask().provider == "b"
    assert bench.clock.waits == []
    assert bench.asked() == {"a": 1, "b": 1}


@pytest.mark.parametrize("fault", ENDS_THE_CALL)
def test_what_every_provider_would_refuse_is_raised_at_once(fault: Fault) -> None:
    bench = Bench(failing(fault), answer())
    error = bench.lose()
    assert type(error) is REACTIONS[fault].error
    assert isinstance(error, ProviderFault)
    assert [attempt.fault for attempt in error.attempts] == [fault]
    assert bench.asked() == {"a": 1, "b": 0}


def test_a_cancelled_attempt_ends_the_call_as_cancelled() -> None:
    bench = Bench(failing(Fault.CANCELLED), answer())
    assert isinstance(bench.lose(), Cancelled)
    assert bench.asked() == {"a": 1, "b": 0}


@pytest.mark.parametrize("fault", COMES_BACK)
def test_the_same_provider_is_asked_again_in_the_next_round(fault: Fault) -> None:
    bench = Bench((failing(fault), answer()), failing(fault))
    reply = bench.ask()
    assert [(attempt.provider, attempt.round) for attempt in reply.attempts] == [("a", 1), ("b", 1), ("a", 2)]


@pytest.mark.parametrize("fault", [Fault.MODEL, Fault.MISCONFIGURED])
def test_what_no_repetition_mends_is_not_repeated(fault: Fault) -> None:
    bench = Bench(failing(fault), (failing(Fault.SERVER), answer()))
    assert [attempt.provider for attempt in bench.ask().attempts] == ["a", "b", "b"]


@pytest.mark.parametrize("fault", list(Fault))
def test_the_breaker_is_told_what_the_table_says(fault: Fault) -> None:
    bench = Bench(failing(fault), answer())
    with suppress(FailsafeError):
        bench.ask()
    stats = bench.breaker()
    effect = REACTIONS[fault].breaker
    assert (stats.streak, stats.failures) == ((1, 1) if effect is BreakerEffect.FAILURE else (0, 0))
    assert stats.soft_failures == (1 if effect is BreakerEffect.SOFT else 0)
    assert stats.successes == 0


@pytest.mark.parametrize("fault", list(Fault))
def test_a_probe_gives_its_place_back_whatever_comes_of_it(fault: Fault) -> None:
    bench = Bench(failing(fault), answer())
    bench.open_breaker()
    with suppress(FailsafeError):
        bench.ask()
    stats = bench.breaker()
    neutral = REACTIONS[fault].breaker is BreakerEffect.NEUTRAL
    assert stats.probes_in_flight == 0
    assert stats.state is (CircuitState.HALF_OPEN if neutral else CircuitState.OPEN)


@pytest.mark.parametrize("fault", [fault for fault, row in REACTIONS.items() if row.off_for])
def test_what_the_table_puts_off_is_left_alone_and_then_used_again(fault: Fault) -> None:
    bench = Bench((failing(fault), answer()), answer())
    bench.ask()
    (news,) = [event for event in bench.events if isinstance(event, PutOff)]
    row = REACTIONS[fault]
    assert row.off_for <= news.seconds <= 1.1 * row.off_for
    assert (news.fault, news.alert, news.advice) == (fault, row.alert, row.advice)
    assert (news.key is not None) == (row.scope in (Scope.KEY, Scope.KEY_AND_MODEL))
    assert (news.model is not None) == (row.scope in (Scope.MODEL, Scope.KEY_AND_MODEL))
    bench.clock.advance(row.off_for * 0.99)
    assert bench.ask().provider == "b"
    bench.clock.advance(row.off_for * 0.12)
    assert bench.ask().provider == "a"


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        (Fault.RATE_LIMIT, SkipReason.COOLING),
        (Fault.QUOTA, SkipReason.KEY_OFF),
        (Fault.AUTH, SkipReason.KEY_OFF),
        (Fault.PERMISSION, SkipReason.MODEL_OFF),
        (Fault.MODEL, SkipReason.MODEL_OFF),
        (Fault.MISCONFIGURED, SkipReason.PROVIDER_OFF),
    ],
)
def test_the_receipt_of_the_next_call_says_why_the_provider_was_left_alone(fault: Fault, reason: SkipReason) -> None:
    bench = Bench(failing(fault), answer())
    bench.ask()
    (skip,) = bench.ask().skipped
    assert (skip.provider, skip.reason) == ("a", reason)
    assert f"({fault}: seen as {fault})" in skip.detail
    assert skip.retry_after is not None


@pytest.mark.parametrize(
    ("fault", "other_model_is_free"),
    [
        (Fault.RATE_LIMIT, True),
        (Fault.MODEL, True),
        (Fault.PERMISSION, True),
        (Fault.QUOTA, False),
        (Fault.AUTH, False),
        (Fault.MISCONFIGURED, False),
    ],
)
def test_another_model_of_the_provider_is_off_only_where_the_table_says_so(
    fault: Fault, other_model_is_free: bool
) -> None:
    bench = Bench((failing(fault), answer(model="other")), answer(model="other"))
    bench.ask()
    assert bench.ask(model="other").provider == ("a" if other_model_is_free else "b")


def test_a_rate_limit_of_the_whole_key_is_off_for_every_model() -> None:
    bench = Bench((failing(Fault.RATE_LIMIT, whole_key=True), answer(model="other")), answer(model="other"))
    bench.ask()
    assert bench.ask(model="other").provider == "b"


def test_the_hour_without_money_is_the_users_to_choose() -> None:
    bench = Bench((failing(Fault.QUOTA), answer()), answer(), each={"a": {"quota_off": 20.0}})
    bench.ask()
    bench.clock.advance(19.9)
    assert bench.ask().provider == "b"
    bench.clock.advance(2.2)
    assert bench.ask().provider == "a"
    longer = Bench((failing(Fault.QUOTA), answer()), answer(), each={"a": {"quota_off": 86_400.0}})
    longer.ask()
    longer.clock.advance(86_000)
    assert longer.ask().provider == "b"


def test_a_rejected_key_is_off_for_longer_each_time_up_to_an_hour_and_then_tried_by_one_call() -> None:
    bench = Bench(failing(Fault.AUTH), answer())
    offs = []
    for _ in range(9):
        bench.ask()
        seconds = bench.router.stats()["a"]["put_off"][0]["retry_after"]
        offs.append(seconds)
        bench.clock.advance(seconds)
    assert 60 <= offs[0] <= 66
    assert all(later > 1.5 * earlier for earlier, later in pairwise(offs[:6]))
    assert all(3200 <= off <= 3600 for off in offs[6:])
    assert bench.asked()["a"] == 9
    assert len([event for event in bench.events if isinstance(event, PutOff)]) == 9


def test_a_rejected_key_is_usable_at_once_after_a_reset() -> None:
    bench = Bench((failing(Fault.AUTH), answer()), answer())
    bench.ask()
    assert bench.ask().provider == "b"
    bench.router.reset("a")
    assert bench.ask().provider == "a"


@pytest.mark.parametrize("fault", ALERTS)
def test_a_person_is_told_once_of_what_calls_under_way_find_again(fault: Fault) -> None:
    bench = Bench(failing(fault), answer())
    endpoint = bench.endpoint()
    key = endpoint.config.keys[0]
    news = [endpoint.put_off(failing(fault), key, "gpt-4.1") for _ in range(3)]
    assert [each is not None for each in news] == [True, False, False]


@pytest.mark.parametrize("fault", [Fault.OVERLOADED, Fault.SERVER])
def test_an_overloaded_provider_is_left_alone_for_the_time_it_states_and_a_broken_one_is_not(fault: Fault) -> None:
    bench = Bench((failing(fault, retry_after=20.0), answer()), answer())
    bench.ask()
    bench.clock.advance(19.9)
    assert bench.ask().provider == ("b" if fault is Fault.OVERLOADED else "a")
    bench.clock.advance(2.2)
    assert bench.ask().provider == "a"


def test_a_stated_time_is_the_least_a_breaker_stays_open() -> None:
    bench = Bench(failing(Fault.SERVER, retry_after=200.0), answer())
    for _ in range(5):
        bench.ask()
    assert bench.breaker().retry_after == pytest.approx(200)


@pytest.mark.parametrize("fault", [Fault.SERVER, Fault.OVERLOADED, Fault.RATE_LIMIT, Fault.CONFLICT])
def test_a_provider_that_says_not_to_retry_is_not_asked_again_in_this_call(fault: Fault) -> None:
    bench = Bench((failing(fault, should_retry=False), answer()), (failing(Fault.SERVER), answer()))
    assert [attempt.provider for attempt in bench.ask().attempts] == ["a", "b", "b"]


def test_a_bad_request_that_may_be_retried_goes_to_the_next_provider() -> None:
    bench = Bench(failing(Fault.BAD_REQUEST, should_retry=True), answer())
    assert bench.ask().provider == "b"


def test_a_bad_request_that_everyone_finds_bad_is_raised_as_such() -> None:
    bench = Bench(failing(Fault.BAD_REQUEST, should_retry=True), retry=ONE_ROUND)
    assert type(bench.lose()) is REACTIONS[Fault.BAD_REQUEST].error


def test_content_that_everyone_filters_is_raised_as_such_with_what_was_let_through() -> None:
    bench = Bench(
        failing(Fault.CONTENT_FILTER, partial="half"),
        failing(Fault.CONTENT_FILTER, partial="half a"),
        failover_on_content_filter=True,
    )
    error = bench.lose()
    assert type(error) is REACTIONS[Fault.CONTENT_FILTER].error
    assert error.partial == "half a"  # type: ignore[attr-defined]
    assert bench.asked() == {"a": 1, "b": 1}


def test_a_filter_here_and_a_fault_there_is_everyones_failure() -> None:
    bench = Bench(
        failing(Fault.CONTENT_FILTER), failing(Fault.SERVER), failover_on_content_filter=True, retry=ONE_ROUND
    )
    assert isinstance(bench.lose(), AllProvidersFailed)

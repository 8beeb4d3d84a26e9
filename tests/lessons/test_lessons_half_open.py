"""Half-open that never ends."""

from __future__ import annotations

import concurrent.futures
from collections.abc import Callable

import pytest

from failsafe.breaker import CircuitBreaker
from failsafe.bulkhead import Bulkhead
from failsafe.composition import Guard, Policy
from failsafe.deadline import CancelToken
from failsafe.errors import BulkheadFull, Cancelled, CircuitOpenError, InvalidRequest, ModelNotFound, RateLimitReached
from failsafe.faults import Fault
from failsafe.limiter import RateLimiter
from failsafe.models import SkipReason
from failsafe.policy_config import BulkheadConfig, RateLimiterConfig, RetryConfig
from failsafe.testing import FakeClock, Outcome, SentRequest, answer, refusal
from tests.lessons.situations import CLOSED, HALF_OPEN, OPEN, breaker_of, half_open, opened, probing, raising, recovers
from tests.router_bench import BROKEN, Bench, failing

pytestmark = pytest.mark.usefixtures("expect_logs")  # a router says it when a breaker opens


class Fatal(BaseException):
    """What no ``except Exception`` sees."""


INTERRUPTIONS = (KeyboardInterrupt, SystemExit, GeneratorExit, concurrent.futures.CancelledError, Fatal)


def by_call(breaker: CircuitBreaker, fn: Callable[[], object]) -> None:
    breaker.call(fn)


def by_decorator(breaker: CircuitBreaker, fn: Callable[[], object]) -> None:
    breaker(fn)()


def by_block(breaker: CircuitBreaker, fn: Callable[[], object]) -> None:
    with breaker:
        fn()


def by_permit(breaker: CircuitBreaker, fn: Callable[[], object]) -> None:
    with breaker.acquire():
        fn()


EVERY_WAY_IN = pytest.mark.parametrize("enter", [by_call, by_decorator, by_block, by_permit])


@EVERY_WAY_IN
def test_01_resilience4j_544_an_ignored_probe_gives_its_permit_back(
    enter: Callable[[CircuitBreaker, Callable[[], object]], None],
) -> None:
    clock = FakeClock()
    breaker = half_open(breaker_of(clock, half_open_max_calls=1), clock)
    for _ in range(3):
        with pytest.raises(InvalidRequest):
            enter(breaker, raising(InvalidRequest("the caller's own mistake")))
    assert (breaker.state, breaker.stats().probes_in_flight) == (HALF_OPEN, 0)
    for _ in range(3):
        enter(breaker, str)
    assert breaker.state is CLOSED


def test_02_resilience4j_903_935_probes_that_never_answer_do_not_hold_half_open_for_ever() -> None:
    clock = FakeClock()
    breaker = breaker_of(clock, half_open_max_wait=10)
    hanging = [probing(breaker, clock), breaker.acquire(), breaker.acquire()]
    clock.advance(9.5)
    assert breaker.try_acquire() is None
    assert breaker.state is HALF_OPEN
    clock.advance(0.5)
    assert breaker.try_acquire() is None
    assert breaker.state is OPEN, "the lease of the oldest probe is over"
    clock.advance(60)
    assert recovers(breaker, clock)
    for permit in hanging:
        permit.failure(OSError("far too late"))
    assert (breaker.state, breaker.stats().streak) == (CLOSED, 0)


@EVERY_WAY_IN
@pytest.mark.parametrize("kind", INTERRUPTIONS)
def test_03_resilience4j_1389_what_is_no_exception_gives_the_permit_back_too(
    kind: type[BaseException], enter: Callable[[CircuitBreaker, Callable[[], object]], None]
) -> None:
    clock = FakeClock()
    breaker = half_open(breaker_of(clock, half_open_max_calls=1), clock)
    with pytest.raises(kind):
        enter(breaker, raising(kind()))
    assert (breaker.state, breaker.stats().probes_in_flight) == (HALF_OPEN, 0)
    assert breaker.try_acquire() is not None


def test_04_rezilience_521_an_interrupted_first_probe_leaves_a_way_back() -> None:
    clock = FakeClock()
    breaker = breaker_of(clock, half_open_max_calls=1)
    with pytest.raises(KeyboardInterrupt), probing(breaker, clock):
        raise KeyboardInterrupt
    assert recovers(breaker, clock)
    assert breaker.stats().opened == 1, "without another open time in between"


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit, Fatal])
def test_04_litellm_39701_an_interrupted_probe_of_a_router_leaves_the_provider_a_way_back(
    kind: type[BaseException],
) -> None:
    bench = Bench((raising(kind()), answer("back")))
    bench.open_breaker()
    with pytest.raises(kind):
        bench.router.chat("hi", model="gpt-4.1")
    assert bench.breaker().probes_in_flight == 0
    assert [bench.ask().content for _ in range(3)] == ["back"] * 3
    assert bench.breaker().state is CLOSED


def test_04_resilience4j_858_a_permit_that_was_never_used_is_released() -> None:
    clock = FakeClock()
    breaker = breaker_of(clock, half_open_max_calls=1)
    permit = probing(breaker, clock)
    assert breaker.try_acquire() is None
    permit.release()
    assert breaker.try_acquire() is not None


def test_04_resilience4j_1568_a_permit_that_nobody_settles_is_taken_back_when_its_lease_is_over() -> None:
    clock = FakeClock()
    breaker = breaker_of(clock, half_open_max_calls=1)
    probing(breaker, clock)
    clock.advance(60)
    assert recovers(breaker, clock)


def test_05_resilience4j_2028_2289_a_call_an_hour_closes_it_after_three_successes() -> None:
    clock = FakeClock()
    breaker = half_open(breaker_of(clock), clock)
    for state in (HALF_OPEN, HALF_OPEN, CLOSED):
        clock.advance(3600)
        breaker.acquire().success()
        assert breaker.state is state


def test_05_resilience4j_2028_the_first_failed_probe_is_enough_to_open_it_again() -> None:
    clock = FakeClock()
    breaker = half_open(breaker_of(clock), clock)
    breaker.acquire().success()
    breaker.acquire().success()
    breaker.acquire().failure()
    assert (breaker.state, breaker.retry_after) == (OPEN, 60)


@pytest.mark.parametrize("kind", INTERRUPTIONS)
def test_06_polly_311_717_1979_a_cancelled_probe_is_neither_a_wedge_nor_a_success(kind: type[BaseException]) -> None:
    clock = FakeClock()
    breaker = half_open(breaker_of(clock), clock)
    for _ in range(10):
        with pytest.raises(kind):
            breaker.call(raising(kind()))
    stats = breaker.stats()
    assert (stats.state, stats.probes_in_flight, stats.half_open_successes) == (HALF_OPEN, 0, 0)
    assert recovers(breaker, clock)


def _full_bulkhead(_clock: FakeClock) -> Bulkhead:
    bulkhead = Bulkhead("pool", BulkheadConfig(max_concurrent=1))
    bulkhead.acquire()
    return bulkhead


def _used_up_limiter(clock: FakeClock) -> RateLimiter:
    limiter = RateLimiter("own", RateLimiterConfig(requests_per_minute=1, burst=1), clock=clock)
    limiter.acquire()
    return limiter


def _open_breaker(clock: FakeClock) -> CircuitBreaker:
    return opened(breaker_of(clock))


LIMITS = [(_full_bulkhead, BulkheadFull), (_used_up_limiter, RateLimitReached)]


@pytest.mark.parametrize(("inner", "refusal_is"), [*LIMITS, (_open_breaker, CircuitOpenError)])
def test_07_hystrix_1621_a_probe_that_a_policy_inside_refuses_gives_its_place_back(
    inner: Callable[[FakeClock], Guard], refusal_is: type[Exception]
) -> None:
    clock = FakeClock()
    breaker = half_open(breaker_of(clock, half_open_max_calls=1), clock)
    policy = Policy.in_order(breaker, inner(clock))
    for _ in range(3):
        with pytest.raises(refusal_is):
            policy.call(str)
    assert (breaker.state, breaker.stats().probes_in_flight) == (HALF_OPEN, 0)
    assert recovers(breaker, clock)


@pytest.mark.parametrize(("inner", "refusal_is"), LIMITS)
def test_07_hystrix_1621_put_together_by_compose_the_breakers_permit_is_taken_last(
    inner: Callable[[FakeClock], Guard], refusal_is: type[Exception]
) -> None:
    clock = FakeClock()
    breaker = half_open(breaker_of(clock, half_open_max_calls=1), clock)
    with breaker.acquire():
        refusing = inner(clock)
        with pytest.raises(refusal_is):
            Policy.compose(breaker, refusing).call(str)
    assert breaker.stats().rejected == 0, "the breaker was not even asked"


def test_07_hystrix_1633_1723_a_retry_budget_that_refuses_does_not_keep_the_probe_place_of_a_router() -> None:
    bench = Bench(BROKEN, BROKEN, retry=RetryConfig(jitter=False))

    def meanwhile() -> None:
        while bench.endpoint().admission.budget.try_spend():
            pass
        bench.open_breaker()

    with bench.clock.during_wait(meanwhile):
        error = bench.lose(timeout=600)
    skipped = {(skip.provider, skip.reason) for skip in getattr(error, "skipped", ())}
    assert ("a", SkipReason.RETRY_BUDGET) in skipped
    assert bench.breaker().probes_in_flight == 0


def test_08_monix_1080_a_cancelled_call_gives_its_probe_back() -> None:
    token = CancelToken()

    def cancelled_meanwhile(_request: SentRequest) -> Outcome:
        token.cancel()
        return failing(Fault.CANCELLED)

    bench = Bench((cancelled_meanwhile, answer()))
    bench.open_breaker()
    assert isinstance(bench.lose(cancel=token), Cancelled)
    stats = bench.breaker()
    assert (stats.state, stats.probes_in_flight, stats.half_open_successes) == (HALF_OPEN, 0, 0)
    for _ in range(3):
        bench.ask()
    assert bench.breaker().state is CLOSED


def test_09_omniroute_13836_a_sole_probe_that_never_settles_does_not_shut_a_healthy_service_out() -> None:
    clock = FakeClock()
    breaker = breaker_of(clock, half_open_max_calls=1, success_threshold=1)
    probing(breaker, clock)
    refused = 0
    while (permit := breaker.try_acquire()) is None:
        refused += 1
        assert refused < 1000, "still shut after a thousand calls"
        clock.advance(1)
    permit.success()
    assert breaker.state is CLOSED
    assert refused <= 60 + 60, "a lease and an open time at most"


HTML = type(answer())(status=200, headers=answer().headers, body=b"<html>busy</html>")
EMPTY = type(answer())(status=200, headers=answer().headers, body=b'{"choices": []}')


@pytest.mark.parametrize(
    "spoilt",
    [refusal(400), refusal(401), refusal(403), refusal(404), refusal(413), refusal(422), refusal(429), HTML, EMPTY],
    ids=["400", "401", "403", "404", "413", "422", "429", "html", "empty"],
)
def test_09_nora_585_607_every_way_an_answer_can_be_spoilt_settles_the_probe(spoilt: Outcome) -> None:
    bench = Bench((spoilt, answer()))
    bench.open_breaker()
    bench.lose()
    assert bench.breaker().probes_in_flight == 0


def test_09_metapi_go_791_the_lease_counts_from_each_probes_own_start() -> None:
    clock = FakeClock()
    breaker = breaker_of(clock, half_open_max_calls=1, half_open_max_wait=600, success_threshold=2)
    first = probing(breaker, clock)
    clock.advance(590)
    first.success()
    second = breaker.acquire()
    clock.advance(590)
    assert breaker.try_acquire() is None
    assert breaker.state is HALF_OPEN, "the second probe has its own ten minutes"
    second.success()
    assert breaker.state is CLOSED


def test_09_erpc_1118_prompt_refusals_of_the_caller_do_not_hold_up_the_verdict() -> None:
    clock = FakeClock()
    breaker = half_open(breaker_of(clock, half_open_max_calls=1), clock)
    for number in range(75):
        if number % 25 == 24:
            breaker.call(str)
        else:
            with pytest.raises(ModelNotFound):
                breaker.call(raising(ModelNotFound("no such thing here")))
        clock.advance(60)
    assert breaker.state is CLOSED
    assert (breaker.stats().opened, breaker.stats().rejected) == (1, 0), "no clock runs against an ignored outcome"

"""When a call waits, for how long, and when it rather gives up."""

from __future__ import annotations

import math

import pytest

from failsafe.breaker import Permit
from failsafe.deadline import CancelToken, Deadline
from failsafe.errors import AllProvidersFailed, AuthenticationFailed, Cancelled, DeadlineExceeded
from failsafe.events import CircuitState
from failsafe.faults import Fault
from failsafe.models import Failure, SkipReason
from failsafe.policy_config import CircuitBreakerConfig, RetryConfig
from failsafe.testing import answer
from tests.router_bench import BROKEN, Bench, failing, takes

pytestmark = pytest.mark.usefixtures("expect_logs")

NO_JITTER = RetryConfig(jitter=False, base_delay=0.5, max_retries=2)


def limited(seconds: float) -> Failure:
    return failing(Fault.RATE_LIMIT, retry_after=seconds)


def test_waits_grow_from_round_to_round() -> None:
    bench = Bench(BROKEN, BROKEN, retry=NO_JITTER)
    assert isinstance(bench.lose(), AllProvidersFailed)
    assert bench.clock.waits == [0.5, 1.0]
    assert bench.asked() == {"a": 3, "b": 3}


def test_a_provider_without_tries_left_is_not_waited_for() -> None:
    bench = Bench(BROKEN, of_provider={"max_retries": 0}, retry=NO_JITTER)
    error = bench.lose()
    assert bench.clock.waits == []
    assert bench.asked() == {"a": 1}
    assert "a (gpt-4.1): not asked again: no further try in one call (max_retries = 0)" in str(error)


def test_a_provider_without_tries_left_is_not_asked_again_while_another_is() -> None:
    bench = Bench(BROKEN, BROKEN, each={"a": {"max_retries": 0}}, retry=NO_JITTER)
    bench.lose()
    assert bench.asked() == {"a": 1, "b": 3}


def test_a_provider_whose_retry_budget_is_empty_is_not_waited_for() -> None:
    bench = Bench(BROKEN, retry=NO_JITTER, breaker=CircuitBreakerConfig(failure_threshold=100))
    while bench.endpoint().admission.budget.try_spend():
        pass
    error = bench.lose()
    assert bench.clock.waits == []
    assert isinstance(error, AllProvidersFailed)
    assert [skip.reason for skip in error.skipped] == [SkipReason.RETRY_BUDGET]


def test_a_budget_emptied_by_other_calls_meanwhile_ends_the_tries_and_gives_the_permit_back() -> None:
    bench = Bench(BROKEN, BROKEN, retry=NO_JITTER)
    bench.open_breaker()

    def others_spend() -> None:
        while bench.endpoint().admission.budget.try_spend():
            pass
        bench.clock.advance(60)

    with bench.clock.during_wait(others_spend):
        error = bench.lose(timeout=600)
    assert isinstance(error, AllProvidersFailed)
    assert (SkipReason.RETRY_BUDGET, "a") in [(skip.reason, skip.provider) for skip in error.skipped]
    assert bench.asked() == {"a": 1, "b": 3}
    assert bench.breaker().probes_in_flight == 0


def test_a_breaker_that_refuses_costs_no_token_of_the_budget() -> None:
    bench = Bench((BROKEN, answer()), retry=NO_JITTER, breaker=CircuitBreakerConfig(half_open_max_calls=1))
    taken: list[Permit] = []

    def a_probe_is_under_way() -> None:
        if not taken:
            bench.open_breaker()
            taken.append(bench.router.breakers.get("a").acquire())

    with bench.clock.during_wait(a_probe_is_under_way):
        bench.lose(timeout=62)
    assert bench.endpoint().admission.budget.available == 10
    assert bench.asked() == {"a": 1}
    taken[0].release()


def test_rounds_in_which_nobody_could_be_asked_do_not_count() -> None:
    bench = Bench((limited(20), BROKEN, BROKEN, BROKEN), retry=NO_JITTER)
    bench.lose(timeout=5)
    error = bench.lose(timeout=60)
    assert isinstance(error, AllProvidersFailed)
    assert [attempt.round for attempt in error.attempts] == [1, 2, 3]
    assert bench.clock.waits[0] == pytest.approx(21, abs=1)
    assert bench.clock.waits[1:] == [0.5, 1.0]


def test_an_untried_provider_gets_its_turn_after_the_rounds_are_used_up() -> None:
    bench = Bench((limited(20), answer()), BROKEN, retry=RetryConfig(max_retries=0))
    bench.lose(timeout=5)
    reply = bench.ask(timeout=60)
    assert [attempt.provider for attempt in reply.attempts] == ["b", "a"]
    assert len(bench.clock.waits) == 1


def test_a_provider_that_becomes_usable_ends_the_wait_for_a_slower_one() -> None:
    bench = Bench((limited(50), answer()), (limited(10), answer()), retry=NO_JITTER)
    reply = bench.ask(timeout=60)
    assert [attempt.provider for attempt in reply.attempts] == ["a", "b", "b"]
    assert len(bench.clock.waits) == 1
    assert 10 <= bench.clock.waits[0] <= 11


def test_backoff_does_not_hold_up_a_provider_that_was_not_asked_yet_and_is_not_cut_short_for_it() -> None:
    slow = RetryConfig(jitter=False, base_delay=8, max_delay=8)
    bench = Bench(BROKEN, answer(), retry=slow)
    bench.endpoint("b").put_off(limited(2), bench.endpoint("b").config.keys[0], "gpt-4.1")
    reply = bench.ask(timeout=6)
    assert [attempt.provider for attempt in reply.attempts] == ["a", "b"]
    assert bench.clock.waits == [pytest.approx(2.1, abs=0.11)]


def test_a_provider_that_rests_is_asked_again_when_its_own_backoff_is_over() -> None:
    slow = RetryConfig(jitter=False, base_delay=8, max_delay=8)
    bench = Bench((BROKEN, answer()), BROKEN, retry=slow)
    bench.endpoint("b").put_off(limited(2), bench.endpoint("b").config.keys[0], "gpt-4.1")
    reply = bench.ask(timeout=60)
    assert [attempt.provider for attempt in reply.attempts] == ["a", "b", "a"]
    assert sum(bench.clock.waits) == pytest.approx(8)


@pytest.mark.parametrize("hint", [61.0, 5000.0, 1e9])
def test_a_hint_above_the_cap_is_not_waited_for_however_long_the_deadline(hint: float) -> None:
    bench = Bench(limited(hint))
    error = bench.lose(timeout=Deadline.unlimited())
    assert isinstance(error, AllProvidersFailed)
    assert bench.clock.waits == []
    assert error.retry_after is not None
    assert min(hint, 3270) <= error.retry_after <= min(1.1 * hint, 3600)
    assert "may be usable again in" in str(error)


@pytest.mark.parametrize("fault", [Fault.AUTH, Fault.QUOTA, Fault.PERMISSION, Fault.MISCONFIGURED])
def test_nobody_waits_for_what_only_a_person_can_mend(fault: Fault) -> None:
    bench = Bench(failing(fault))
    bench.lose()
    bench.clock.advance(59.5)
    error = bench.lose()
    assert isinstance(error, AllProvidersFailed)
    assert bench.clock.waits == []
    assert error.retry_after is not None
    assert bench.asked() == {"a": 1}


def test_a_forced_open_breaker_is_never_waited_for_and_never_asked() -> None:
    bench = Bench(answer(), answer())
    bench.router.breakers.get("a").force_open()
    assert bench.ask().provider == "b"
    bench.router.breakers.get("b").force_open()
    error = bench.lose(timeout=Deadline.unlimited())
    assert isinstance(error, AllProvidersFailed)
    assert error.retry_after is None
    assert bench.clock.waits == []
    assert "its circuit breaker is forced_open" in str(error)


def test_an_open_breaker_is_waited_for_if_the_deadline_allows_it() -> None:
    bench = Bench(answer())
    bench.router.breakers.get("a").trip()
    bench.clock.advance(30)
    assert isinstance(bench.lose(timeout=20), AllProvidersFailed)
    assert bench.clock.waits == []
    assert bench.ask(timeout=40).provider == "a"
    assert bench.clock.waits == [30]


def test_a_breaker_whose_probes_are_all_under_way_is_looked_at_again_every_second() -> None:
    bench = Bench(answer(), breaker=CircuitBreakerConfig(half_open_max_calls=1))
    bench.open_breaker()
    other = bench.router.breakers.get("a").acquire()

    def the_other_probe_ends() -> None:
        if len(bench.clock.waits) == 3:
            other.release()

    with bench.clock.during_wait(the_other_probe_ends):
        reply = bench.ask()
    assert bench.clock.waits == [1, 1, 1]
    assert reply.attempts[0].round == 1
    assert reply.skipped == ()


def test_a_call_that_nobody_may_take_pauses_between_its_looks() -> None:
    """A half-open breaker with a free place that another call takes each time: no busy loop."""
    bench = Bench(answer(), breaker=CircuitBreakerConfig(half_open_max_calls=1))
    bench.open_breaker()
    breaker = bench.router.breakers.get("a")
    acquire = type(breaker).try_acquire
    looks = iter(range(3))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            type(breaker), "try_acquire", lambda self: None if next(looks, None) is not None else acquire(self)
        )
        bench.ask()
    assert bench.clock.waits == [0.001] * 3


def test_with_an_unlimited_deadline_the_rounds_still_end() -> None:
    bench = Bench(BROKEN, BROKEN, retry=NO_JITTER)
    error = bench.lose(timeout=Deadline.unlimited())
    assert isinstance(error, AllProvidersFailed)
    assert bench.asked() == {"a": 3, "b": 3}


def test_with_an_unlimited_deadline_all_cool_providers_are_waited_for() -> None:
    bench = Bench((limited(50), answer()), limited(55))
    assert bench.ask(timeout=Deadline.unlimited()).provider == "a"


def test_cancelling_ends_a_wait_without_a_deadline() -> None:
    bench, token = Bench(limited(50)), CancelToken()
    with bench.clock.during_wait(token.cancel):
        assert isinstance(bench.lose(timeout=Deadline.unlimited(), cancel=token), Cancelled)
    assert bench.clock.monotonic() == 1000


def test_no_wait_passes_the_deadline() -> None:
    for seed in range(20):
        bench = Bench(BROKEN, limited(3), seed=seed, retry=RetryConfig(max_retries=9, base_delay=4, max_delay=8))
        bench.lose(timeout=6)
        assert bench.clock.monotonic() <= 1006


def test_a_deadline_that_has_passed_already_sends_nothing() -> None:
    bench = Bench(answer())
    deadline = Deadline.after(1, bench.clock)
    bench.clock.advance(1)
    error = bench.lose(timeout=deadline)
    assert isinstance(error, DeadlineExceeded)
    assert bench.asked() == {"a": 0}


def test_the_time_is_looked_at_before_every_attempt() -> None:
    bench: Bench = Bench(takes(lambda: bench, 6, BROKEN), answer())
    error = bench.lose(timeout=5)
    assert isinstance(error, DeadlineExceeded)
    assert bench.asked() == {"a": 1, "b": 0}


def test_a_deadline_that_ends_with_a_round_is_a_deadline_exceeded() -> None:
    bench: Bench = Bench(takes(lambda: bench, 5, BROKEN))
    assert isinstance(bench.lose(timeout=5), DeadlineExceeded)


def test_every_slice_is_the_usual_time_of_a_provider_and_all_are_half_of_what_is_left_at_most() -> None:
    bench: Bench = Bench(answer(), answer(), answer())
    bench.endpoint("b").latency.add(2.0)
    bench.endpoint("c").latency.add(3.0)
    bench.ask(timeout=20)
    bench.ask(timeout=8)
    given = [request.limits.deadline.timeout for request in bench.transports["a"].requests]
    assert given == pytest.approx([15, 4])


def test_no_slice_is_kept_for_who_cannot_be_asked() -> None:
    bench = Bench(answer(), answer(), answer())
    bench.router.breakers.get("b").force_open()
    bench.endpoint("c").put_off(failing(Fault.RATE_LIMIT), bench.endpoint("c").config.keys[0], "gpt-4.1")
    bench.ask(timeout=10)
    assert bench.transports["a"].requests[0].limits.deadline.timeout == pytest.approx(10)


def test_a_connection_gets_no_more_time_than_its_attempt() -> None:
    bench = Bench(answer(), of_provider={"connect_timeout": 5.0})
    bench.ask(timeout=3)
    bench.ask(timeout=60)
    assert [request.limits.connect_timeout for request in bench.transports["a"].requests] == pytest.approx([3, 5])


@pytest.mark.parametrize(
    ("fault", "timeout", "usual", "counts"),
    [
        (Fault.TIMEOUT, 0.5, None, False),
        (Fault.TIMEOUT, 1.0, None, True),
        (Fault.TIMEOUT, 2.0, 3.0, False),
        (Fault.TIMEOUT, 3.5, 3.0, True),
        (Fault.TIMEOUT, 31.0, 100.0, True),
        (Fault.CONNECT_TIMEOUT, 0.5, None, False),
        (Fault.CONNECT_TIMEOUT, 4.0, 8.0, False),
        (Fault.CONNECT_TIMEOUT, 6.0, 8.0, True),
    ],
)
def test_a_hurried_attempt_is_neutral_unless_it_had_what_the_provider_usually_needs(
    fault: Fault, timeout: float, usual: float | None, counts: bool
) -> None:
    bench: Bench = Bench(takes(lambda: bench, timeout, failing(fault)))
    if usual is not None:
        bench.endpoint().latency.add(usual)
    bench.lose(timeout=timeout)
    assert bench.breaker().streak == int(counts)


def test_a_call_strikes_a_breaker_once_and_still_fails_its_probe() -> None:
    bench = Bench(BROKEN, retry=RetryConfig(max_retries=2, base_delay=0))
    bench.lose()
    assert bench.breaker().streak == 1
    bench.open_breaker()
    bench.lose(timeout=1)
    assert bench.breaker().state is CircuitState.OPEN


def test_a_call_whose_first_try_counted_fails_a_probe_with_its_second() -> None:
    bench = Bench(BROKEN, retry=NO_JITTER)

    def another_call_opens_it() -> None:
        if len(bench.clock.waits) == 1:
            bench.open_breaker()

    with bench.clock.during_wait(another_call_opens_it):
        bench.lose(timeout=70)
    assert bench.asked() == {"a": 2}
    assert bench.breaker().opened == 2


@pytest.mark.parametrize("retries", [0, 1, 2])
def test_quick_tries_on_the_same_provider_come_before_the_next_one(retries: int) -> None:
    bench = Bench(BROKEN, answer(), same_provider_retries=retries)
    assert [attempt.provider for attempt in bench.ask().attempts] == ["a"] * (1 + retries) + ["b"]
    assert bench.clock.waits == []


def test_quick_tries_are_tries() -> None:
    bench = Bench(BROKEN, answer(), same_provider_retries=9, of_provider={"max_retries": 1})
    assert [attempt.provider for attempt in bench.ask().attempts] == ["a", "a", "b"]


@pytest.mark.parametrize("fault", [Fault.RATE_LIMIT, Fault.QUOTA, Fault.MISCONFIGURED])
def test_what_a_quick_try_cannot_mend_gets_none(fault: Fault) -> None:
    bench = Bench(failing(fault), answer(), same_provider_retries=3)
    bench.ask()
    assert bench.asked() == {"a": 1, "b": 1}


def test_infinite_arithmetic_stays_out_of_the_messages() -> None:
    bench = Bench(BROKEN, retry=RetryConfig(max_retries=0))
    error = bench.lose(timeout=Deadline.unlimited())
    assert "inf" not in str(error)
    assert not isinstance(error, AuthenticationFailed)
    assert getattr(error, "retry_after", math.nan) is None

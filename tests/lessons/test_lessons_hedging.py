"""Hedging."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from failsafe.bulkhead import Bulkhead
from failsafe.composition import Policy
from failsafe.deadline import CancelToken, current_deadline
from failsafe.errors import BulkheadFull, Cancelled, CircuitOpenError
from failsafe.hedging import Hedge
from failsafe.policy_config import BulkheadConfig, HedgeConfig, RetryConfig
from failsafe.retrying import Retry
from failsafe.testing import FakeClock, Outcome, SentRequest, answer
from failsafe.timeouts import AttemptTimeout, Timeout
from tests.lessons.situations import CLOSED, HALF_OPEN, PATIENCE, breaker_of, half_open, raising, together
from tests.router_bench import BROKEN, Bench

AT_ONCE = HedgeConfig(delay=0.0)
NOT_BY_TIME = HedgeConfig(delay=3600.0)


def until_lost(token: CancelToken) -> str:
    """An attempt that hangs until another one has won."""
    assert token.event.wait(PATIENCE)
    return "too late"


def within_patience(call: Callable[[], object]) -> object:
    """What *call* returns; an error if it hangs."""
    return together(call, threads=1)[0]


def test_56_grpc_java_7222_7337_when_no_hedge_may_start_and_all_others_failed_the_call_fails_now() -> None:
    with Hedge(NOT_BY_TIME) as hedge:
        sent: list[int] = []

        def sick() -> None:
            sent.append(1)
            raise OSError("sick")

        def fails() -> str:
            with pytest.raises(OSError, match="sick"):
                hedge.call(sick)
            return "failed"

        while hedge.stats().refused == 0:
            assert within_patience(fails) == "failed"
        before = len(sent)
        assert within_patience(fails) == "failed", "the budget is empty: no second attempt, and no wait for one"
        assert len(sent) == before + 1


def test_56_grpc_java_7222_when_every_back_end_has_failed_the_last_error_is_raised_at_once() -> None:
    with Hedge(NOT_BY_TIME) as hedge:

        def fails() -> str:
            with pytest.raises(OSError, match="the second"):
                hedge.race(raising(OSError("the first")), raising(OSError("the second")))
            return "failed"

        assert within_patience(fails) == "failed"


def test_57_grpc_java_9185_10007_of_attempts_that_end_together_one_wins_and_every_other_result_is_disposed_of() -> None:
    for _ in range(50):
        dropped: list[str] = []
        together_now = threading.Barrier(2)

        def attempt(name: str, barrier: threading.Barrier = together_now) -> Callable[[CancelToken], str]:
            def run(_token: CancelToken) -> str:
                barrier.wait(PATIENCE)
                return name

            return run

        hedge = Hedge(AT_ONCE, discard=dropped.append)
        won = hedge.race(attempt("first"), attempt("second"))
        assert hedge.close(PATIENCE)
        assert sorted([won, *dropped]) == ["first", "second"]


def test_57_grpc_java_10314_a_result_may_use_the_hedge_it_comes_from() -> None:
    hedge = Hedge(AT_ONCE)

    def nested(_token: CancelToken) -> str:
        return hedge.call(repr, hedge)

    assert str(within_patience(lambda: hedge.race(until_lost, nested))).startswith("<Hedge")
    assert hedge.close(PATIENCE)


def test_57_grpc_java_13034_polly_1131_losers_are_told_and_leave_nothing_running() -> None:
    told: list[bool] = []

    def loser(token: CancelToken) -> str:
        told.append(token.event.wait(PATIENCE))
        raise Cancelled("lost")

    hedge = Hedge(AT_ONCE)
    assert hedge.race(loser, lambda _token: "won") == "won"
    assert hedge.close(PATIENCE)
    assert (told, hedge.stats().running) == ([True], 0)


def test_57_polly_1340_a_loser_gives_its_probe_and_its_slot_back_and_counts_as_nothing() -> None:
    clock = FakeClock()
    breaker = half_open(breaker_of(clock, half_open_max_calls=1), clock)
    bulkhead = Bulkhead("pool", BulkheadConfig(max_concurrent=1))
    guarded = Policy.compose(breaker, bulkhead)

    def lose(token: CancelToken) -> str:
        until_lost(token)
        raise Cancelled("lost")

    hedge = Hedge(AT_ONCE)
    assert hedge.race(lambda token: guarded.call(lose, token), lambda _token: "won") == "won"
    assert hedge.close(PATIENCE)
    stats = breaker.stats()
    assert (stats.state, stats.probes_in_flight, stats.half_open_successes) == (HALF_OPEN, 0, 0)
    assert bulkhead.in_flight == 0


def test_58_grpc_java_10145_a_failure_starts_the_next_attempt_without_the_delay() -> None:
    with Hedge(NOT_BY_TIME) as hedge:
        assert within_patience(lambda: hedge.race(raising(OSError("sick")), lambda _token: "well")) == "well"
        assert hedge.stats().wins == 1


@pytest.mark.parametrize("refusal", [CircuitOpenError("first", "open", 60.0), BulkheadFull("first", 4)])
def test_58_grpc_java_10145_so_does_a_refusal_of_a_guard_and_it_costs_nothing(refusal: Exception) -> None:
    with Hedge(HedgeConfig(delay=3600.0, budget=0.0)) as hedge:  # with no token at all
        assert within_patience(lambda: hedge.race(raising(refusal), lambda _token: "well")) == "well"


def test_59_envoy_13196_each_try_is_given_what_is_left_and_no_more_than_its_own_limit() -> None:
    clock = FakeClock()
    seen: list[float] = []

    def slow() -> None:
        deadline = current_deadline()
        assert deadline is not None
        seen.append(deadline.left)
        clock.advance(4)
        raise OSError("sick")

    policy = Policy.compose(
        Timeout(10.0, abandon=False, clock=clock),
        Retry(RetryConfig(max_retries=9, base_delay=1, max_delay=1, jitter=False), clock=clock),
        AttemptTimeout(8.0, abandon=False, clock=clock),
    )
    with pytest.raises(OSError, match="sick"):
        policy.call(slow)
    assert seen == [8, 5], "ten seconds less the first four and a wait of one; then a wait would leave none"


@pytest.mark.usefixtures("expect_logs")
def test_59_envoy_13196_a_routers_later_attempts_are_given_less() -> None:
    def slow(request: SentRequest) -> Outcome:
        limits.append(request.limits.deadline.left)
        bench.clock.advance(4)
        return BROKEN

    limits: list[float] = []
    retry = RetryConfig(max_retries=9, base_delay=1, max_delay=1, jitter=False)
    bench = Bench((slow, slow, answer()), retry=retry, of_provider={"timeout": 8.0})
    bench.ask(timeout=12)
    assert limits == [8, 7]
    assert bench.transports["a"].requests[-1].limits.deadline.left == 2
    assert bench.breaker().state is CLOSED

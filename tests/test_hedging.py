"""The hedge around any function: a second attempt while the first is slow, and the first success wins."""

from __future__ import annotations

import contextvars
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from failsafe.budget import RetryBudget
from failsafe.deadline import CancelToken
from failsafe.errors import ConfigError
from failsafe.hedge import hedge_after, hedge_budget
from failsafe.hedge_delay import HedgeDelay
from failsafe.hedging import Hedge
from failsafe.latency import LatencyWindow
from failsafe.policy_config import HedgeConfig

LONGEST = 10.0
AT_ONCE = HedgeConfig(delay=0.0)
NEVER = HedgeConfig(delay=3600.0)


@contextmanager
def hedging(config: HedgeConfig = AT_ONCE, **settings: object) -> Iterator[Hedge]:
    hedge = Hedge(config, **settings)  # type: ignore[arg-type]
    try:
        yield hedge
    finally:
        assert hedge.close(LONGEST)


def until_cancelled(token: CancelToken) -> str:
    assert token.event.wait(LONGEST)
    return "late"


def broken(_token: CancelToken) -> str:
    raise OSError("broken")


# When, and for how much.


def test_a_fixed_delay_needs_no_history() -> None:
    assert hedge_after(HedgeConfig(delay=0.25), LatencyWindow()) == 0.25


def test_a_quantile_needs_enough_calls() -> None:
    recent = LatencyWindow(1000)
    for number in range(19):
        recent.add(number)
    assert hedge_after(HedgeConfig(), recent) is None
    recent.add(19)
    assert hedge_after(HedgeConfig(), recent) == 18


def test_the_budget_is_a_share_of_the_successes_and_a_few_at_the_start() -> None:
    budget = hedge_budget(HedgeConfig(budget=0.25))
    assert sum(budget.try_spend() for _ in range(20)) == 5
    for _ in range(8):
        budget.credit()
    assert sum(budget.try_spend() for _ in range(20)) == 2


def test_a_budget_of_nothing_allows_no_hedge() -> None:
    budget = hedge_budget(HedgeConfig(budget=0.0))
    assert isinstance(budget, RetryBudget)
    assert not budget.try_spend()


def test_a_slow_attempt_that_was_given_up_counts_and_a_fast_one_does_not() -> None:
    delay = HedgeDelay(HedgeConfig(minimum_calls=20))
    for _ in range(20):
        delay.observe(1.0, answered=True)
    assert delay.seconds == 1.0
    for _ in range(20):
        delay.observe(0.001, answered=False)
    assert delay.seconds == 1.0
    for _ in range(20):
        delay.observe(1.5, answered=False)
    assert delay.seconds == 1.5


# Calls.


def test_a_fast_call_is_made_once() -> None:
    with hedging(NEVER) as hedge:
        assert hedge.call(divmod, 7, 2) == (3, 1)
        stats = hedge.stats()
        assert (stats.calls, stats.hedges, stats.wins, stats.running) == (1, 0, 0, 0)


def test_a_slow_call_is_made_again_and_the_second_answer_wins() -> None:
    go_on, first = threading.Event(), threading.Lock()

    def slow_once() -> str:
        if first.acquire(blocking=False):
            assert go_on.wait(LONGEST)
            return "slow"
        return "fast"

    with hedging() as hedge:
        assert hedge.call(slow_once) == "fast"
        assert (hedge.stats().hedges, hedge.stats().wins) == (1, 1)
        go_on.set()


def test_it_decorates() -> None:
    with hedging(NEVER) as hedge:

        @hedge
        def double(number: int) -> int:
            """Twice as much."""
            return 2 * number

        assert double(4) == 8
        assert double.__doc__ == "Twice as much."
        with pytest.raises(TypeError, match="hedge cannot wrap"):

            @hedge
            def numbers() -> Iterator[int]:
                yield 1


def test_a_failure_of_the_only_attempt_is_raised_as_it_is_and_nothing_is_repeated() -> None:
    calls: list[int] = []

    def fails() -> None:
        calls.append(1)
        raise LookupError("no such key")

    with hedging(NEVER) as hedge, pytest.raises(LookupError, match="no such key"):
        hedge.call(fails)
    assert calls == [1]


def test_a_failure_waits_for_the_attempt_that_is_under_way() -> None:
    second = threading.Event()
    first = threading.Lock()

    def fails_once_the_other_is_asked() -> str:
        if first.acquire(blocking=False):
            assert second.wait(LONGEST)
            raise OSError("the first broke")
        second.set()
        return "second"

    with hedging() as hedge:
        assert hedge.call(fails_once_the_other_is_asked) == "second"


def test_context_variables_reach_the_attempts() -> None:
    who = contextvars.ContextVar("who", default="nobody")
    who.set("me")
    with hedging(NEVER) as hedge:
        assert hedge.call(who.get) == "me"


# Races.


def test_grpc_7222_when_all_have_failed_the_race_ends_now() -> None:
    with hedging(NEVER) as hedge, pytest.raises(OSError, match="broken") as raised:
        hedge.race(broken, broken, broken)
    assert raised.value.__notes__ == ["failsafe: 2 other attempts failed before"]


def test_grpc_10145_a_failure_begins_the_next_at_once() -> None:
    with hedging(NEVER) as hedge:
        assert hedge.race(broken, lambda _token: "second") == "second"
        assert hedge.stats().hedges == 0  # it cost nothing of the budget


def test_whoever_loses_is_told_and_its_result_is_discarded() -> None:
    discarded: list[object] = []
    with hedging(discard=discarded.append) as hedge:
        assert hedge.race(until_cancelled, lambda _token: "fast") == "fast"
    assert discarded == ["late"]


def test_a_result_that_cannot_be_discarded_hurts_nobody(expect_logs: pytest.LogCaptureFixture) -> None:
    def fails(_result: object) -> None:
        raise OSError("cannot close")

    with hedging(discard=fails) as hedge:
        assert hedge.race(until_cancelled, lambda _token: "fast") == "fast"
    assert [record.name for record in expect_logs.records] == ["failsafe.hedge"]


def test_no_more_than_max_hedges_begin_beside_a_slow_one() -> None:
    asked: list[str] = []
    release = threading.Event()

    def slow(name: str) -> Callable[[CancelToken], str]:
        def ask(_token: CancelToken) -> str:
            asked.append(name)
            if name == "b":
                release.set()
            assert release.wait(LONGEST)
            return name

        return ask

    with hedging() as hedge:
        assert hedge.race(slow("a"), slow("b"), slow("c")) in ("a", "b")
    assert "c" not in asked


def test_an_empty_budget_means_no_hedge_and_the_call_goes_on() -> None:
    go_on = threading.Event()
    with hedging(HedgeConfig(delay=0.0, budget=0.0)) as hedge:
        timer = threading.Timer(0.01, go_on.set)
        timer.start()
        assert hedge.race(lambda _token: str(go_on.wait(LONGEST)), lambda _token: "hedge") == "True"
        timer.join()
        assert (hedge.stats().hedges, hedge.stats().refused) == (0, 1)


def test_an_interrupt_of_the_caller_calls_all_off() -> None:
    told = threading.Event()

    class Interrupted:
        """A clock whose wait is interrupted, as by Ctrl+C."""

        monotonic = staticmethod(lambda: 0.0)
        time = staticmethod(lambda: 0.0)

        @staticmethod
        def wait(event: threading.Event, timeout: float) -> bool:
            raise KeyboardInterrupt

    def ask(token: CancelToken) -> str:
        assert token.event.wait(LONGEST)
        told.set()
        return "late"

    with hedging(NEVER, clock=Interrupted()) as hedge:
        with pytest.raises(KeyboardInterrupt):
            hedge.race(ask)
        assert told.wait(LONGEST)


def test_what_ends_a_program_reaches_the_caller() -> None:
    def exits(_token: CancelToken) -> str:
        raise SystemExit(3)

    with hedging(NEVER) as hedge, pytest.raises(SystemExit):
        hedge.race(exits)


def test_where_all_threads_are_taken_a_call_runs_in_its_own() -> None:
    go_on, busy = threading.Event(), threading.Event()

    def occupy() -> None:
        busy.set()
        assert go_on.wait(LONGEST)

    with hedging(NEVER, max_threads=1) as hedge:
        occupier = threading.Thread(target=hedge.call, args=(occupy,))
        occupier.start()
        assert busy.wait(LONGEST)
        assert hedge.call(threading.get_ident) == threading.get_ident()
        assert hedge.race(broken, lambda _token: "second") == "second"
        go_on.set()
        occupier.join(LONGEST)


def test_a_closed_hedge_calls_and_does_not_hedge() -> None:
    hedge = Hedge(AT_ONCE)
    assert hedge.close(LONGEST)
    assert hedge.call(threading.get_ident) == threading.get_ident()
    assert hedge.close(LONGEST)


def test_closing_tells_when_an_attempt_does_not_end() -> None:
    go_on, begun = threading.Event(), threading.Event()

    def slow() -> None:
        begun.set()
        assert go_on.wait(LONGEST)

    hedge = Hedge(NEVER)
    caller = threading.Thread(target=hedge.call, args=(slow,))
    caller.start()
    assert begun.wait(LONGEST)
    assert hedge.close(0.0) is False
    go_on.set()
    caller.join(LONGEST)
    assert hedge.close(LONGEST) is True


def test_wrong_arguments_are_refused() -> None:
    with pytest.raises(ConfigError, match="max_threads = 0"):
        Hedge(max_threads=0)
    with hedging() as hedge, pytest.raises(ConfigError, match="at least one function"):
        hedge.race()


def test_the_repr_counts() -> None:
    with hedging(NEVER) as hedge:
        hedge.call(int)
        assert repr(hedge) == "<Hedge 1 calls, 0 hedges, 0 won>"


def test_many_races_at_once_have_one_winner_each_and_lose_no_thread() -> None:
    def answers(name: str) -> Callable[[CancelToken], str]:
        def ask(token: CancelToken) -> str:
            token.event.wait(0.0005)
            if name == "breaks":
                raise OSError(name)
            return name

        return ask

    with hedging(HedgeConfig(delay=0.0003, budget=1.0, max_hedges=2), max_threads=24) as hedge:
        winners: list[str] = []

        def work() -> None:
            for _ in range(60):
                winners.append(hedge.race(answers("a"), answers("breaks"), answers("c")))  # noqa: PERF401

        threads = [threading.Thread(target=work) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert len(winners) == 360
        assert set(winners) <= {"a", "c"}
        assert hedge.close(LONGEST)
        assert hedge.stats().running == 0

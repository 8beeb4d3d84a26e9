"""When a hedge may start, what it costs, and that the window does not deceive itself."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from failsafe.clock import Random
from failsafe.hedge import hedge_after, hedge_budget, learn_loser, learn_success
from failsafe.latency import LatencyWindow
from failsafe.policy_config import HedgeConfig


def window(*seconds: float, size: int = 1000) -> LatencyWindow:
    recent = LatencyWindow(size)
    for each in seconds:
        learn_success(recent, each)
    return recent


def test_a_fixed_delay_needs_no_history() -> None:
    assert hedge_after(HedgeConfig(delay=0.3), window()) == 0.3
    assert hedge_after(HedgeConfig(delay=0), window(5.0)) == 0


def test_the_quantile_is_not_used_before_there_are_enough_calls() -> None:
    config = HedgeConfig(minimum_calls=20)
    assert hedge_after(config, window(*[1.0] * 19)) is None
    assert hedge_after(config, window(*[1.0] * 20)) == 1.0


@pytest.mark.parametrize(("quantile", "delay"), [(None, 95.0), (0.5, 50.0), (0.99, 99.0)])
def test_the_delay_is_the_quantile_of_the_recent_calls(quantile: float | None, delay: float) -> None:
    recent = window(*map(float, range(1, 101)))
    assert hedge_after(HedgeConfig(delay_quantile=quantile), recent) == delay


def test_the_budget_lets_a_quiet_program_hedge_and_then_a_twentieth_of_its_answers() -> None:
    budget = hedge_budget(HedgeConfig())
    assert [budget.try_spend() for _ in range(6)] == [True] * 5 + [False]
    for _ in range(19):
        budget.credit()
    assert not budget.try_spend()
    budget.credit()
    assert budget.try_spend()


def test_a_budget_of_nothing_allows_no_hedge_at_all() -> None:
    budget = hedge_budget(HedgeConfig(budget=0))
    for _ in range(100):
        budget.credit()
    assert not budget.try_spend()


@given(st.lists(st.booleans(), max_size=400), st.floats(0.001, 1))
def test_hedges_are_never_more_than_the_share_of_the_answers_and_a_few(slow: list[bool], share: float) -> None:
    budget = hedge_budget(HedgeConfig(budget=share))
    hedges = 0
    for answers, each in enumerate(slow, start=1):
        hedges += each and budget.try_spend()
        budget.credit()
        assert hedges <= 5 + share * answers + 1e-3


def test_a_loser_enters_as_a_lower_bound_once_it_has_outlasted_the_delay() -> None:
    recent = window(1.0)
    learn_loser(recent, 0.9, after=1.0)  # says less than what is known
    learn_loser(recent, 9.0, after=None)
    assert recent.count == 1
    learn_loser(recent, 1.0, after=1.0)
    learn_loser(recent, 3.0, after=1.0)
    assert (recent.count, recent.quantile(1)) == (3, 3.0)


def share_hedged(*, losers_count: bool) -> float:
    """The share of 20,000 calls that are hedged after the p95, each hedge winning; the delay may drift."""
    chance = Random(7)
    config, recent, hedged = HedgeConfig(), LatencyWindow(1000), 0
    for _ in range(20_000):
        takes, other = chance.expovariate(1.0), chance.expovariate(1.0)
        after = hedge_after(config, recent)
        if after is None or takes <= after:
            learn_success(recent, takes)
            continue
        hedged += 1
        won_at = min(takes, after + other)
        learn_success(recent, takes if won_at == takes else other)
        if won_at < takes and losers_count:
            learn_loser(recent, won_at, after)
    return hedged / 20_000


def test_survivorship_does_not_make_hedges_multiply() -> None:
    assert 0.03 < share_hedged(losers_count=True) < 0.08
    assert share_hedged(losers_count=False) > 0.09  # the trap is there

"""Costs in whole picodollars are those of the receipt."""

from __future__ import annotations

from decimal import Decimal, localcontext

from hypothesis import given
from hypothesis import strategies as st

from failsafe.models import Attempt, Usage
from failsafe.pricing import Rates
from failsafe.telemetry.costs import Reckoner

tokens = st.integers(0, 10_000_000)
prices = st.decimals(min_value=0, max_value=1_000_000, places=6)
fine = st.decimals(min_value=0, max_value=1_000, places=9)


@st.composite
def answers(draw: st.DrawFn, rate: st.SearchStrategy[Decimal] = prices) -> Attempt:
    rates = Rates(
        input=draw(rate), output=draw(rate), cached_input=draw(st.none() | rate), cache_write=draw(st.none() | rate)
    )
    usage = Usage(
        prompt_tokens=draw(tokens),
        completion_tokens=draw(tokens),
        cached_tokens=draw(st.just(0) | tokens),
        cache_write_tokens=draw(st.just(0) | tokens),
    )
    return Attempt(provider="p", model="m", usage=usage, rates=rates)


def exactly(attempt: Attempt) -> Decimal | None:
    cost = attempt.cost_usd
    with localcontext() as context:
        context.prec = 60
        return None if cost is None else cost * 10**12


@given(answers())
def test_whole_numbers_come_to_the_same(attempt: Attempt) -> None:
    reckoner = Reckoner()

    assert reckoner.picodollars(attempt) == exactly(attempt)
    assert reckoner.picodollars(attempt) == exactly(attempt), "with rates that it remembers"


@given(answers(fine))
def test_finer_prices_are_rounded_once(attempt: Attempt) -> None:
    told, exact = Reckoner().picodollars(attempt), exactly(attempt)

    assert (told is None) is (exact is None)
    if told is not None and exact is not None:
        assert abs(told - exact) <= Decimal("0.5")


@given(answers(), st.decimals(min_value=0, max_value=1000, places=12))
def test_what_the_provider_says_comes_first(attempt: Attempt, told: Decimal) -> None:
    said = Attempt(provider="p", model="m", usage=Usage(prompt_tokens=9, cost_usd=told), rates=attempt.rates)

    assert Reckoner().picodollars(said) == told * 10**12


def test_what_is_not_known_is_not_nothing() -> None:
    reckoner, free = Reckoner(), Rates(input=Decimal(0), output=Decimal(0))

    assert reckoner.picodollars(Attempt(provider="p", model="m", usage=Usage(prompt_tokens=5))) is None
    assert reckoner.picodollars(Attempt(provider="p", model="m", rates=free)) is None
    assert reckoner.picodollars(Attempt(provider="p", model="m", usage=Usage(prompt_tokens=5), rates=free)) == 0


def test_rates_that_are_made_for_each_call_are_not_remembered_for_ever_and_never_mixed_up() -> None:
    reckoner = Reckoner()
    for number in range(5000):
        rates = Rates(input=Decimal(number), output=Decimal(0))
        attempt = Attempt(provider="p", model="m", usage=Usage(prompt_tokens=1), rates=rates)
        assert reckoner.picodollars(attempt) == number * 10**6
        del rates, attempt

    assert len(reckoner._rates) <= 1000

"""What tokens cost: which of several prices holds, and whose word counts."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from failsafe.catalog import catalog
from failsafe.config import ProviderConfig
from failsafe.errors import ConfigError
from failsafe.pricing import FREE, LargePrompt, PeakHours, Price, Prices, Rates, cost_usd, rates_at

NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)  # a Tuesday


def price(of: int = 1, **settings: Any) -> Price:
    return Price(input=Decimal(of), output=Decimal(4 * of), **settings)


def input_at(prices: Prices, when: datetime = NOON, prompt_tokens: int = 10) -> Decimal | None:
    rates = rates_at(prices, when, prompt_tokens)
    return None if rates is None else rates.input


def test_no_price_is_unknown_and_never_nothing() -> None:
    assert rates_at((), NOON, 10) is None


def test_a_price_holds_from_its_first_day_to_the_day_before_its_last() -> None:
    prices = (price(1, valid_until=date(2026, 12, 1)), price(2, valid_from=date(2026, 12, 1)))
    last_second = datetime(2026, 11, 30, 23, 59, 59, tzinfo=UTC)
    assert input_at(prices, last_second) == 1
    assert input_at(prices, last_second + timedelta(seconds=1)) == 2


def test_the_days_are_those_of_utc() -> None:
    prices = (price(1, valid_until=date(2026, 12, 1)), price(2, valid_from=date(2026, 12, 1)))
    new_york = timezone(timedelta(hours=-5))
    assert input_at(prices, datetime(2026, 11, 30, 20, tzinfo=new_york)) == 2


def test_outside_of_all_days_the_price_is_unknown() -> None:
    assert input_at((price(1, valid_until=date(2020, 1, 1)),)) is None


def test_where_several_hold_the_last_counts() -> None:
    assert input_at((price(1), price(2))) == 2


def test_a_long_prompt_changes_the_price_of_the_whole_call() -> None:
    prices = (price(1, large_prompt=LargePrompt(above=200_000, input=Decimal(5), output=Decimal(9))),)
    assert input_at(prices, prompt_tokens=200_000) == 1
    assert input_at(prices, prompt_tokens=200_001) == 5


@pytest.mark.parametrize(
    ("when", "of"),
    [
        (datetime(2026, 11, 24, 0, 59, tzinfo=UTC), 1),
        (datetime(2026, 11, 24, 1, 0, tzinfo=UTC), 2),
        (datetime(2026, 11, 24, 3, 59, tzinfo=UTC), 2),
        (datetime(2026, 11, 24, 4, 0, tzinfo=UTC), 1),
        (datetime(2026, 11, 24, 9, 59, tzinfo=UTC), 2),
        (datetime(2026, 11, 28, 2, 0, tzinfo=UTC), 1),  # a Saturday
    ],
)
def test_peak_hours_have_their_own_price(when: datetime, of: int) -> None:
    peak = PeakHours(hours=((1, 4), (6, 10)), input=Decimal(2), output=Decimal(8))
    assert input_at((price(1, peak=peak),), when) == of


def test_peak_hours_may_hold_at_the_weekend_too() -> None:
    peak = PeakHours(hours=((1, 4),), weekdays=False, input=Decimal(2), output=Decimal(8))
    assert input_at((price(1, peak=peak),), datetime(2026, 11, 28, 2, tzinfo=UTC)) == 2


@given(st.decimals(0, 1000, places=3), st.decimals(0, 1000, places=3), st.integers(0, 10**7), st.integers(0, 10**6))
def test_the_cost_is_that_of_prompt_and_answer(inp: Decimal, out: Decimal, prompt: int, answer: int) -> None:
    exact = (inp * prompt + out * answer) / 10**6
    got = cost_usd(Rates(input=inp, output=out), prompt_tokens=prompt, answer_tokens=answer)
    assert got == pytest.approx(float(exact), rel=1e-9, abs=1e-12)


# The catalogue.


@pytest.mark.parametrize("model", sorted(catalog().prices))
def test_every_price_says_where_it_is_from_and_is_sane(model: str) -> None:
    for entry in catalog().prices[model]:
        assert entry.source
        assert entry.as_of is not None
        assert 0 < entry.input <= entry.output <= 200
        assert entry.cached_input is None or entry.cached_input <= entry.input
        assert entry.cache_write is None or entry.input <= entry.cache_write <= 2 * entry.input
        if entry.large_prompt is not None:
            assert entry.large_prompt.input > entry.input
            assert entry.large_prompt.above >= 100_000


@pytest.mark.parametrize("model", sorted(catalog().prices))
def test_every_model_of_the_table_has_one_price_today(model: str) -> None:
    assert sum(entry.holds(date(2026, 11, 24)) for entry in catalog().prices[model]) == 1


def openai(**settings: Any) -> ProviderConfig:
    return ProviderConfig(name="openai", api_key="sk-marked-4711-do-not-show", **settings)


def test_a_dated_version_costs_what_its_model_does() -> None:
    assert openai().price("gpt-4.1-2025-04-14") == openai().price("gpt-4.1")
    assert openai().price("gpt-4.1")[0].output == 8
    assert openai().price("gpt-4.1-mini")[0].output == Decimal("1.6")


def test_a_model_without_a_price_costs_unknown() -> None:
    assert openai().price("gpt-5-pro") == ()
    assert openai().price("gpt-7") == ()


def test_what_an_unknown_server_asks_for_is_not_guessed() -> None:
    assert ProviderConfig(name="mine", base_url="https://llm.example.com/v1").price("gpt-4.1") == ()


def test_a_server_of_ones_own_bills_no_tokens() -> None:
    assert ProviderConfig(name="ollama").price("llama3.2:3b") == FREE


def test_an_aggregators_price_comes_before_the_vendors() -> None:
    holysheep = ProviderConfig(name="holysheep", api_key="hs-marked-4711-do-not-show")
    (ours,) = holysheep.price("claude-sonnet-4.5")
    assert ours.assumed
    assert ours.output == 15


def test_ones_own_price_comes_first_by_either_name() -> None:
    mine = {"fast": {"input": 0.5, "output": 1.5}}
    provider = openai(models={"fast": "gpt-4.1"}, prices=mine)
    assert provider.price("gpt-4.1")[0].input == Decimal("0.5")
    assert openai(prices={"gpt-4.1": {"input": 7, "output": 8}}).price("gpt-4.1")[0].input == 7


def test_the_numbers_are_exact() -> None:
    assert openai(prices={"x": {"input": 0.1, "output": 0.7}}).price("x")[0].input == Decimal("0.1")


def test_a_list_of_prices_is_for_different_days() -> None:
    listed = [
        {"input": 1, "output": 2, "valid_until": date(2027, 1, 1)},
        {"input": 3, "output": 4, "valid_from": "2027-01-01"},
    ]
    prices = openai(prices={"x": listed}).price("x")
    assert input_at(prices) == 1
    assert input_at(prices, datetime(2027, 1, 1, tzinfo=UTC)) == 3


@pytest.mark.parametrize(
    ("prices", "message"),
    [
        (7, "providers.openai.prices = 7: a table from each model to its price is needed"),
        ({"x": {}}, "providers.openai.prices.x"),
        ({"x": []}, "at least one price is needed"),
        ({"x": {"input": -1, "output": 2}}, "input = -1: from 0 to 1000000"),
        ({"x": {"input": float("nan"), "output": 2}}, "providers.openai.prices.x"),
        ({"x": {"input": 1, "output": 2, "cost": 3}}, "unknown field `cost`"),
        ({"x": {"input": "dear", "output": 2}}, "providers.openai.prices.x"),
        ({"": {"input": 1, "output": 2}}, "a name in providers.openai.prices"),
    ],
)
def test_a_wrong_price_is_refused_in_words(prices: Any, message: str) -> None:
    with pytest.raises(ConfigError) as raised:
        openai(prices=prices)
    assert message in str(raised.value)
    assert raised.value.__cause__ is None

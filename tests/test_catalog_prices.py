"""The catalogue's prices, row by row as the vendors state them, and bills recomputed by hand."""

from __future__ import annotations

import decimal
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from failsafe.catalog import catalog
from failsafe.config import ProviderConfig
from failsafe.pricing import Price, Rates, bill, find, rates_at

NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)  # a Tuesday, off DeepSeek's peak
PEAK = datetime(2026, 11, 24, 7, tzinfo=UTC)
SATURDAY = datetime(2026, 11, 28, 7, tzinfo=UTC)
DECEMBER = datetime(2026, 12, 1, tzinfo=UTC)
LAST_OF_NOVEMBER = datetime(2026, 11, 30, 23, 59, 59, tzinfo=UTC)
NEW_YEAR = datetime(2027, 1, 1, tzinfo=UTC)

# Model, when, length of the prompt, and USD per million tokens: input, read from the cache, written to it, output.
ROWS: list[tuple[str, datetime, int, str, str | None, str | None, str]] = [
    ("gpt-4.1", NOON, 1, "2", "0.5", None, "8"),
    ("gpt-4.1-mini", NOON, 1, "0.4", "0.1", None, "1.6"),
    ("gpt-4.1-nano", NOON, 1, "0.1", "0.025", None, "0.4"),
    ("gpt-4o", NOON, 1, "2.5", "1.25", None, "10"),
    ("gpt-4o-mini", NOON, 1, "0.15", "0.075", None, "0.6"),
    ("gpt-5", NOON, 1, "1.25", "0.125", None, "10"),
    ("gpt-5.1", NOON, 1, "1.25", "0.125", None, "10"),
    ("gpt-5-mini", NOON, 1, "0.25", "0.025", None, "2"),
    ("gpt-5-nano", NOON, 1, "0.05", "0.005", None, "0.4"),
    ("gpt-5.2", NOON, 1, "1.75", "0.175", None, "14"),
    ("gpt-5.4", NOON, 272_000, "2.5", "0.25", None, "15"),
    ("gpt-5.4", NOON, 272_001, "5", "0.5", None, "22.5"),
    ("gpt-5.4-mini", NOON, 1, "0.75", "0.075", None, "4.5"),
    ("gpt-5.4-nano", NOON, 1, "0.2", "0.02", None, "1.25"),
    ("gpt-5.5", NOON, 1, "5", "0.5", None, "30"),
    ("gpt-5.5", NOON, 300_000, "10", "1", None, "45"),
    ("gpt-5.6-sol", NOON, 1, "4", "0.4", "5", "20"),
    ("gpt-5.6-sol", NOON, 300_000, "8", "0.8", "10", "30"),
    ("gpt-5.6-terra", NOON, 1, "2", "0.2", "2.5", "12"),
    ("gpt-5.6-luna", NOON, 1, "0.2", "0.02", "0.25", "1.2"),
    ("gpt-6-astra", NOON, 1, "10", "1", "12.5", "50"),
    ("gpt-6-astra", NOON, 300_000, "20", "2", "25", "75"),
    ("gpt-6-sol", NOON, 1, "2", "0.2", "2.5", "10"),
    ("gpt-6-luna", NOON, 1, "0.1", "0.01", "0.125", "0.5"),
    ("gpt-6-luna", NOON, 300_000, "0.2", "0.02", "0.25", "0.75"),
    ("gpt-6.1-sol", NOON, 1, "2", "0.1", "2.5", "10"),
    ("gpt-6.1-sol", NOON, 300_000, "4", "0.2", "5", "15"),
    ("gpt-6.1-terra", NOON, 1, "1", "0.05", "1.25", "5"),
    ("gpt-6.2-astra", NOON, 1, "8", "0.4", "10", "40"),
    ("gpt-6.2-sol", NOON, 1, "2", "0.1", "2.5", "10"),
    ("o3", NOON, 1, "2", "0.5", None, "8"),
    ("o4-mini", NOON, 1, "1.1", "0.275", None, "4.4"),
    ("claude-opus-4-0", NOON, 1, "15", "1.5", "18.75", "75"),
    ("claude-opus-4-1", NOON, 1, "15", "1.5", "18.75", "75"),
    ("claude-opus-4-5", NOON, 1, "5", "0.5", "6.25", "25"),
    ("claude-opus-4-6", NOON, 1, "5", "0.5", "6.25", "25"),
    ("claude-opus-4-7", NOON, 1, "5", "0.5", "6.25", "25"),
    ("claude-opus-4-8", NOON, 1, "5", "0.5", "6.25", "25"),
    ("claude-opus-5", NOON, 1, "5", "0.5", "6.25", "25"),
    ("claude-opus-5-5", NOON, 1, "4", "0.2", "5", "20"),
    ("claude-sonnet-4-0", NOON, 1, "3", "0.3", "3.75", "15"),
    ("claude-sonnet-4-5", NOON, 300_000, "3", "0.3", "3.75", "15"),
    ("claude-sonnet-4-6", NOON, 1, "3", "0.3", "3.75", "15"),
    ("claude-sonnet-5", NOON, 1, "2", "0.2", "2.5", "10"),
    ("claude-sonnet-5-5", NOON, 1, "2", "0.1", "2.5", "10"),
    ("claude-haiku-4-5", NOON, 1, "1", "0.1", "1.25", "5"),
    ("claude-haiku-5-5", NOON, 100_000, "0.1", "0.01", "0.125", "0.5"),
    ("claude-haiku-5-5", NOON, 100_001, "0.5", "0.05", "0.625", "2.5"),
    ("claude-fable-5-2", NOON, 1, "8", "0.2", "10", "40"),
    ("claude-3-5-haiku", NOON, 1, "0.8", "0.08", "1", "4"),
    ("gemini-2.5-pro", NOON, 1, "1.25", "0.125", None, "10"),
    ("gemini-2.5-pro", NOON, 200_001, "2.5", "0.25", None, "15"),
    ("gemini-2.5-flash", NOON, 1, "0.3", "0.03", None, "2.5"),
    ("gemini-2.5-flash-lite", NOON, 1, "0.1", "0.01", None, "0.4"),
    ("gemini-3.1-pro-preview", NOON, 1, "2", "0.2", None, "12"),
    ("gemini-3.1-pro-preview", NOON, 200_001, "4", "0.4", None, "18"),
    ("gemini-3.5-flash", NOON, 1, "1.5", "0.15", None, "9"),
    ("gemini-3.5-flash-lite", NOON, 1, "0.3", "0.03", None, "2.5"),
    ("gemini-3.1-flash-lite", NOON, 1, "0.25", "0.025", None, "1.5"),
    ("gemini-3.8-flash", NOON, 1, "0.75", "0.075", None, "3.75"),
    ("gemini-3.6-flash", NOON, 1, "0.75", "0.075", None, "3.75"),
    ("gemini-3.7-flash", NOON, 1, "0.75", "0.075", None, "3.75"),
    ("gemini-3.8-flash", NEW_YEAR, 1, "1.5", "0.15", None, "7.5"),
    ("gemini-4-argon", LAST_OF_NOVEMBER, 1, "2", "0.1", None, "10"),
    ("gemini-4-argon", DECEMBER, 1, "4", "0.2", None, "20"),
    ("gemini-4-carbon", NOON, 1, "2", "0.1", None, "10"),
    ("gemini-4-carbon", DECEMBER, 1, "4", "0.2", None, "20"),
    # What answers in place of the models that end that day.
    ("gemini-2.5-pro", DECEMBER, 300_000, "0.75", "0.075", None, "3.75"),
    ("gemini-2.5-pro", NEW_YEAR, 1, "1.5", "0.15", None, "7.5"),
    ("gemini-2.5-flash", DECEMBER, 1, "0.3", "0.03", None, "2.5"),
    ("deepseek-flash", NOON, 1, "0.15", "0.003", None, "0.6"),
    ("deepseek-flash", PEAK, 1, "0.3", "0.006", None, "1.2"),
    ("deepseek-flash", SATURDAY, 1, "0.15", "0.003", None, "0.6"),
    ("deepseek-v4-pro", NOON, 1, "0.66", "0.022", None, "1.98"),
    ("deepseek-v4-pro", PEAK, 1, "1.32", "0.044", None, "3.96"),
    ("deepseek-chat", NOON, 1, "0.28", "0.028", None, "0.42"),
    ("deepseek-reasoner", NOON, 1, "0.28", "0.028", None, "0.42"),
    ("mistral-large-2512", NOON, 1, "0.5", "0.05", None, "1.5"),
    ("mistral-medium-3-5", NOON, 1, "1.5", "0.15", None, "7.5"),
    ("mistral-small-2603", NOON, 1, "0.15", "0.015", None, "0.6"),
    ("grok-4-0709", NOON, 1, "3", "0.75", None, "15"),
    ("grok-4.6", NOON, 199_999, "2", "0.5", None, "6"),
    ("grok-4.7", NOON, 200_000, "4", "1", None, "12"),
]


def exact(text: str | None) -> Decimal | None:
    return None if text is None else Decimal(text)


@pytest.mark.parametrize(("model", "when", "prompt", "read", "cached", "written", "output"), ROWS)
def test_a_row_of_the_vendors_lists(
    model: str, when: datetime, prompt: int, read: str, cached: str | None, written: str | None, output: str
) -> None:
    rates = rates_at(find(catalog().prices, [model]), when, prompt)
    assert rates is not None
    said = rates.input, rates.cached_input, rates.cache_write, rates.output
    assert said == (exact(read), exact(cached), exact(written), exact(output))


@pytest.mark.parametrize(
    ("provider", "model", "rates"),
    [
        ("groq", "llama-3.3-70b-versatile", ("0.59", None, "0.79")),
        ("groq", "llama-3.1-8b-instant", ("0.05", None, "0.08")),
        ("groq", "openai/gpt-oss-120b", ("0.15", "0.075", "0.6")),
        ("together", "meta-llama/Llama-3.3-70B-Instruct-Turbo", ("0.88", None, "0.88")),
        ("holysheep", "gpt-4.1", ("2", None, "8")),
        ("holysheep", "claude-sonnet-4.5", ("3", None, "15")),
        ("holysheep", "gemini-2.5-flash", ("0.3", None, "2.5")),
        ("holysheep", "deepseek-v3.2", ("0.28", None, "0.42")),
    ],
)
def test_a_row_of_who_charges_its_own(provider: str, model: str, rates: tuple[str, str | None, str]) -> None:
    (price,) = ProviderConfig(name=provider, api_key="marked-key").price(model)
    assert (price.input, price.cached_input, price.output) == tuple(map(exact, rates))


def test_what_holysheep_claims_is_marked_as_assumed_and_says_from_where() -> None:
    prices = [price for entry in catalog().presets["holysheep"].prices.values() for price in entry]
    assert len(prices) == 6
    assert all(price.assumed and price.source and price.as_of for price in prices)


@pytest.mark.parametrize("model", [row[0] for row in ROWS])
def test_what_is_written_to_a_cache_costs_a_quarter_more_than_what_is_read(model: str) -> None:
    newer = model.startswith(("claude", "gpt-5.6", "gpt-6"))
    for price in find(catalog().prices, [model]):
        assert price.cache_write == (price.input * Decimal("1.25") if newer else None)


@pytest.mark.parametrize(
    ("model", "when", "tokens", "usd"),
    [
        # 1,000 x 2 + 500 x 8 = 6,000 millionths
        ("gpt-4.1", NOON, {"prompt_tokens": 1000, "completion_tokens": 500}, "0.006"),
        # 400 x 2 + 600 x 0.5 + 500 x 8 = 800 + 300 + 4,000
        ("gpt-4.1", NOON, {"prompt_tokens": 1000, "cached_tokens": 600, "completion_tokens": 500}, "0.0051"),
        # 100 x 3 + 200 x 0.3 + 700 x 3.75 + 10 x 15 = 300 + 60 + 2,625 + 150
        (
            "claude-sonnet-4-5",
            NOON,
            {"prompt_tokens": 1000, "cached_tokens": 200, "cache_write_tokens": 700, "completion_tokens": 10},
            "0.003135",
        ),
        # 150,000 x 0.5 + 1,000 x 2.5, as the whole prompt is over 100,000
        ("claude-haiku-5-5", NOON, {"prompt_tokens": 150_000, "completion_tokens": 1000}, "0.0775"),
        # 7 x 0.15 + 3 x 0.6 = 2.85 millionths
        ("deepseek-flash", NOON, {"prompt_tokens": 7, "completion_tokens": 3}, "0.00000285"),
        ("deepseek-flash", PEAK, {"prompt_tokens": 7, "completion_tokens": 3}, "0.0000057"),
        # 300,000 x 20 + 1,000 x 75
        ("gpt-6-astra", NOON, {"prompt_tokens": 300_000, "completion_tokens": 1000}, "6.075"),
    ],
)
def test_bills_by_hand(model: str, when: datetime, tokens: dict[str, Any], usd: str) -> None:
    rates = rates_at(find(catalog().prices, [model]), when, tokens["prompt_tokens"])
    assert rates is not None
    assert bill(rates, **tokens) == Decimal(usd)


def test_a_bill_does_not_depend_on_the_precision_that_a_program_has_set_for_itself() -> None:
    rates = Rates(input=Decimal("1.23456789"), output=Decimal("9.87654321"))
    with decimal.localcontext(decimal.Context(prec=3)):
        cost = bill(rates, prompt_tokens=123_456_789, completion_tokens=987_654_321)
    assert cost == (Decimal("1.23456789") * 123_456_789 + Decimal("9.87654321") * 987_654_321) / 10**6


counts = st.integers(0, 10**9)
rate = st.decimals(0, 1000, places=9)


@given(
    st.builds(Price, input=rate, output=rate, cached_input=st.none() | rate, cache_write=st.none() | rate),
    st.lists(st.tuples(counts, counts, counts, counts), max_size=20),
)
def test_the_sum_of_bills_is_the_bill_of_the_sums(rates: Price, answers: list[tuple[int, int, int, int]]) -> None:
    bills = [
        bill(
            rates,
            prompt_tokens=plain + read + written,
            cached_tokens=read,
            cache_write_tokens=written,
            completion_tokens=answer,
        )
        for plain, read, written, answer in answers
    ]
    plain, read, written, answer = map(sum, zip(*answers, strict=True)) if answers else (0, 0, 0, 0)
    whole = bill(
        rates,
        prompt_tokens=plain + read + written,
        cached_tokens=read,
        cache_write_tokens=written,
        completion_tokens=answer,
    )
    with decimal.localcontext(decimal.Context(prec=60, traps=[decimal.Inexact])):
        assert sum(bills, Decimal(0)) == whole

"""What a month costs, and what was saved: exact sums, and no per cent too many."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from failsafe.article_prices import article_prices
from failsafe.errors import ConfigError
from failsafe.pricing import Price
from failsafe.savings import Load, Offer, Spent, against, cost, grouped, measured_mix, offers, percent, price_on
from failsafe.telemetry.views import CostRow

TODAY = date(2026, 11, 24)


def price(read: str, output: str, **more: Any) -> Price:
    return Price(input=Decimal(read), output=Decimal(output), **more)


GPT = price("2", "8", cached_input=Decimal("0.5"))


# Loads.


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        ((10_000_000,), (7_500_000, 2_500_000, 0)),
        ((10_000_000, (1, 1)), (5_000_000, 5_000_000, 0)),
        ((10_000_000, (3, 1), 0.4), (7_500_000, 2_500_000, 3_000_000)),
        ((10, (2, 1)), (7, 3, 0)),
        ((10, (0, 1)), (0, 10, 0)),
        ((10, (1, 0), 1.0), (10, 0, 10)),
        ((0,), (0, 0, 0)),
        ((3, (0.5, 0.25)), (2, 1, 0)),
    ],
)
def test_tokens_are_divided(arguments: tuple[Any, ...], parts: tuple[int, int, int]) -> None:
    load = Load.divided(*arguments)
    assert (load.prompt, load.completion, load.cached) == parts


@pytest.mark.parametrize(
    "wrong", [(-1,), (10**19,), (1, (0, 0)), (1, (-1, 2)), (1, (float("nan"), 1)), (1, (1, 1), 1.5), (1, (1, 1), -0.1)]
)
def test_what_cannot_be_divided_is_refused(wrong: tuple[Any, ...]) -> None:
    with pytest.raises(ConfigError):
        Load.divided(*wrong)


@given(
    st.integers(0, 10**15),
    st.tuples(st.floats(0, 1000), st.floats(0, 1000)).filter(lambda mix: sum(mix) > 0),
    st.floats(0, 1),
)
def test_no_token_is_lost_or_made_up(tokens: int, mix: tuple[float, float], cached: float) -> None:
    load = Load.divided(tokens, mix, cached)
    assert load.tokens == tokens
    assert 0 <= load.cached <= load.prompt <= tokens


def test_a_load_costs_what_its_tokens_do() -> None:
    # 7 x 2 + 0.5 x 0.5 + 2.5 x 8 = 14 + 0.25 + 20
    assert cost(GPT, Load(prompt=7_500_000, cached=500_000, completion=2_500_000)) == Decimal("34.25")


# Per cent.


@pytest.mark.parametrize(
    ("saved", "baseline", "shown"),
    [
        ("520", "600", 86),  # 86.67
        ("300", "450", 66),  # 66.67
        ("99.999", "100", 99),
        ("100", "100", 100),
        ("0", "100", 0),
        ("0.5", "100", 0),
        ("-12.3", "100", -13),
        ("-0.001", "100", -1),
        ("1", "0", None),
    ],
)
def test_per_cent_are_rounded_down(saved: str, baseline: str, shown: int | None) -> None:
    assert percent(Decimal(saved), Decimal(baseline)) == shown
    assert percent(None, Decimal(baseline)) is None
    assert percent(Decimal(saved), None) is None


@given(st.decimals(0, 10**9, places=6), st.decimals("0.000001", 10**9, places=6))
def test_no_saving_is_shown_that_is_not_there(usd: Decimal, baseline: Decimal) -> None:
    shown = Offer(model="m", provider="p", usd=usd, baseline_usd=baseline).saved_percent
    assert shown is not None
    assert Decimal(shown) / 100 * baseline <= baseline - usd
    assert shown <= 100


# Offers.


def test_offers_are_compared_with_the_baseline_cheapest_first() -> None:
    tables = {"dear": {"m": (price("3", "15"),)}, "cheap": {"m": (price("1", "4"),)}, "silent": {}}
    providers = [(name, lambda model, table=table: table.get(model, ())) for name, table in tables.items()]
    found = offers("m", Load.divided(4_000_000), TODAY, providers, providers[0])
    assert [(each.provider, each.usd, each.saved, each.saved_percent) for each in found] == [
        ("cheap", Decimal(7), Decimal(17), 70),  # 3 x 1 + 1 x 4 against 3 x 3 + 1 x 15
        ("dear", Decimal(24), Decimal(0), 0),
        ("silent", None, None, None),
    ]
    assert {each.baseline for each in found} == {"dear"}


def test_without_a_baseline_of_known_price_nothing_is_compared() -> None:
    providers = [("p", lambda model: (GPT,))]
    for baseline in (None, ("other", lambda model: ())):
        (found,) = offers("m", Load.divided(100), TODAY, providers, baseline)
        assert (found.baseline, found.baseline_usd, found.saved, found.saved_percent) == ("", None, None, None)


def test_the_price_of_the_day_holds() -> None:
    prices = (price("1", "1", valid_until=date(2026, 12, 1)), price("2", "2", valid_from=date(2026, 12, 1)))
    assert [price_on(prices, day) for day in (TODAY, date(2026, 12, 1))] == list(prices)
    assert price_on((), TODAY) is None


# What was spent.


def row(**fields: Any) -> CostRow:
    usual: dict[str, Any] = {"answers": 1, "prompt_tokens": 1000, "completion_tokens": 100, "usd": Decimal("0.0014")}
    return CostRow(**{**usual, **fields})


def test_what_was_spent_is_compared_token_by_token() -> None:
    spent = against(row(cached_tokens=400, cache_write_tokens=100), GPT)
    # 500 x 2 + 400 x 0.5 + 100 x 2 + 100 x 8 = 2,200 millionths
    assert spent.baseline_usd == Decimal("0.0022")
    assert (spent.saved, spent.saved_percent) == (Decimal("0.0008"), 36)


@pytest.mark.parametrize(
    ("spent", "price"), [(row(), None), (row(unpriced=1), GPT), (row(answers=0, duplicates=1), GPT)]
)
def test_what_is_not_known_is_not_compared(spent: CostRow, price: Price | None) -> None:
    assert against(spent, price) == Spent(row=spent)


def test_groups_are_sums_and_one_unknown_makes_the_whole_unknown() -> None:
    rows = [
        against(row(provider="a", model="m", tag="x"), GPT),
        against(row(provider="a", model="n", tag="y", duplicates=2), GPT),
        against(row(provider="b", model="m", tag="x", usd=Decimal(5)), None),
    ]
    by_provider = {each.row.provider: each for each in grouped(rows, ["provider"])}
    assert (by_provider["a"].row.usd, by_provider["a"].row.answers) == (Decimal("0.0028"), 2)
    assert by_provider["a"].row.duplicates == 2
    assert by_provider["a"].baseline_usd == Decimal("0.0056")
    assert by_provider["b"].baseline_usd is None
    (whole,) = grouped(rows, [])
    assert (whole.row.answers, whole.baseline_usd) == (3, None)
    assert [each.row.provider for each in grouped(rows, ["provider"])] == ["b", "a"]
    in_vain = against(row(provider="a", answers=0, duplicates=1, prompt_tokens=0, completion_tokens=0), GPT)
    assert grouped([rows[0], in_vain], ["provider"])[0].baseline_usd == rows[0].baseline_usd
    days = [against(row(day=day, usd=Decimal(usd)), GPT) for day, usd in (("2026-11-24", 1), ("2026-11-22", 9))]
    assert [each.row.day for each in grouped(days, ["day"])] == ["2026-11-22", "2026-11-24"]
    assert grouped([], ["provider"]) == []


def test_a_measured_mix_may_be_of_any_size() -> None:
    mix, cached = measured_mix([row(prompt_tokens=3 * 10**12, completion_tokens=10**12)]) or ((0, 0), 0.0)
    assert Load.divided(100, mix, cached) == Load(prompt=75, completion=25)


def test_the_mix_is_what_was_measured() -> None:
    assert measured_mix([row(), row(cached_tokens=500)]) == ((2000, 200), 0.25)
    assert measured_mix([row(prompt_tokens=0)]) == ((0, 100), 0.0)
    assert measured_mix([]) is None


# The article's figures.


def test_the_articles_claims_are_what_it_says_and_marked_as_such() -> None:
    claimed = article_prices()
    assert claimed.mark == "claimed by the article, unverified"
    load = Load.divided(10_000_000)
    rows = {
        model: [
            None if entry is None else cost(entry, load)
            for entry in (claimed.price("official", model), claimed.price("holysheep", model))
        ]
        for model in ("gpt-4.1", "claude-sonnet-4.5", "gemini-2.5-flash", "deepseek-v3.2")
    }
    assert rows == {
        "gpt-4.1": [600, 80],
        "claude-sonnet-4.5": [450, 150],
        "gemini-2.5-flash": [None, 25],
        "deepseek-v3.2": [None, Decimal("4.2")],
    }
    assert percent(Decimal(600 - 80), Decimal(600)) == 86
    assert percent(Decimal(450 - 150), Decimal(450)) == 66
    for entry in (claimed.price("holysheep", "gpt-4.1"), claimed.price("official", "gpt-4.1")):
        assert entry is not None
        assert entry.assumed
        assert entry.source == "claimed by the article, unverified"


def test_the_articles_claims_stay_out_of_the_catalogue() -> None:
    from failsafe.catalog import catalog

    prices = [each for entries in catalog().prices.values() for each in entries]
    prices += [each for preset in catalog().presets.values() for entries in preset.prices.values() for each in entries]
    assert not any("article" in each.source and "unverified" in each.source for each in prices)
    assert catalog().prices["gpt-4.1"][0].output == 8

"""What tokens cost: which of several prices holds, and whose word counts."""

from __future__ import annotations

import pickle
import tomllib
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from importlib.resources import files
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from failsafe.catalog import catalog
from failsafe.config import ProviderConfig
from failsafe.errors import ConfigError
from failsafe.loader import parse
from failsafe.pricing import FREE, LargePrompt, PeakHours, Price, Prices, Rates, cost_usd, find, rates_at

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


def test_a_time_without_a_zone_is_taken_for_utc() -> None:
    prices = (price(1, valid_until=date(2026, 12, 1)), price(2, valid_from=date(2026, 12, 1)))
    assert input_at(prices, datetime(2026, 11, 30, 23, 59)) == 1  # noqa: DTZ001
    assert input_at(prices, datetime(2026, 12, 1)) == 2  # noqa: DTZ001


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


SHIPPED = {("", model): prices for model, prices in catalog().prices.items()} | {
    (name, model): prices for name, preset in catalog().presets.items() for model, prices in preset.prices.items()
}
every_price = pytest.mark.parametrize("prices", SHIPPED.values(), ids=[" ".join(key) for key in SHIPPED])


@every_price
def test_every_price_says_where_it_is_from(prices: Prices) -> None:
    assert prices
    for entry in prices:
        assert entry.source
        assert entry.as_of is not None
        assert date(2025, 12, 1) <= entry.as_of <= date(2026, 11, 24)


@every_price
def test_every_price_is_sane(prices: Prices) -> None:
    for entry in prices:
        for rates in (entry, entry.large_prompt, entry.peak):
            if rates is not None and rates.output:  # nothing is what a free variant costs
                assert 0 < rates.input <= rates.output <= 300
                assert rates.cached_input is None or 0 < rates.cached_input <= rates.input / 2
                assert rates.cache_write in (None, rates.input * Decimal("1.25"))


@every_price
def test_other_rates_are_higher_and_say_as_much_as_the_usual_ones(prices: Prices) -> None:
    for entry in prices:
        for other in (entry.large_prompt, entry.peak):
            if other is not None:
                assert other.input / entry.input in (2, 5)
                assert entry.output < other.output <= 5 * entry.output
                assert (other.cached_input is None) == (entry.cached_input is None)
                assert (other.cache_write is None) == (entry.cache_write is None)


@every_price
def test_every_entry_has_one_price_on_any_day_to_come(prices: Prices) -> None:
    for day in (date(2026, 11, 24), date(2026, 12, 31), date(2027, 1, 1), date(2030, 1, 1)):
        assert sum(entry.holds(day) for entry in prices) == 1


def test_no_vendors_price_goes_by_a_pattern() -> None:
    assert [model for model in catalog().prices if "*" in model or "?" in model] == []


KNOWN_TO_COST = [
    *(
        "gpt-4.1",
        "gpt-4o-mini",
        "gpt-5-pro",
        "gpt-5.4",
        "gpt-5.6-luna",
        "gpt-6.1-terra",
        "gpt-6.2-sol",
        "o3",
        "o4-mini",
    ),
    *(
        "claude-opus-4-20250514",
        "claude-opus-4-1-20250805",
        "claude-sonnet-4-0",
        "claude-sonnet-4-5",
        "claude-opus-5-5",
    ),
    *("claude-haiku-5-5", "claude-fable-5-2", "gemini-2.5-pro", "gemini-2.5-flash-lite", "gemini-3.1-pro-preview"),
    *("gemini-3.8-flash", "gemini-4-carbon", "deepseek-flash", "deepseek-v4-pro", "mistral-large-2512", "grok-4.7"),
]


@pytest.mark.parametrize("model", KNOWN_TO_COST)
def test_the_vendors_prices_are_known(model: str) -> None:
    assert find(catalog().prices, [model])


@pytest.mark.parametrize("name", [name for name, preset in catalog().presets.items() if preset.default_model])
def test_what_a_preset_is_tried_with_has_a_price(name: str) -> None:
    default = catalog().presets[name].default_model or ""
    provider = ProviderConfig(name=name, api_key="marked-key")
    assert provider.price(provider.serves(default) or default) or name == "together"


def test_every_model_that_an_aggregator_lists_has_a_price() -> None:
    for name in ("holysheep", "openrouter"):
        provider = ProviderConfig(name=name, api_key="marked-key")
        assert [sent for sent in catalog().presets[name].models.values() if not provider.price(sent)] == []


@pytest.mark.parametrize(
    ("model", "rates"),
    [
        ("gpt-4o-2024-05-13", (5, 15)),
        ("gpt-4o-2024-08-06", ("2.5", 10)),
        ("openai/gpt-4o", ("2.5", 10)),
        ("gpt-4.1-mini", ("0.4", "1.6")),
        ("anthropic/claude-sonnet-4.5", (3, 15)),
        ("claude-haiku-4-5@20251001", (1, 5)),
        ("mistral-small-2506", ("0.1", "0.3")),
        ("mistral-small-latest", ("0.15", "0.6")),
        ("gpt-5.4-pro", (30, 180)),
        ("gpt-5.4-codex", None),
        ("gpt-4o-audio-preview", None),
        ("gemini-2.5-flash-image", None),
        ("nobody/knows-this", None),
        ("", None),
    ],
)
def test_a_name_gets_the_price_of_its_own_model(model: str, rates: tuple[Any, Any] | None) -> None:
    found = find(catalog().prices, [model])
    assert [(each.input, each.output) for each in found] == ([tuple(map(Decimal, rates))] if rates else [])


def test_a_table_may_have_patterns_and_the_longest_one_counts() -> None:
    table = {"*": (price(1),), "llama-*": (price(2),), "llama-3": (price(3),)}
    assert [find(table, [name])[0].input for name in ("other", "llama-2", "llama-3", "llama-3-0613")] == [1, 2, 3, 3]


def openai(**settings: Any) -> ProviderConfig:
    return ProviderConfig(name="openai", api_key="sk-marked-4711-do-not-show", **settings)


def test_a_dated_version_costs_what_its_model_does() -> None:
    assert openai().price("gpt-4.1-2025-04-14") == openai().price("gpt-4.1")
    assert openai().price("gpt-4.1")[0].output == 8
    assert openai().price("gpt-4.1-mini")[0].output == Decimal("1.6")


def test_a_model_without_a_price_costs_unknown() -> None:
    assert openai().price("gpt-5.4-codex") == ()
    assert openai().price("gpt-7") == ()


def test_what_an_unknown_server_asks_for_is_not_guessed() -> None:
    assert ProviderConfig(name="mine", base_url="https://llm.example.com/v1").price("gpt-4.1") == ()


def test_a_server_of_ones_own_bills_no_tokens() -> None:
    assert ProviderConfig(name="ollama").price("llama3.2:3b") == FREE


def test_its_vendors_service_of_the_same_name_is_no_server_of_ones_own() -> None:
    cloud = ProviderConfig(name="ollama", base_url="https://ollama.com/v1", api_key="marked-key")
    assert cloud.price("gpt-oss:20b") == ()


def test_a_free_variant_costs_nothing_and_the_model_itself_something() -> None:
    openrouter = ProviderConfig(name="openrouter", api_key="marked-key")
    assert openrouter.price("vendor/anything:free")[0].output == 0
    assert openrouter.price("anthropic/claude-opus-4.5")[0].output == 25
    assert openrouter.price("vendor/anything") == ()


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


@pytest.mark.parametrize("given", [0.1, Decimal("0.1")])
def test_a_price_made_in_code_is_as_exact(given: Any) -> None:
    made = Price(input=given, output=7)  # type: ignore[arg-type]
    assert (made.input, made.output) == (Decimal("0.1"), Decimal(7))
    assert openai(prices={"x": made}).price("x") == openai(prices={"x": [made]}).price("x") == (made,)


@pytest.mark.parametrize("given", [-0.1, float("nan"), float("inf"), Decimal("NaN"), Decimal("sNaN"), True, "1", None])
def test_a_price_made_in_code_is_checked_too(given: Any) -> None:
    with pytest.raises(
        ConfigError, match=r"output = .*: a number from 0 to 1000000 \(USD per million tokens\) is needed"
    ):
        Price(input=Decimal(1), output=given)


@pytest.mark.parametrize(
    ("kind", "settings", "message"),
    [
        (LargePrompt, {"above": -1}, "above = -1"),
        (PeakHours, {"hours": ()}, "hours = "),
        (PeakHours, {"hours": (1, 4)}, "hours = "),
        (PeakHours, {"hours": ((1, 25),)}, "hours = 25"),
        (PeakHours, {"hours": ((1, 4),), "weekdays": 5}, "weekdays = 5"),
        (Price, {"valid_from": "2027"}, "valid_from = '2027'"),
        (Price, {"as_of": datetime(2026, 1, 1, tzinfo=UTC)}, "as_of = "),
    ],
)
def test_what_is_made_in_code_is_refused_in_words(kind: Any, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as raised:
        kind(input=Decimal(1), output=Decimal(2), **settings)
    assert str(raised.value).startswith(message)


def test_prices_survive_a_changed_copy_and_a_pickle_and_are_shown() -> None:
    provider = ProviderConfig(name="ollama", prices={"x": {"input": 1, "output": 2}})
    assert replace(provider, timeout=3.0).price("x") == provider.price("x")
    assert pickle.loads(pickle.dumps(provider)) == provider
    assert "prices={'x': (Price(input=Decimal('1'), output=Decimal('2')),)}" in repr(provider)
    assert "prices" not in repr(ProviderConfig(name="holysheep", api_key="marked-key"))


def test_the_numbers_of_a_file_are_exact() -> None:
    text = 'prices = { "gpt-4.1" = { input = 1.1, output = 7.07, cached_input = 0.003625, valid_until = 2027-01-01 } }'
    config = parse({"providers": {"gateway": {"base_url": "https://llm.example.com/v1", **tomllib.loads(text)}}})
    (entry,) = config.providers[0].price("gpt-4.1-2025-04-14")
    assert [str(each) for each in (entry.input, entry.output, entry.cached_input)] == ["1.1", "7.07", "0.003625"]
    assert entry.valid_until == date(2027, 1, 1)


def test_the_digits_of_the_catalogue_are_kept() -> None:
    text = files("failsafe").joinpath("catalog.toml").read_text(encoding="utf-8")
    written = tomllib.loads(text, parse_float=Decimal)["prices"]
    for model, entries in written.items():
        for entry, kept in zip(entries, catalog().prices[model], strict=True):
            assert (entry["input"], entry["output"]) == (kept.input, kept.output)


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
        ({"x": {"input": -1, "output": 2}}, "providers.openai.prices.x: input = -1.0: a number from 0 to 1000000 (USD"),
        ({"x": {"input": True, "output": 2}}, "providers.openai.prices.x: "),
        ({"x": {"output": 2}}, "missing required field `input`"),
        ({"x": 3}, "providers.openai.prices.x = 3: a table { input = 2.0, output = 8.0 }"),
        ({"x": [{"input": 1, "output": 2}, 3]}, "providers.openai.prices.x[1] = 3: a table"),
        ({"x": {"input": 1, "output": 2, "large_prompt": 7}}, "providers.openai.prices.x.large_prompt = 7: a table of"),
        (
            {"x": {"input": 1, "output": 2, "large_prompt": {"above": 9, "input": -2, "output": 2}}},
            "input = -2.0: a number",
        ),
        (
            {"x": {"input": 1, "output": 2, "peak": {"hour": [[1, 2]], "input": 2, "output": 2}}},
            "providers.openai.prices.x.peak = 'hour': one of input, output, cached_input, cache_write, hours, weekdays",
        ),
        (
            {"x": {"input": 1, "output": 2, "peak": {"hours": [[4, 1]], "input": 2, "output": 2}}},
            "hours = 1: a whole number from 5 to 24 is needed",
        ),
        (
            {"x": {"input": 1, "output": 2, "peak": {"hours": [], "input": 2, "output": 2}}},
            "at least one pair of hours",
        ),
        ({"x": {"input": 1, "output": 2, "as_of": "yesterday"}}, "providers.openai.prices.x: "),
        (
            {"x": {"input": 1, "output": 2, "valid_from": date(2027, 1, 1), "valid_until": date(2026, 1, 1)}},
            "valid_until = '2026-01-01': a day after valid_from (2027-01-01) is needed",
        ),
        ({"x": {"input": float("nan"), "output": 2}}, "providers.openai.prices.x"),
        (
            {"x": {"input": 1, "output": 2, "cached_inptu": 3}},
            "large_prompt, peak, assumed, source, as_of is needed (did you mean 'cached_input'?)",
        ),
        ({"x": {"input": "dear", "output": 2}}, "providers.openai.prices.x"),
        ({"": {"input": 1, "output": 2}}, "a name in providers.openai.prices"),
    ],
)
def test_a_wrong_price_is_refused_in_words(prices: Any, message: str) -> None:
    with pytest.raises(ConfigError) as raised:
        openai(prices=prices)
    assert message in str(raised.value)
    assert raised.value.__cause__ is None

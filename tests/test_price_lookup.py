"""Prices that the package genai-prices knows and the catalogue does not."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from typing import Any

import pytest
from genai_prices.types import (
    ConditionalPrice,
    ModelPrice,
    StartDateConstraint,
    Tier,
    TieredPrices,
    TimeOfDateConstraint,
)

from failsafe.config import ProviderConfig, RouterConfig
from failsafe.errors import ConfigError
from failsafe.price_lookup import _as_prices, _CannotSay, genai_prices
from failsafe.pricing import rates_at
from failsafe.router import Router
from tests.router_bench import Bench
from tests.test_stated_cost import said

NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)


def one(rate: int) -> ModelPrice:
    return ModelPrice(input_mtok=Decimal(rate), output_mtok=Decimal(4 * rate))


def input_at(given: Any, when: datetime = NOON, prompt: int = 1) -> Decimal:
    rates = rates_at(_as_prices(given, "test"), when, prompt)
    assert rates is not None
    return rates.input


def test_it_knows_models_that_the_catalogue_does_not() -> None:
    look_up = genai_prices()
    assert ProviderConfig(name="openai", api_key="marked-key").price("gpt-4o-audio-preview") == ()
    (price,) = look_up("openai", "gpt-4o-audio-preview")
    assert (price.input, price.output) == (Decimal("2.5"), Decimal(10))
    assert price.source.startswith("genai-prices 0.")


def test_it_agrees_with_the_catalogue_where_both_know() -> None:
    look_up = genai_prices()
    for name, model in (
        ("openai", "gpt-6.1-sol"),
        ("anthropic", "claude-haiku-5-5"),
        ("groq", "llama-3.3-70b-versatile"),
    ):
        for prompt in (10, 300_000):
            ours = rates_at(ProviderConfig(name=name, api_key="marked-key").price(model), NOON, prompt)
            theirs = rates_at(look_up(name, model), NOON, prompt)
            assert ours is not None
            assert theirs is not None
            assert [getattr(ours, each) for each in ("input", "cached_input", "cache_write", "output")] == [
                getattr(theirs, each) for each in ("input", "cached_input", "cache_write", "output")
            ]


def test_it_is_not_asked_about_a_server_of_no_known_vendor() -> None:
    look_up = genai_prices()
    assert look_up(None, "gpt-4o") == look_up("holysheep", "gpt-4.1") == look_up("openai", "nobody-knows") == ()


def test_a_price_of_a_later_day_holds_from_then_on() -> None:
    given = [
        ConditionalPrice(prices=one(1)),
        ConditionalPrice(StartDateConstraint(date(2026, 12, 1)), prices=one(2)),
    ]
    assert (input_at(given), input_at(given, datetime(2026, 12, 1, tzinfo=UTC))) == (Decimal(1), Decimal(2))


def test_hours_of_the_day_are_peak_hours() -> None:
    given = [
        ConditionalPrice(prices=one(1)),
        ConditionalPrice(TimeOfDateConstraint(time(1), time(4)), prices=one(2)),
        ConditionalPrice(TimeOfDateConstraint(time(22), time(0)), prices=one(2)),
    ]
    hours = {hour: input_at(given, NOON.replace(hour=hour)) for hour in (0, 1, 3, 4, 21, 22, 23)}
    assert hours == {0: 1, 1: 2, 3: 2, 4: 1, 21: 1, 22: 2, 23: 2}


def test_a_tier_is_a_large_prompt() -> None:
    given = ModelPrice(
        input_mtok=TieredPrices(base=Decimal(1), tiers=[Tier(start=200_000, price=Decimal(2))]), output_mtok=Decimal(4)
    )
    assert [input_at(given, prompt=prompt) for prompt in (200_000, 200_001)] == [1, 2]


def tiers(*starts: int) -> TieredPrices:
    return TieredPrices(base=Decimal(1), tiers=[Tier(start=start, price=Decimal(2)) for start in starts])


@pytest.mark.parametrize(
    "given",
    [
        ModelPrice(input_mtok=Decimal(1), output_mtok=Decimal(1), requests_kcount=Decimal(5)),
        ModelPrice(input_mtok=tiers(100, 200), output_mtok=Decimal(1)),
        ModelPrice(input_mtok=tiers(100), output_mtok=tiers(200)),
        [ConditionalPrice(TimeOfDateConstraint(time(1), time(4)), prices=one(2))],
        [ConditionalPrice(prices=one(1)), ConditionalPrice(TimeOfDateConstraint(time(1, 30), time(4)), prices=one(2))],
        [
            ConditionalPrice(prices=one(1)),
            ConditionalPrice(
                TimeOfDateConstraint(time(1, tzinfo=timezone(timedelta(hours=1))), time(4)), prices=one(2)
            ),
        ],
        [
            ConditionalPrice(prices=one(1)),
            ConditionalPrice(TimeOfDateConstraint(time(1), time(4)), prices=one(2)),
            ConditionalPrice(TimeOfDateConstraint(time(6), time(8)), prices=one(3)),
        ],
        [
            ConditionalPrice(prices=ModelPrice(input_mtok=tiers(100), output_mtok=Decimal(1))),
            ConditionalPrice(TimeOfDateConstraint(time(1), time(4)), prices=one(2)),
        ],
    ],
)
def test_what_has_no_form_here_stays_unknown(given: Any) -> None:
    with pytest.raises(_CannotSay):
        _as_prices(given, "test")


def test_the_order_is_yours_then_the_catalogue_then_the_package_then_unknown() -> None:
    own = {"gpt-4o-audio-preview": {"input": 7, "output": 7}}
    costs = {}
    for name, model, settings in (
        ("yours", "gpt-4o-audio-preview", {"prices": own}),
        ("catalogue", "gpt-4o", {}),
        ("package", "gpt-4o-audio-preview", {}),
        ("nobody", "gpt-nobody-knows", {}),
    ):
        bench = Bench(
            said(prompt_tokens=1_000_000),
            each={"a": {"preset": "openai", "api_key": "marked-key", "models": [model], **settings}},
            price_lookup=True,
        )
        costs[name] = bench.ask(model=model).cost_usd
    assert costs == {"yours": 7, "catalogue": Decimal("2.5"), "package": Decimal("2.5"), "nobody": None}


def test_without_the_setting_the_package_is_not_loaded() -> None:
    program = (
        "import sys, failsafe\n"
        "config = failsafe.RouterConfig(providers=[failsafe.ProviderConfig(name='ollama')], store='off')\n"
        "failsafe.Router(config).close()\n"
        "print([name for name in sys.modules if name.startswith(('genai_prices', 'pydantic'))])"
    )
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    assert ran.stdout == "[]\n"


def test_a_missing_package_is_said_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "genai_prices.data_snapshot", None)
    config = RouterConfig(providers=[ProviderConfig(name="ollama")], price_lookup=True)
    with pytest.raises(ConfigError) as raised:
        Router(config)
    assert str(raised.value) == (
        "price_lookup = true: the package genai-prices is needed; pip install 'failsafe-llm[prices]'"
    )


def test_the_setting_is_true_or_false() -> None:
    with pytest.raises(ConfigError, match="price_lookup"):
        RouterConfig(providers=[ProviderConfig(name="ollama")], price_lookup="yes")  # type: ignore[arg-type]

"""
Prices of models that the catalogue does not know, from the package genai-prices (extra ``prices``).

Off unless ``RouterConfig.price_lookup`` is on; only then is the package loaded, which takes a quarter of a second.
It has its prices with it and asks nobody over the network. What it cannot say in the terms of
:class:`failsafe.pricing.Price` (prices by the request, tiers that begin at different lengths) stays unknown.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import date, time
from decimal import Decimal
from importlib.metadata import version
from typing import Any, NamedTuple

import msgspec

from failsafe.errors import ConfigError
from failsafe.pricing import LargePrompt, PeakHours, Price, Prices

LookUp = Callable[[str | None, str], Prices]
"""The prices of a model at the provider of a preset; () where they are not known."""

_VENDORS = {
    "anthropic": "anthropic",
    "azure": "azure",
    "deepseek": "deepseek",
    "gemini": "google",
    "groq": "groq",
    "mistral": "mistral",
    "openai": "openai",
    "openrouter": "openrouter",
    "together": "together",
    "xai": "x-ai",
}
"""What the package calls the providers of our presets."""

_RATES = {
    "input_mtok": "input",
    "output_mtok": "output",
    "cache_read_mtok": "cached_input",
    "cache_write_mtok": "cache_write",
}
_MISSING = "price_lookup = true: the package genai-prices is needed; pip install 'failsafe-llm[prices]'"
_BY_THE_REQUEST = "requests_kcount"


def genai_prices() -> LookUp:
    """
    Load the package, and return what looks prices up in it. That is thread-safe, and raises nothing.

    Raises:
        ConfigError: The package is not installed, or not as this program knows it.
    """
    try:
        from genai_prices.data_snapshot import get_snapshot
    except ImportError:
        raise ConfigError(_MISSING) from None
    snapshot, source = get_snapshot(), f"genai-prices {version('genai-prices')}"

    def look_up(preset: str | None, model: str) -> Prices:
        vendor = _VENDORS.get(preset or "")
        if vendor is None:  # what an unknown server asks for is not guessed
            return ()
        try:
            _, found = snapshot.find_provider_model(model, None, vendor, None)
            return _as_prices(found.prices, source)
        except Exception:  # noqa: BLE001 -- a price that is not found, or not understood, must not become a failed call
            return ()

    return look_up


class _Conditional(NamedTuple):
    """Prices, and the day from which they hold or the hours of the day in which they do."""

    since: date | None
    hours: tuple[int, int] | None
    prices: Mapping[str, Any]


class _CannotSay(Exception):
    """These prices have no form here."""


def _as_prices(given: Any, source: str) -> Prices:
    entries = (
        [_conditional(each) for each in given] if isinstance(given, list) else [_Conditional(None, None, vars(given))]
    )
    dated: list[Price] = []
    for since, hours, prices in entries:
        if hours is None:
            dated.append(_price(prices, valid_from=since, source=source))
        elif dated:
            dated[-1] = _at_peak(dated[-1], hours, prices)
        else:
            raise _CannotSay
    return tuple(sorted(dated, key=lambda price: price.valid_from or date.min))


def _conditional(entry: Any) -> _Conditional:
    constraint = entry.constraint
    since = getattr(constraint, "start_date", None)
    hours = None
    if constraint is not None and since is None:
        hours = _hour(constraint.start_time), _hour(constraint.end_time) or 24
    return _Conditional(since, hours, vars(entry.prices))


def _hour(moment: time) -> int:
    offset = moment.utcoffset()
    if moment.minute or moment.second or offset:
        raise _CannotSay
    return moment.hour


def _price(prices: Mapping[str, Any], **details: Any) -> Price:
    if prices.get(_BY_THE_REQUEST):
        raise _CannotSay
    given = {ours: prices.get(theirs) for theirs, ours in _RATES.items()}
    tiers = {start for each in given.values() for start in _starts(each)}
    if len(tiers) > 1:
        raise _CannotSay
    large = None
    for above in tiers:
        large = LargePrompt(above=above, **{name: _last(each) for name, each in given.items()})
    return Price(**{name: _first(each) for name, each in given.items()}, large_prompt=large, **details)


def _starts(rate: Any) -> Iterable[int]:
    return [tier.start for tier in getattr(rate, "tiers", ())]


def _first(rate: Any) -> Any:
    return getattr(rate, "base", rate)


def _last(rate: Any) -> Any:
    return rate.tiers[-1].price if _starts(rate) else _first(rate)


def _at_peak(price: Price, hours: tuple[int, int], prices: Mapping[str, Any]) -> Price:
    """*price* with other rates in these *hours*; the package knows no days of the week."""
    other = _price(prices)
    if price.large_prompt or other.large_prompt:
        raise _CannotSay
    peak = price.peak
    rates: dict[str, Decimal | None] = {name: getattr(other, name) for name in _RATES.values()}
    if peak is not None and any(getattr(peak, name) != rate for name, rate in rates.items()):
        raise _CannotSay
    all_hours = (*(() if peak is None else peak.hours), hours)
    return msgspec.structs.replace(price, peak=PeakHours(hours=all_hours, weekdays=False, **rates))  # type: ignore[arg-type] # checked there

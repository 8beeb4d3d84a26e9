"""
What tokens cost: prices with the days, the hours and the prompt sizes they hold for.

Numbers are exact (:class:`decimal.Decimal`, as they stand in the file), in USD per million tokens. A
model without a price costs *unknown*, which is never 0.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, date, datetime
from decimal import Context, Decimal
from fnmatch import fnmatchcase

import msgspec

from failsafe import checks
from failsafe.model_names import bare, undated

_MOST = 1_000_000
_TO_ONE_TOKEN = -6  # powers of ten, from a million tokens

EXACT = Context(prec=60)
"""
In which amounts of money are multiplied and added, without rounding, whatever precision the program has set for itself.

Sixty digits hold a price of twenty decimals times more tokens than were ever sold.
"""


class Rates(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, repr_omit_defaults=True):
    """
    USD per million tokens, from 0 to 1,000,000.

    Kept exactly: a float stands for its shortest decimal form, so that 0.1 is a tenth.

    Attributes:
        input: Of the prompt.
        output: Of the answer, reasoning included.
        cached_input: Of the prompt, read from the provider's cache; None where there is no such price: as ``input``.
        cache_write: Of the prompt, written to the cache; None: as ``input``.
    """

    input: Decimal
    output: Decimal
    cached_input: Decimal | None = None
    cache_write: Decimal | None = None

    def __post_init__(self) -> None:
        for name in ("input", "output"):
            msgspec.structs.force_setattr(self, name, _rate(name, getattr(self, name)))
        for name in ("cached_input", "cache_write"):
            if getattr(self, name) is not None:
                msgspec.structs.force_setattr(self, name, _rate(name, getattr(self, name)))


def _rate(name: str, value: object) -> Decimal:
    # The comparison is written so that NaN and infinity fail it; a Decimal NaN would raise instead.
    number = not isinstance(value, bool) and isinstance(value, int | float | Decimal)
    if not number or (isinstance(value, Decimal) and value.is_nan()) or not 0 <= value <= _MOST:  # type: ignore[operator]
        shown = float(value) if isinstance(value, Decimal) and not value.is_snan() else value
        checks.refuse(name, shown, f"a number from 0 to {_MOST} (USD per million tokens) is needed")
    return value if isinstance(value, Decimal) else Decimal(str(value))


class LargePrompt(Rates, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The rates of a whole call whose prompt is longer than ``above`` tokens."""

    above: int

    def __post_init__(self) -> None:
        Rates.__post_init__(self)
        checks.whole("above", self.above)


class PeakHours(Rates, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """
    The rates of a call that begins in these hours.

    Attributes:
        hours: Pairs of hours of the day in UTC, the second one no longer in it: ``[[1, 4], [6, 10]]``.
        weekdays: Whether they hold from Monday to Friday only.
    """

    hours: tuple[tuple[int, int], ...]
    weekdays: bool = True

    def __post_init__(self) -> None:
        Rates.__post_init__(self)
        pairs = isinstance(self.hours, tuple) and all(isinstance(pair, tuple) and len(pair) == 2 for pair in self.hours)
        if not pairs or not self.hours:
            checks.refuse("hours", self.hours, "at least one pair of hours such as [1, 4] is needed")
        for begin, end in self.hours:
            checks.whole("hours", begin, most=23)
            checks.whole("hours", end, least=begin + 1, most=24)
        checks.flag("weekdays", self.weekdays)

    def holds(self, when: datetime) -> bool:
        """Whether *when* (UTC) is in them."""
        if self.weekdays and when.weekday() > 4:
            return False
        return any(begin <= when.hour < end for begin, end in self.hours)


class Price(Rates, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """
    What one model costs at one provider, from one day to another.

    Attributes:
        valid_from: The first day (UTC) it holds; None: since ever.
        valid_until: The first day it holds no longer; None: until further notice.
        large_prompt: Other rates for long prompts.
        peak: Other rates in some hours.
        assumed: Whether the number is not the vendor's own word.
        source: Where it was read.
        as_of: When that was checked.
    """

    valid_from: date | None = None
    valid_until: date | None = None
    large_prompt: LargePrompt | None = None
    peak: PeakHours | None = None
    assumed: bool = False
    source: str = ""
    as_of: date | None = None

    def __post_init__(self) -> None:
        Rates.__post_init__(self)
        for name in ("valid_from", "valid_until", "as_of"):
            day = getattr(self, name)
            if day is not None and (not isinstance(day, date) or isinstance(day, datetime)):
                checks.refuse(name, day, "a date such as 2026-12-01 is needed")
        if self.valid_from and self.valid_until and self.valid_until <= self.valid_from:
            checks.refuse("valid_until", str(self.valid_until), f"a day after valid_from ({self.valid_from}) is needed")

    @property
    def always_holds(self) -> bool:
        """Whether its rates are the same whenever the call is made and however long its prompt is."""
        return self.valid_from is None and self.valid_until is None and self.large_prompt is None and self.peak is None

    def holds(self, day: date) -> bool:
        """Whether it is in force on *day* (UTC)."""
        begun = self.valid_from is None or self.valid_from <= day
        return begun and (self.valid_until is None or day < self.valid_until)

    def rates(self, when: datetime, prompt_tokens: float) -> Rates:
        """The rates of a call that begins at *when* (UTC) with so long a prompt."""
        if self.large_prompt is not None and prompt_tokens > self.large_prompt.above:
            return self.large_prompt
        return self.peak if self.peak is not None and self.peak.holds(when) else self


Prices = tuple[Price, ...]
"""The prices of one model, of different days; none: it costs unknown."""

FREE: Prices = (Price(input=Decimal(0), output=Decimal(0), source="a server of one's own bills no tokens"),)
"""The price of a model on the user's own machine."""


def rates_at(prices: Iterable[Price], when: datetime, prompt_tokens: float) -> Rates | None:
    """
    Return the rates in force, or None where no price is known.

    Args:
        prices: Of one model; where several hold, the last one counts.
        when: When the call begins; one that does not know its time zone is taken for UTC.
        prompt_tokens: The length of its prompt.
    """
    moment = when.replace(tzinfo=UTC) if when.tzinfo is None else when.astimezone(UTC)
    holding = [price for price in prices if price.holds(moment.date())]
    return holding[-1].rates(moment, prompt_tokens) if holding else None


def bill(
    rates: Rates, *, prompt_tokens: int, completion_tokens: int, cached_tokens: int = 0, cache_write_tokens: int = 0
) -> Decimal:
    """
    Return what one answer costs in USD, exactly.

    Args:
        rates: In force when the call began.
        prompt_tokens: All of the prompt, what was read from the cache or written to it included.
        completion_tokens: All of the answer, reasoning included.
        cached_tokens: Of the prompt, read from the cache.
        cache_write_tokens: Of the prompt, written to the cache.
    """
    plain = max(0, prompt_tokens - cached_tokens - cache_write_tokens)
    cached = rates.input if rates.cached_input is None else rates.cached_input
    written = rates.input if rates.cache_write is None else rates.cache_write
    add, times = EXACT.add, EXACT.multiply
    total = add(times(rates.input, plain), times(rates.output, completion_tokens))
    if cached_tokens:
        total = add(total, times(cached, cached_tokens))
    if cache_write_tokens:
        total = add(total, times(written, cache_write_tokens))
    return total.scaleb(_TO_ONE_TOKEN, EXACT)


def cost_usd(rates: Rates, *, prompt_tokens: float, answer_tokens: float) -> float:
    """Return what so many tokens cost in USD, an estimate for choosing: as a float, and without the cache's rates."""
    return (float(rates.input) * prompt_tokens + float(rates.output) * answer_tokens) / 1e6


def find(table: Mapping[str, Prices], names: Sequence[str]) -> Prices:
    """
    Return the entry of *table* for a model that goes by *names*, or ().

    First by one of the names as it is; then without the vendor's prefix, with dots for dashes, and without the
    date of its version (``openai/gpt-4.1-2025-04-14`` costs what ``gpt-4.1`` does, ``gpt-4.1-mini`` does not);
    then by the longest pattern (``llama-*``) that fits.
    """
    for name in names:
        if name in table:
            return table[name]
    by_bare_name = {bare(key): prices for key, prices in table.items()}
    for form in (bare, undated):
        for name in names:
            if form(name) in by_bare_name:
                return by_bare_name[form(name)]
    patterns = [key for key in table if "*" in key and any(fnmatchcase(name, key) for name in names)]
    return table[max(patterns, key=len)] if patterns else ()

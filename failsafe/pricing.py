"""
What tokens cost: prices with the days, the hours and the prompt sizes they hold for.

Numbers are exact (:class:`decimal.Decimal`, as they stand in the file), in USD per million tokens. A
model without a price costs *unknown*, which is never 0.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, date, datetime
from decimal import Decimal

import msgspec


class Rates(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, repr_omit_defaults=True):
    """
    USD per million tokens.

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


class LargePrompt(Rates, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The rates of a whole call whose prompt is longer than ``above`` tokens."""

    above: int


class PeakHours(Rates, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """
    The rates of a call that begins in these hours.

    Attributes:
        hours: Pairs of hours of the day in UTC, the second one no longer in it: ``[[1, 4], [6, 10]]``.
        weekdays: Whether they hold from Monday to Friday only.
    """

    hours: tuple[tuple[int, int], ...]
    weekdays: bool = True

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
        when: When the call begins; must know its time zone.
        prompt_tokens: The length of its prompt.
    """
    moment = when.astimezone(UTC)
    holding = [price for price in prices if price.holds(moment.date())]
    return holding[-1].rates(moment, prompt_tokens) if holding else None


def cost_usd(rates: Rates, *, prompt_tokens: float, answer_tokens: float) -> float:
    """Return what so many tokens cost in USD, an estimate for choosing: as a float, and without the cache's rates."""
    return (float(rates.input) * prompt_tokens + float(rates.output) * answer_tokens) / 1e6

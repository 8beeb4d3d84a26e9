"""
What a month of tokens would cost, and what was saved against another price. Nothing here reads or asks anything.

Percentages are rounded down, so that no saving is shown that is not there: 66.67 % saved are 66 %, and 12.3 % more
than the baseline are -13 %. What is not known is None and never 0.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import date
from decimal import ROUND_FLOOR, Decimal
from math import floor
from typing import Any

import msgspec

from failsafe import checks
from failsafe.pricing import EXACT, Price, bill
from failsafe.telemetry.views import CostRow

MOST_TOKENS = 10**18


class Load(msgspec.Struct, frozen=True, kw_only=True):
    """Tokens of some time: of the prompts, of these read from a provider's cache, and of the answers."""

    prompt: int
    completion: int
    cached: int = 0

    @property
    def tokens(self) -> int:
        """All together."""
        return self.prompt + self.completion

    @classmethod
    def divided(cls, tokens: int, mix: tuple[float, float] = (3, 1), cached: float = 0.0) -> Load:
        """
        So many *tokens*, divided.

        Args:
            tokens: All of them (0 to 10**18).
            mix: Parts of the prompts, and of the answers: ``(3, 1)`` is three quarters and one.
            cached: The share of the prompts that is read from the cache (0 to 1).

        Raises:
            ConfigError: A value is out of range.
        """
        checks.whole("tokens", tokens, most=MOST_TOKENS)
        checks.number("cached", cached, least=0, most=1)
        parts = [checks.number("mix", part, least=0, most=MOST_TOKENS) for part in mix]
        if not sum(parts):
            checks.refuse("mix", mix, "a part above 0 is needed")
        prompts, answers = (Decimal(repr(part)) for part in parts)
        share = EXACT.divide(prompts, EXACT.add(prompts, answers))
        prompt = _whole(EXACT.multiply(share, Decimal(tokens)))
        return cls(
            prompt=prompt,
            completion=tokens - prompt,
            cached=_whole(EXACT.multiply(Decimal(repr(float(cached))), Decimal(prompt))),
        )


def _whole(number: Decimal) -> int:
    return int(number.to_integral_value(context=EXACT))


def price_on(prices: Iterable[Price], day: date) -> Price | None:
    """
    The price in force on *day*, or None.

    Its usual rates are what a month is reckoned by; those of long prompts and of peak hours are higher.
    """
    holding = [price for price in prices if price.holds(day)]
    return holding[-1] if holding else None


def cost(price: Price, load: Load) -> Decimal:
    """What *load* costs at the usual rates of *price*, USD, exactly."""
    return bill(
        price, prompt_tokens=load.prompt, completion_tokens=load.completion, cached_tokens=min(load.cached, load.prompt)
    )


def percent(saved: Decimal | None, baseline: Decimal | None) -> int | None:
    """*saved* as whole per cent of *baseline*, rounded down; None where that cannot be said."""
    if saved is None or not baseline:
        return None
    share = EXACT.divide(EXACT.multiply(saved, Decimal(100)), baseline)
    return int(share.to_integral_value(ROUND_FLOOR))


class Offer(msgspec.Struct, frozen=True, kw_only=True):
    """
    What one provider charges for one model, and a load with it.

    Attributes:
        model: The model, as it was asked for.
        provider: Who serves it.
        price: In force; None: not known.
        usd: What the load costs; None: not known.
        baseline: Who is compared with; "" where nobody can be.
        baseline_usd: What the load costs there.
    """

    model: str
    provider: str
    price: Price | None = None
    usd: Decimal | None = None
    baseline: str = ""
    baseline_usd: Decimal | None = None

    @property
    def saved(self) -> Decimal | None:
        """USD saved against the baseline; negative where it is dearer, None where one of both is not known."""
        return _difference(self.baseline_usd, self.usd)

    @property
    def saved_percent(self) -> int | None:
        """The same in per cent of the baseline, rounded down."""
        return percent(self.saved, self.baseline_usd)


def _difference(baseline: Decimal | None, usd: Decimal | None) -> Decimal | None:
    return None if baseline is None or usd is None else EXACT.subtract(baseline, usd)


PricesOf = Callable[[str], Sequence[Price]]
"""The prices of a model, by the name it is asked for."""


def offers(
    model: str, load: Load, day: date, providers: Iterable[tuple[str, PricesOf]], baseline: tuple[str, PricesOf] | None
) -> list[Offer]:
    """
    What each provider charges for *load*, the cheapest first and those of unknown price last.

    Args:
        model: The model that all serve.
        load: The tokens.
        day: When.
        providers: By name, each with its prices.
        baseline: Whom to compare with, or None.
    """
    against = None if baseline is None else price_on(baseline[1](model), day)
    baseline_usd = None if against is None else cost(against, load)
    found = []
    for provider, prices in providers:
        price = price_on(prices(model), day)
        found.append(
            Offer(
                model=model,
                provider=provider,
                price=price,
                usd=None if price is None else cost(price, load),
                baseline="" if baseline is None or against is None else baseline[0],
                baseline_usd=baseline_usd,
            )
        )
    return sorted(found, key=lambda offer: (offer.usd is None, offer.usd or Decimal(0), offer.provider))


class Spent(msgspec.Struct, frozen=True, kw_only=True):
    """
    What was spent, beside what the same tokens would have cost at the baseline.

    Attributes:
        row: What was spent.
        baseline_usd: What the baseline would have charged; None: its price is not known, or not all answers' are.
    """

    row: CostRow
    baseline_usd: Decimal | None = None

    @property
    def saved(self) -> Decimal | None:
        """USD saved against the baseline; negative where it was dearer."""
        return _difference(self.baseline_usd, self.row.usd)

    @property
    def saved_percent(self) -> int | None:
        """The same in per cent of the baseline, rounded down."""
        return percent(self.saved, self.baseline_usd)


def against(row: CostRow, price: Price | None) -> Spent:
    """
    *row* beside what its tokens cost at *price*.

    Where an answer's price is not known, or nothing was answered, nothing can be compared.
    """
    if price is None or row.unpriced or not row.answers:
        return Spent(row=row)
    baseline = bill(
        price,
        prompt_tokens=row.prompt_tokens,
        completion_tokens=row.completion_tokens,
        cached_tokens=row.cached_tokens,
        cache_write_tokens=row.cache_write_tokens,
    )
    return Spent(row=row, baseline_usd=baseline)


_SUMMED = (
    "answers", "prompt_tokens", "cached_tokens", "cache_write_tokens", "completion_tokens", "reasoning_tokens",
    "unpriced", "duplicates",
)  # fmt: skip


def grouped(spent: Iterable[Spent], by: Sequence[str]) -> list[Spent]:
    """
    *spent* summed up by *by* (of ``day``, ``provider``, ``model``, ``tag``), the most expensive first, or day by day.

    The baseline of a group is that of all its rows; where one with answers has none, the group has none.
    """
    groups: dict[tuple[str, ...], list[Spent]] = {}
    for each in spent:
        groups.setdefault(tuple(getattr(each.row, name) for name in by), []).append(each)
    summed = [_together(members, dict(zip(by, key, strict=True))) for key, members in groups.items()]
    by_day = tuple(by[:1]) == ("day",)
    return sorted(
        summed,
        key=lambda each: (each.row.day if by_day else "", -each.row.usd, [getattr(each.row, name) for name in by]),
    )


def _together(members: Sequence[Spent], names: dict[str, Any]) -> Spent:
    usd, baseline = Decimal(0), Decimal(0)
    known = True
    for each in members:
        usd = EXACT.add(usd, each.row.usd)
        known = known and (each.baseline_usd is not None or not each.row.answers)
        baseline = EXACT.add(baseline, each.baseline_usd or Decimal(0))
    counts: dict[str, Any] = {name: sum(getattr(each.row, name) for each in members) for name in _SUMMED}
    return Spent(row=CostRow(**names, **counts, usd=usd), baseline_usd=baseline if known else None)


def measured_mix(rows: Iterable[CostRow]) -> tuple[tuple[int, int], float] | None:
    """The parts of prompts and answers, and the share of the prompts that was cached (down to a millionth)."""
    prompt = cached = completion = 0
    for row in rows:
        prompt, cached, completion = (
            prompt + row.prompt_tokens, cached + row.cached_tokens, completion + row.completion_tokens,
        )  # fmt: skip
    if not prompt + completion:
        return None
    return (prompt, completion), floor(cached / prompt * 1e6) / 1e6 if prompt else 0.0

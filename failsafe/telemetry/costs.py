"""What answers cost, in whole picodollars."""

from __future__ import annotations

from decimal import Decimal

from failsafe.models import Attempt
from failsafe.pricing import EXACT, Rates
from failsafe.telemetry.schema import PICODOLLARS

_PER_TOKEN = Decimal(PICODOLLARS).scaleb(-6)  # at one dollar for a million tokens
_REMEMBERED = 1000

_Whole = tuple[int, int, int, int]


class Reckoner:
    """
    Reckons what attempts cost, and remembers rates that it has seen. Not thread-safe.

    Rates that are whole picodollars a token (prices of up to six decimals for a million tokens, which all are) make
    :func:`failsafe.pricing.bill` a sum of whole numbers; it comes to the same, in a tenth of the time.
    """

    def __init__(self) -> None:
        self._rates: dict[int, tuple[Rates, _Whole | None]] = {}

    def picodollars(self, attempt: Attempt) -> int | None:
        """``attempt.cost_usd`` in picodollars, the nearest where it is finer; None where it is not known."""
        usage, rates = attempt.usage, attempt.rates
        if usage is None or rates is None or usage.cost_usd is not None or not usage.total_tokens:
            return _rounded(attempt.cost_usd)
        whole = (self._rates.get(id(rates)) or self._remember(rates))[1]
        if whole is None:
            return _rounded(attempt.cost_usd)
        prompt, completion, cached, written = whole
        plain = usage.prompt_tokens - usage.cached_tokens - usage.cache_write_tokens
        total = completion * usage.completion_tokens + cached * usage.cached_tokens + written * usage.cache_write_tokens
        return total + prompt * plain if plain > 0 else total

    def _remember(self, rates: Rates) -> tuple[Rates, _Whole | None]:
        if len(self._rates) >= _REMEMBERED:
            self._rates.clear()
        # It holds the rates themselves, so that their id stays theirs.
        entry = self._rates[id(rates)] = rates, _whole(rates)
        return entry


def _whole(rates: Rates) -> _Whole | None:
    """Picodollars a token of the prompt, the answer, the cached and the written prompt; None if one is not whole."""
    cached = rates.input if rates.cached_input is None else rates.cached_input
    written = rates.input if rates.cache_write is None else rates.cache_write
    exact = [EXACT.multiply(rate, _PER_TOKEN) for rate in (rates.input, rates.output, cached, written)]
    if any(rate != int(rate) for rate in exact):
        return None
    prompt, completion, cached_whole, written_whole = map(int, exact)
    return prompt, completion, cached_whole, written_whole


def _rounded(usd: Decimal | None) -> int | None:
    return None if usd is None else int(EXACT.multiply(usd, Decimal(PICODOLLARS)).to_integral_value())


class CostSum:
    """What a target has charged on one day for one model and tag: a row of the table ``costs``. Not thread-safe."""

    __slots__ = (
        "answers", "cached", "completion", "cost", "duplicates", "prompt", "reasoning", "unpriced", "written",
    )  # fmt: skip

    def __init__(self) -> None:
        self.answers = self.prompt = self.cached = self.written = self.completion = self.reasoning = 0
        self.cost = self.unpriced = self.duplicates = 0

    def add(self, attempt: Attempt, cost: int | None) -> None:
        """Add an answer that cost so many picodollars, or a failure that may have been billed."""
        if attempt.fault is not None:
            self.duplicates += 1
            return
        self.answers += 1
        usage = attempt.usage
        if usage is not None:
            self.prompt += usage.prompt_tokens
            self.cached += usage.cached_tokens
            self.written += usage.cache_write_tokens
            self.completion += usage.completion_tokens
            self.reasoning += usage.reasoning_tokens
        if cost is None:
            self.unpriced += 1
        else:
            self.cost += cost

    def row(self) -> tuple[int, ...]:
        """The sums, in the order of :data:`failsafe.telemetry.statements.COST_SUMS`."""
        return (
            self.answers, self.prompt, self.cached, self.written, self.completion, self.reasoning,
            self.cost, self.unpriced, self.duplicates,
        )  # fmt: skip

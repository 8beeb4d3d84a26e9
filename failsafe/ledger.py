"""
What the calls of one router have cost, kept in memory.

::

    ledger = router.ledger            # counts from here on
    ...
    for row in ledger.rows(by=("provider", "model")):
        print(row.provider, row.model, row.usd, row.unpriced, row.duplicates)

Amounts are exact. Tokens are summed up by the price that they cost and billed when somebody asks, which comes to the
same as the sum of all bills. The guide is ``docs/cost.md``.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Collection, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, NamedTuple

from failsafe import checks, forking
from failsafe.errors import ConfigError
from failsafe.events import AttemptFinished, CallFinished, Event
from failsafe.models import Attempt, Usage
from failsafe.money import in_usd
from failsafe.pricing import EXACT, Rates, bill
from failsafe.telemetry.views import CostRow

OTHER = "(other)"
"""In place of tags and models once there are more than are kept apart."""

GROUPS = ("day", "provider", "model", "tag")
"""What costs can be grouped by."""

_DAY = 86_400
_KEPT_DAYS = 400
_NO_DAY = -1
_EVER = "1970-01-01"
_LONGEST = 10_000 * 366.0 * _DAY
_OPEN_CALLS = 1000
"""Calls with attempts that may have been billed in vain, or answers that such may still follow, at a time."""

RatesOf = Callable[[str, str, float, int], Rates | None]
"""The rates of a provider and model at a time (seconds since 1970) for so long a prompt; None: not known."""


class _Key(NamedTuple):
    """What is kept apart; ``day`` counts from 1970-01-01 UTC."""

    day: int
    provider: str
    model: str
    tag: str


class _Tokens:
    """Tokens that cost the same; those of the prompt that were neither read from the cache nor written to it apart."""

    __slots__ = ("cached", "completion", "plain", "rates", "written")

    def __init__(self, rates: Rates) -> None:
        self.rates = rates
        self.plain = self.cached = self.written = self.completion = 0

    def add(self, usage: Usage) -> None:
        self.plain += max(0, usage.prompt_tokens - usage.cached_tokens - usage.cache_write_tokens)
        self.cached += usage.cached_tokens
        self.written += usage.cache_write_tokens
        self.completion += usage.completion_tokens

    def bill(self) -> Decimal:
        return bill(
            self.rates,
            prompt_tokens=self.plain + self.cached + self.written,
            completion_tokens=self.completion,
            cached_tokens=self.cached,
            cache_write_tokens=self.written,
        )


class _Sums:
    """What was counted under one key."""

    __slots__ = (
        "answers", "cached", "completion", "doubtful", "duplicates", "prompt", "reasoning", "stated", "tokens",
        "unpriced", "written",
    )  # fmt: skip

    def __init__(self) -> None:
        self.answers = self.unpriced = self.duplicates = 0
        self.prompt = self.cached = self.written = self.completion = self.reasoning = 0
        self.stated = Decimal(0)  # as the provider itself said
        self.doubtful = Decimal(0)
        self.tokens: dict[int, _Tokens] = {}  # by the id of their rates, which they hold, so that it stays theirs

    def add_answer(self, attempt: Attempt, usage: Usage) -> None:
        self.answers += 1
        self.prompt += usage.prompt_tokens
        self.cached += usage.cached_tokens
        self.written += usage.cache_write_tokens
        self.completion += usage.completion_tokens
        self.reasoning += usage.reasoning_tokens
        if usage.cost_usd is not None:
            self.stated = EXACT.add(self.stated, usage.cost_usd)
        elif attempt.cost_usd is None or attempt.rates is None:
            self.unpriced += 1
        else:
            self._tokens_at(attempt.rates).add(usage)

    def _tokens_at(self, rates: Rates) -> _Tokens:
        found = self.tokens.get(id(rates))
        if found is None:
            found = self.tokens[id(rates)] = _Tokens(rates)
        return found

    def usd(self) -> Decimal:
        total = self.stated
        for tokens in self.tokens.values():
            total = EXACT.add(total, tokens.bill())
        return total


class Ledger:
    """
    Adds up what the answers of a router cost, by UTC day, provider, model and tag. Thread-safe.

    It is a listener: register :meth:`take`, as :attr:`failsafe.Router.ledger` does. A forked child goes on with a copy
    of its own. Memory is bounded: beyond *most* rows further tags, and then models, are counted as ``(other)``, and
    days are kept for 400 days.

    Args:
        rates: Looks up what a provider's tokens cost, for what attempts may have been billed in vain.
        most: Rows that are kept apart (1 to 1,000,000).
    """

    def __init__(self, rates: RatesOf | None = None, *, most: int = 10_000) -> None:
        self._rates = rates
        self._most = checks.whole("most", most, least=1, most=1_000_000)
        self._rows: dict[_Key, _Sums] = {}  # guarded by _lock, as is all below
        self._newest = 0
        self._waiting: OrderedDict[str, list[tuple[_Key, Attempt]]] = OrderedDict()  # duplicates of open calls
        self._answered: OrderedDict[str, Usage] = OrderedDict()  # the answers of open calls
        self._start_afresh()
        forking.register(self)

    def _start_afresh(self) -> None:
        self._lock = threading.RLock()  # a signal handler may ask while its thread holds it

    _after_fork = _start_afresh

    def take(self, event: Event) -> None:
        """Take note of *event*; only attempts and ends of calls matter."""
        if isinstance(event, AttemptFinished):
            self._take_attempt(event)
        elif isinstance(event, CallFinished):
            with self._lock:
                self._waiting.pop(event.call_id, None)
                self._answered.pop(event.call_id, None)

    def _take_attempt(self, event: AttemptFinished) -> None:
        attempt = event.attempt
        if attempt.fault is not None and not attempt.maybe_billed:
            return
        key = _Key(int(event.at // _DAY), attempt.provider, attempt.model, event.tag)
        with self._lock:
            key, sums = self._sums_locked(key)
            if attempt.fault is None and attempt.usage is not None:
                sums.add_answer(attempt, attempt.usage)
                self._answered_locked(event.call_id, attempt.usage)
            elif attempt.maybe_billed:
                sums.duplicates += 1
                self._duplicate_locked(event.call_id, key, attempt)

    def _answered_locked(self, call: str, usage: Usage) -> None:
        for key, attempt in self._waiting.pop(call, ()):
            self._estimate_locked(key, attempt, usage)
        self._answered[call] = usage
        _bound(self._answered)

    def _duplicate_locked(self, call: str, key: _Key, attempt: Attempt) -> None:
        usage = self._answered.get(call)
        if usage is not None:
            self._estimate_locked(key, attempt, usage)
            return
        self._waiting.setdefault(call, []).append((key, attempt))
        _bound(self._waiting)

    def _estimate_locked(self, key: _Key, attempt: Attempt, usage: Usage) -> None:
        """Charge a failed attempt as if it had been answered like the call was."""
        if self._rates is None:
            return
        rates = self._rates(attempt.provider, attempt.model, attempt.started_at, usage.prompt_tokens)
        sums = self._rows.get(key)
        if rates is not None and sums is not None:
            like = bill(rates, prompt_tokens=usage.prompt_tokens, completion_tokens=usage.completion_tokens)
            sums.doubtful = EXACT.add(sums.doubtful, like)

    def _sums_locked(self, key: _Key) -> tuple[_Key, _Sums]:
        if key.day > self._newest:
            self._newest = key.day
            self._rows = {each: sums for each, sums in self._rows.items() if each.day > key.day - _KEPT_DAYS}
        for each in (key, key._replace(tag=OTHER), key._replace(tag=OTHER, model=OTHER)):
            sums = self._rows.get(each)
            if sums is not None:
                return each, sums
            if len(self._rows) < self._most:
                self._rows[each] = sums = _Sums()
                return each, sums
        sums = self._rows[each] = _Sums()  # bounded by the providers and the days
        return each, sums

    def rows(
        self, by: Sequence[str] = ("provider",), *, first_day: str | None = None, last_day: str | None = None
    ) -> list[CostRow]:
        """
        What was spent, the most expensive first.

        Args:
            by: What the rows are grouped by: of ``day``, ``provider``, ``model`` and ``tag``. None of them: one row.
            first_day: In UTC, ``2026-11-24``; None: as far as it reaches.
            last_day: It belongs to the time; None: up to now.

        Raises:
            ConfigError: There is no such group, or no such day.
        """
        wanted = grouped_by(by)
        first, last = _day_number("first_day", first_day, 0), _day_number("last_day", last_day, 2**31)
        groups: dict[_Key, list[_Sums]] = {}
        with self._lock:
            for key, sums in self._rows.items():
                if first <= key.day <= last:
                    groups.setdefault(_shown(key, wanted), []).append(sums)
            rows = [_row(key, sums) for key, sums in groups.items()]
        return sorted(rows, key=lambda row: (-row.usd, row.day, row.provider, row.model, row.tag))

    def total(self) -> CostRow:
        """All of it in one row."""
        return next(iter(self.rows(by=())), CostRow())

    def __len__(self) -> int:
        return len(self._rows)

    def __repr__(self) -> str:
        total = self.total()
        return f"<Ledger {total.answers} answers, {in_usd(total.usd)}, {total.unpriced} of unknown price>"


def grouped_by(by: Sequence[str]) -> frozenset[str]:
    """
    *by* as a set.

    Raises:
        ConfigError: It holds what costs are not grouped by.
    """
    for name in by:
        checks.one_of("by", name, GROUPS)
    return frozenset(by)


def _shown(key: _Key, wanted: Collection[str]) -> _Key:
    """*key* without what rows are not grouped by."""
    return _Key(
        key.day if "day" in wanted else _NO_DAY,
        key.provider if "provider" in wanted else "",
        key.model if "model" in wanted else "",
        key.tag if "tag" in wanted else "",
    )


def _bound(calls: OrderedDict[str, Any]) -> None:
    while len(calls) > _OPEN_CALLS:
        calls.popitem(last=False)


def _day_number(name: str, day: str | None, default: int) -> int:
    if day is None:
        return default
    try:
        return int(datetime.strptime(day, "%Y-%m-%d").replace(tzinfo=UTC).timestamp() // _DAY)
    except (ValueError, TypeError):
        pass
    raise ConfigError(f"{name} = {day!r}: a day such as 2026-11-24 is needed")


def days_of(window: float | None, now: float) -> tuple[str, str]:
    """
    The first and the last day (UTC) of the last *window* seconds; None: of all time.

    Raises:
        ConfigError: *window* is not above 0.
    """
    last = day_of(int(now // _DAY))
    if window is None:
        return _EVER, last
    checks.number("window", window, above=0, most=_LONGEST)
    return day_of(max(0, int((now - window) // _DAY))), last


def day_of(number: int) -> str:
    """The day *number* days after 1970-01-01, such as ``2026-11-24``."""
    return datetime.fromtimestamp(number * _DAY, UTC).strftime("%Y-%m-%d")


def _row(key: _Key, all_sums: Sequence[_Sums]) -> CostRow:
    usd = doubtful = Decimal(0)
    for sums in all_sums:
        usd, doubtful = EXACT.add(usd, sums.usd()), EXACT.add(doubtful, sums.doubtful)

    def count(field: str) -> int:
        return sum(getattr(sums, field) for sums in all_sums)

    return CostRow(
        day="" if key.day == _NO_DAY else day_of(key.day),
        provider=key.provider,
        model=key.model,
        tag=key.tag,
        answers=count("answers"),
        prompt_tokens=count("prompt"),
        cached_tokens=count("cached"),
        cache_write_tokens=count("written"),
        completion_tokens=count("completion"),
        reasoning_tokens=count("reasoning"),
        usd=usd,
        unpriced=count("unpriced"),
        duplicates=count("duplicates"),
        duplicates_usd=doubtful,
    )

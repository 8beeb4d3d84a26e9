"""
What is worth an alert: events and figures to :class:`failsafe.Alert` values.

No I/O, no clock: an alert has the time of what it is about. Whether and when anybody is told is decided in
:mod:`failsafe.alerts.grouping`; so a rule says that something is over whenever it may be, and does not ask whether
anybody was told that it began.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from decimal import Decimal
from typing import Any, NamedTuple

from failsafe.alerts.severity import CRITICAL, INFO, WARNING
from failsafe.alerts.wording import LONGEST_MESSAGE, LONGEST_NAME, LONGEST_PART, LONGEST_TITLE, safe, sentences
from failsafe.durations import in_words
from failsafe.events import (
    Alert,
    AttemptFinished,
    CircuitState,
    Event,
    ProbeFinished,
    PutOff,
    StateChanged,
    StatusChanged,
)
from failsafe.faults import REACTIONS, Fault
from failsafe.monitoring_config import SpendConfig
from failsafe.secret import Secret
from failsafe.telemetry.views import ErrorBudget, TargetState, Uptime

FAST_BURN = 14.4
"""
Times faster than evenly, over an hour, at which a month's budget is gone in two days.

Google, The Site Reliability Workbook, chapter 5 "Alerting on SLOs", table 5-8: 2 % of the budget in an hour pages.
"""

SLOW_BURN = 6.0
"""The same over six hours: 5 % of the budget in them (same source), and gone in five days."""

_WORKS = frozenset({"healthy", "degraded", "up"})
_BY_HAND = frozenset({CircuitState.DISABLED, CircuitState.FORCED_OPEN})
_MOST_REMEMBERED = 1000
_MOST_BLOCKED = 100

_RULE_OF = {Fault.AUTH: "key_rejected", Fault.PERMISSION: "key_rejected", Fault.QUOTA: "quota_gone"}
_PROBES_TELL = frozenset({Fault.AUTH, Fault.QUOTA})  # a list of models may be forbidden where chats are not
_STATUS_PAGE = "see the provider's status page; `failsafe check` asks it whether key and address are right"


class _Blocked(NamedTuple):
    """What a person was asked to put right; None stands for every key, or every model."""

    rule: str
    key: str | None
    model: str | None


class Rules:
    """
    The alerts that events stand for. Not thread-safe.

    It remembers what went wrong last with each provider, to say what to do about it, and which keys and models
    were put off, to say when they are taken again; for at most 1000 providers.

    Args:
        secrets: Keys that no text may show, in addition to what looks like one.
    """

    def __init__(self, secrets: Iterable[Secret] = ()) -> None:
        self._secrets = tuple(secrets)
        self._last_fault: dict[str, Fault] = {}
        self._blocked: dict[str, dict[_Blocked, None]] = {}

    def of(self, event: Event) -> list[Alert]:
        """What *event* is reported as; mostly nothing."""
        match event:
            case AttemptFinished():
                return self._attempt(event)
            case StateChanged():
                return list(self._breaker(event))
            case PutOff() if event.alert:
                return [self._put_off(event)]
            case StatusChanged():
                return list(self._status(event))
            case ProbeFinished():
                return self._probe(event)
        return []

    def _attempt(self, event: AttemptFinished) -> list[Alert]:
        attempt = event.attempt
        if attempt.fault is None:
            blocked = self._blocked.get(attempt.provider)
            return [] if not blocked else self._freed(event.at, attempt.provider, blocked, attempt.key, attempt.model)
        if attempt.blamed:
            _make_room(self._last_fault, attempt.provider)
            self._last_fault[attempt.provider] = attempt.fault
        return []

    def _freed(
        self, at: float, provider: str, blocked: dict[_Blocked, None], key: str | None, model: str | None
    ) -> list[Alert]:
        """*provider* has answered *key* on *model*: what was reported of either is over."""
        free = [each for each in blocked if each.key in (None, key) and each.model in (None, model)]
        for each in free:
            del blocked[each]
        if not blocked:
            self._blocked.pop(provider, None)
        return [
            self._alert(
                at, each.rule, provider, INFO,
                f"{provider}: {_what(each.key, each.model) or 'it'} is accepted again",
                ("it has answered",),
                resolves=True, key=each.key, model=each.model,
            )
            for each in free
        ]  # fmt: skip

    def _put_off(self, event: PutOff) -> Alert:
        rule = _RULE_OF.get(event.fault, "misconfigured")
        _make_room(self._blocked, event.provider)
        blocked = self._blocked.setdefault(event.provider, {})
        if len(blocked) < _MOST_BLOCKED:
            blocked[_Blocked(rule, event.key, event.model)] = None
        return self._alert(
            event.at, rule, event.provider,
            WARNING if event.model else CRITICAL,
            _title_of(event),
            (event.message, f"it is left alone for {in_words(event.seconds)}", f"what to do: {event.advice}"),
            key=event.key, model=event.model, fault=event.fault.value, off_for=round(event.seconds, 1),
        )  # fmt: skip

    def _probe(self, event: ProbeFinished) -> list[Alert]:
        """Where no call is made, a probe alone finds out about a key; it does not say which one it was given."""
        blocked = self._blocked.get(event.provider)
        if event.fault is None:
            asked = event.kind != "connect"  # which shows no key
            return self._freed(event.at, event.provider, blocked, None, None) if blocked and asked else []
        if event.fault not in _PROBES_TELL or any(each.rule == _RULE_OF[event.fault] for each in blocked or ()):
            return []
        reaction = REACTIONS[event.fault]
        put_off = PutOff(
            at=event.at, provider=event.provider, key=None, model=None, fault=event.fault, seconds=0.0,
            message=event.message, alert=True, advice=reaction.advice,
        )  # fmt: skip
        return [self._put_off(put_off)]

    def _breaker(self, event: StateChanged) -> Iterator[Alert]:
        provider = event.name.partition(":")[0]  # the breaker of one model is called provider:model
        if event.new is CircuitState.OPEN:
            again = "" if event.retry_after is None else f"it is tried again in {in_words(event.retry_after)}"
            yield self._alert(
                event.at, "breaker_open", provider, WARNING, f"{event.name}: breaker opened",
                (event.reason, "no call goes there meanwhile", again, self._advice(provider)),
                breaker=event.name, retry_after=event.retry_after,
            )  # fmt: skip
        elif event.new is CircuitState.CLOSED or event.new in _BY_HAND:
            by_hand = ", by hand" if event.new in _BY_HAND else " again"
            yield self._alert(
                event.at, "breaker_open", provider, INFO, f"{event.name}: breaker is {_plain(event.new)}{by_hand}",
                (event.reason,), resolves=True, breaker=event.name,
            )  # fmt: skip

    def _status(self, event: StatusChanged) -> Iterator[Alert]:
        if event.new == TargetState.DOWN:
            yield self._alert(
                event.at, "down", event.provider, CRITICAL, f"{event.provider} went down",
                (event.reason, self._advice(event.provider)),
            )  # fmt: skip
        elif event.new in _WORKS:
            how = "up again, with reservations" if event.new == TargetState.DEGRADED else "up again"
            yield self._alert(
                event.at,
                "recovered",
                event.provider,
                INFO,
                f"{event.provider} is {how}",
                (event.reason,),
                resolves=True,
            )

    def _advice(self, provider: str) -> str:
        fault = self._last_fault.get(provider)
        return f"what to do: {_STATUS_PAGE if fault is None else REACTIONS[fault].advice}"

    def _alert(
        self,
        at: float,
        rule: str,
        provider: str,
        severity: str,
        title: str,
        message: Iterable[str],
        *,
        resolves: bool = False,
        **details: str | float | None,
    ) -> Alert:
        parts = [safe(part, LONGEST_PART, self._secrets) for part in message]
        return Alert(
            at=at,
            rule=rule,
            provider=safe(provider, LONGEST_NAME, self._secrets),
            severity=severity,
            title=safe(title, LONGEST_TITLE, self._secrets),
            message=safe(sentences(parts), LONGEST_MESSAGE, self._secrets),
            resolves=resolves,
            details={
                name: safe(value, LONGEST_NAME, self._secrets) if isinstance(value, str) else value
                for name, value in details.items()
                if value is not None
            },
        )

    def budget(
        self, provider: str, budget: ErrorBudget, at: float, last_six_hours: Uptime | None = None
    ) -> Alert | None:
        """
        Whether the time that *provider* may be down runs out fast.

        Args:
            provider: Its name.
            budget: Its budget, with the burn rate of the last hour.
            at: When this was looked at.
            last_six_hours: How it was in them, for what goes on slowly; None: only the last hour is judged.

        Returns:
            The alert, or that it is over; None while nothing is known.
        """
        slow = None if last_six_hours is None else burn_rate(last_six_hours, budget.sla)
        if budget.burn_rate is None and slow is None:
            return None
        for rate, limit, severity, hours in (
            (budget.burn_rate, FAST_BURN, CRITICAL, 1),
            (slow, SLOW_BURN, WARNING, 6),
        ):
            if rate is not None and rate >= limit:
                return self._burning(provider, budget, at, rate, severity, hours)
        return self._alert(
            at, "budget_burn", provider, INFO, f"{provider}: its error budget no longer runs out fast",
            (_left(budget),), resolves=True,
        )  # fmt: skip

    def _burning(self, provider: str, budget: ErrorBudget, at: float, rate: float, severity: str, hours: int) -> Alert:
        span = "the last hour" if hours == 1 else f"the last {hours} hours"
        lasts = budget.left / (rate * _allowed_share(budget.sla))
        return self._alert(
            at, "budget_burn", provider, severity,
            f"{provider}: error budget runs out {rate:.3g} times too fast",
            (
                f"that is its rate over {span}", _left(budget),
                f"at this rate that lasts for {in_words(lasts)}" if lasts > 0 else "",
                f"what to do: drain it or ask others first, until it is well; {_STATUS_PAGE}",
            ),
            burn_rate=round(rate, 2), hours=hours, sla=budget.sla,
            allowed=round(budget.allowed, 1), used=round(budget.used, 1), left=round(budget.left, 1),
        )  # fmt: skip

    def spend(
        self, provider: str, caps: SpendConfig, *, day: Decimal | float, month: Decimal | float, at: float
    ) -> list[Alert]:
        """
        How near *provider* (or "" for all together) is to each of its *caps*.

        Args:
            provider: Its name.
            caps: What may be spent; those that are None are not judged.
            day: USD spent since the begin of the day (UTC).
            month: USD spent since the begin of the month (UTC).
            at: When this was looked at.
        """
        judged = (("day", caps.per_day, day), ("month", caps.per_month, month))
        return [
            self._spent(provider, caps, period, cap, float(spent), at)
            for period, cap, spent in judged
            if cap is not None
        ]

    def _spent(self, provider: str, caps: SpendConfig, period: str, cap: float, spent: float, at: float) -> Alert:
        who, share = provider or "all providers", spent / cap
        figures = f"${spent:,.2f} of ${cap:,.2f} for this {period} (UTC)"
        table = f"[providers.{provider}.spend]" if provider else "[spend]"
        if share < caps.warn_at:
            return self._alert(
                at, "spend", provider, INFO,
                f"{who}: spending of the {period} is below {100 * caps.warn_at:g} % of its cap",
                (figures,), resolves=True, period=period,
            )  # fmt: skip
        gone = share >= 1
        advice = (
            f"until the next {period} calls ask what is cheaper or are refused; raise per_{period} in {table} if that "
            "is too early" if gone else f"look at `failsafe cost`; raise per_{period} in {table}, or spend less"
        )  # fmt: skip
        return self._alert(
            at, "spend", provider, CRITICAL if gone else WARNING,
            f"{who}: {int(share * 100)} % of the cap of the {period} is spent",
            (figures, f"what to do: {advice}"),
            period=period, spent=round(spent, 4), cap=cap, share=round(share, 4),
        )  # fmt: skip


def burn_rate(uptime: Uptime, sla: float) -> float | None:
    """
    How many times faster than evenly the budget of *sla* (per cent) was used up in a window.

    That is the share of the window in which it was down, by the share that the SLA allows; None where nothing of
    it is known. What is unknown counts as not down.
    """
    if uptime.percentage is None or uptime.ended <= uptime.began:
        return None
    down = uptime.seconds.get(TargetState.DOWN, 0.0) / (uptime.ended - uptime.began)
    return down / _allowed_share(sla)


def _allowed_share(sla: float) -> float:
    return max(1 - sla / 100, 1e-9)


def _make_room(memory: dict[str, Any], name: str) -> None:
    """Forget the oldest entry if there is no room for *name*."""
    if name not in memory and len(memory) >= _MOST_REMEMBERED:
        del memory[next(iter(memory))]


def _what(key: str | None, model: str | None) -> str:
    return " on ".join(filter(None, (key and f"key {key}", model)))


def _title_of(event: PutOff) -> str:
    who, key = event.provider, f"key {event.key}" if event.key else "the key"
    match event.fault:
        case Fault.AUTH:
            return f"{who}: {key} was rejected"
        case Fault.PERMISSION:
            return f"{who}: {key} may not use {event.model or 'any model'}"
        case Fault.QUOTA:
            return f"{who}: the account of {key} has no money or allowance left"
        case Fault.MODEL:
            return f"{who} does not serve {event.model}"
    return f"{who}: its address or another setting is wrong"


def _left(budget: ErrorBudget) -> str:
    share = f"of the {in_words(budget.allowed)} that its SLA of {budget.sla:g} % lets it be down"
    if budget.left <= 0:
        return f"{share} nothing is left: it was down for {in_words(budget.used)}"
    return f"{share} {in_words(budget.left)} are left"


def _plain(state: CircuitState) -> str:
    return state.value.replace("_", " ")

"""How a provider is doing, judged from what its calls, and the probes of a monitor, have shown."""

from __future__ import annotations

from collections.abc import Callable, Collection
from enum import StrEnum

import msgspec

from failsafe.durations import in_words
from failsafe.events import CircuitState
from failsafe.monitoring_config import MonitorConfig

FEWEST = 3
"""Answers and failures from which rates are judged where probes alone make no more in the window."""


class ProviderStatus(StrEnum):
    """How a provider is doing."""

    HEALTHY = "healthy"
    DEGRADED = "degraded"
    """Usable with reservations: some key or model is left alone, or the breaker is probing."""
    DOWN = "down"
    """No call goes there now, or only one that finds out whether it is back."""
    UNKNOWN = "unknown"
    """Nothing was observed yet."""


def judge(*, breakers: Collection[CircuitState], usable_keys: int, some_off: bool, observed: bool) -> ProviderStatus:
    """
    Judge one provider by what its router knows.

    Args:
        breakers: The states of its breakers: one, or one for each model.
        usable_keys: Keys that are not put off for every model; a provider that needs none counts as having one.
        some_off: Whether any key or model is put off.
        observed: Whether any attempt has ended.
    """
    shut = sum(state in _SHUT for state in breakers)
    if shut == len(breakers) or usable_keys == 0:
        return ProviderStatus.DOWN
    if shut or CircuitState.HALF_OPEN in breakers or some_off:
        return ProviderStatus.DEGRADED
    return ProviderStatus.HEALTHY if observed else ProviderStatus.UNKNOWN


_SHUT = frozenset({CircuitState.OPEN, CircuitState.FORCED_OPEN})


class Signs(msgspec.Struct, frozen=True, kw_only=True):
    """
    What is known of a provider at one moment.

    Attributes:
        watch: ``watched``, ``paused`` or ``maintenance``.
        note: Why, in the words of whoever did it.
        offline: Whether this machine's own network is down.
        breakers: The state of each of its breakers.
        breaker_reason: Why one of them is not closed, in words.
        put_off: What is left alone for a time, and why, in words.
        silent_for: Seconds since it was last seen to work or to fail; None: it never was.
        valid_for: Seconds for which that holds.
        excused: What was seen last, where that says nothing about the provider: a rejected key, say; else "".
        streak: Failures since its last answer.
        answered: Answers in the window.
        failed: Failures in the window that speak against it.
        p95_ms: The 95th percentile of the answers' latencies; None without any.
        latency_limit_ms: What that may be, or None.
        interval: Seconds between two probes.
    """

    watch: str = "watched"
    note: str = ""
    offline: bool = False
    breakers: tuple[CircuitState, ...] = (CircuitState.CLOSED,)
    breaker_reason: str = ""
    put_off: tuple[str, ...] = ()
    silent_for: float | None = None
    valid_for: float = 75.0
    excused: str = ""
    streak: int = 0
    answered: int = 0
    failed: int = 0
    p95_ms: float | None = None
    latency_limit_ms: float | None = None
    interval: float = 30.0

    @property
    def error_rate(self) -> float | None:
        """The failures' share of answers and failures; None without any."""
        judged = self.answered + self.failed
        return self.failed / judged if judged else None


class Health(msgspec.Struct, frozen=True, kw_only=True):
    """
    How a provider is doing, and why.

    Attributes:
        status: How.
        reasons: Why, in words: the first has decided it.
        signs: What it was judged by.
    """

    status: ProviderStatus
    reasons: tuple[str, ...]
    signs: Signs


Rule = Callable[[Signs, MonitorConfig], str | None]
"""The reason for a status, in words, or None: it does not apply."""


def assess(signs: Signs, config: MonitorConfig) -> Health:
    """
    Judge one provider by all that a monitor knows: the first of :data:`RULES` that applies decides.

    A key, an account or a setting that is wrong never makes a provider ``DOWN``: nobody knows whether it is. Neither
    does a time without a network of this machine's.

    Args:
        signs: What is known.
        config: When that counts as what.
    """
    found = [(status, reason) for status, rule in RULES if (reason := rule(signs, config)) is not None]
    if not found:
        return Health(status=ProviderStatus.HEALTHY, reasons=(_in_order(signs, config),), signs=signs)
    return Health(status=found[0][0], reasons=tuple(reason for _, reason in found), signs=signs)


def _in_order(signs: Signs, config: MonitorConfig) -> str:
    latency = "" if signs.p95_ms is None else f", 95 % within {signs.p95_ms:.0f} ms"
    return f"{signs.answered} answers and {signs.failed} failures in the last {in_words(config.window)}{latency}"


def _paused(signs: Signs, _: MonitorConfig) -> str | None:
    if signs.watch == "watched":
        return None
    what = "it is in maintenance" if signs.watch == "maintenance" else "watching it is paused"
    return f"{what} ({signs.note})" if signs.note else what


def _offline(signs: Signs, _: MonitorConfig) -> str | None:
    return "this machine's network is down" if signs.offline else None


def _all_shut(signs: Signs, _: MonitorConfig) -> str | None:
    if not signs.breakers or not _SHUT.issuperset(signs.breakers):
        return None
    which = "its circuit breaker is" if len(signs.breakers) == 1 else "all its circuit breakers are"
    return f"{which} open{_because(signs)}"


def _unseen(signs: Signs, config: MonitorConfig) -> str | None:
    if signs.silent_for is not None and signs.silent_for <= signs.valid_for:
        return None
    if signs.excused:
        return f"what was seen last says nothing about it: {signs.excused}"
    if signs.silent_for is None:
        return "nothing was observed yet"
    limit = f"{config.validity:g} intervals of {in_words(signs.interval)}"
    return f"nothing was observed for {in_words(signs.silent_for)}, more than {limit}"


def _confirmed(signs: Signs, config: MonitorConfig) -> str | None:
    if signs.streak < config.confirm:
        return None
    return f"{signs.streak} failures without an answer between ({config.confirm} make it down)"


def _mostly_failing(signs: Signs, config: MonitorConfig) -> str | None:
    return _rate_from(signs, config, config.down_error_rate)


def _some_shut(signs: Signs, _: MonitorConfig) -> str | None:
    shut = sum(state in _SHUT for state in signs.breakers)
    if shut and shut < len(signs.breakers):
        return f"{shut} of its {len(signs.breakers)} circuit breakers are open{_because(signs)}"
    if not shut and CircuitState.HALF_OPEN in signs.breakers:
        return f"its circuit breaker is half-open{_because(signs)}"
    return None


def _because(signs: Signs) -> str:
    return f" ({signs.breaker_reason})" if signs.breaker_reason else ""


def _doubted(signs: Signs, config: MonitorConfig) -> str | None:
    if not 0 < signs.streak < config.confirm:
        return None
    return f"{_many(signs.streak, 'failure')} since its last answer ({config.confirm} make it down)"


def _partly_failing(signs: Signs, config: MonitorConfig) -> str | None:
    rate = signs.error_rate
    if rate is None or rate >= config.down_error_rate:
        return None
    return _rate_from(signs, config, config.degraded_error_rate)


def _rate_from(signs: Signs, config: MonitorConfig, limit: float) -> str | None:
    judged, rate = signs.answered + signs.failed, signs.error_rate
    if rate is None or rate < limit or judged < enough(signs.interval, config):
        return None
    return f"{signs.failed} of {judged} failed in the last {in_words(config.window)} (the limit is {100 * limit:g} %)"


def _slow(signs: Signs, config: MonitorConfig) -> str | None:
    limit, p95 = signs.latency_limit_ms, signs.p95_ms
    if limit is None or p95 is None or p95 <= limit or signs.answered < enough(signs.interval, config):
        return None
    return f"5 % of its answers took more than {p95:.0f} ms (the limit is {limit:g} ms)"


def _left_alone(signs: Signs, _: MonitorConfig) -> str | None:
    return "; ".join(signs.put_off) or None


def _excused(signs: Signs, config: MonitorConfig) -> str | None:
    if not signs.excused or _unseen(signs, config) is not None:
        return None
    return f"it was last seen to work, but then: {signs.excused}"


def enough(interval: float, config: MonitorConfig) -> int:
    """
    Answers and failures from which rates are judged.

    That is ``minimum_calls``, or what probes alone make in the window where that is less: a provider that is only
    probed, and rarely, could else never be found slow.
    """
    return min(config.minimum_calls, max(FEWEST, int(config.window / interval)))


def _many(count: int, what: str) -> str:
    return f"{count} {what}" if count == 1 else f"{count} {what}s"


RULES: tuple[tuple[ProviderStatus, Rule], ...] = (
    (ProviderStatus.UNKNOWN, _paused),
    (ProviderStatus.UNKNOWN, _offline),
    (ProviderStatus.DOWN, _all_shut),
    (ProviderStatus.UNKNOWN, _unseen),
    (ProviderStatus.DOWN, _confirmed),
    (ProviderStatus.DOWN, _mostly_failing),
    (ProviderStatus.DEGRADED, _some_shut),
    (ProviderStatus.DEGRADED, _doubted),
    (ProviderStatus.DEGRADED, _partly_failing),
    (ProviderStatus.DEGRADED, _slow),
    (ProviderStatus.DEGRADED, _left_alone),
    (ProviderStatus.DEGRADED, _excused),
)
"""The table of statuses; ``docs/health.md`` has it in words, and a test goes through its rows."""

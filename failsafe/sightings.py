"""What was seen of one provider lately, in memory: the window that its status is judged by, and its uptime."""

from __future__ import annotations

import threading
from collections import deque
from math import ceil, inf
from typing import NamedTuple

from failsafe import forking
from failsafe.telemetry import uptime
from failsafe.telemetry.outcomes import Outcome
from failsafe.telemetry.uptime import Account, Observation, UptimeRule
from failsafe.telemetry.views import Span, TargetState

_MOST = 4096
"""Outcomes that are remembered for the window, the latest."""
_MOST_SPANS = 20_000
_MOST_PENDING = 512
_LATE = 60.0
"""Seconds within which threads have told what they have seen."""
_TOGETHER = 1.0
"""Seconds within which outcomes of one kind count as one observation."""

_JUST_NOW = 1.0
"""Seconds by which what has just happened may lie after the moment at which it is looked at."""

_MEANS = {
    Outcome.ANSWERED: uptime.Outcome.ANSWERED,
    Outcome.OTHER: uptime.Outcome.ANSWERED,
    Outcome.FAILED: uptime.Outcome.FAILED,
    Outcome.EXCUSED: uptime.Outcome.EXCUSED,
}


class Lately(NamedTuple):
    """
    What was seen in the window.

    Attributes:
        answered: Answers.
        failed: Failures that speak against the provider.
        p95_ms: The 95th percentile of the answers' latencies; None without any.
        streak: Failures since the last answer.
        heard_at: When it was last seen to work or to fail, on the monotonic scale; None: it never was.
        excused: What was seen last, if that says nothing about the provider; else "".
    """

    answered: int
    failed: int
    p95_ms: float | None
    streak: int
    heard_at: float | None
    excused: str


class Sightings:
    """
    Takes in outcomes, and sums them up. Thread-safe.

    Bounded: of the window it keeps the 4096 latest outcomes, of the past 20,000 spans.

    Args:
        rule: How they are read as uptime.
        window: Seconds over which they are summed up.
        latency_limit_ms: Milliseconds above which an answer is slow, or None.
    """

    def __init__(self, rule: UptimeRule, window: float, latency_limit_ms: float | None) -> None:
        self._rule = rule
        self._window = window
        self._latency_limit = inf if latency_limit_ms is None else latency_limit_ms
        self._start_afresh()
        # All below is guarded by _lock.
        self._recent: deque[tuple[float, Outcome, float]] = deque(maxlen=_MOST)
        self._streak = 0
        self._heard_at: float | None = None
        self._excused = ""
        self._pending: list[Observation] = []
        self._account = Account(rule)
        self._spans: deque[Span] = deque(maxlen=_MOST_SPANS)
        self._watch: deque[Span] = deque(maxlen=_MOST_SPANS)
        forking.register(self)

    def _start_afresh(self) -> None:
        self._lock = threading.RLock()  # a signal handler may make a call while this thread holds it

    _after_fork = _start_afresh

    def add(self, outcome: Outcome, *, steady: float, wall: float, latency_ms: float = 0.0, why: str = "") -> None:
        """
        Take in one outcome.

        Args:
            outcome: What it says about the provider.
            steady: When, on the monotonic scale.
            wall: When, seconds since 1970-01-01 UTC.
            latency_ms: How long an answer took.
            why: Why it says nothing, for ``EXCUSED``.
        """
        with self._lock:
            self._recent.append((steady, outcome, latency_ms))
            if outcome is Outcome.EXCUSED:
                self._excused = why
            else:
                self._streak = self._streak + 1 if outcome is Outcome.FAILED else 0
                self._heard_at, self._excused = steady, ""
            self._observe_locked(outcome, wall, latency_ms)

    def _observe_locked(self, outcome: Outcome, wall: float, latency_ms: float) -> None:
        means = _MEANS[outcome]
        if outcome is Outcome.ANSWERED and latency_ms > self._latency_limit:
            means = uptime.Outcome.DEGRADED
        last = self._pending[-1] if self._pending else None
        if last is not None and last.outcome is means and 0 <= wall - last.at < _TOGETHER:
            if means is uptime.Outcome.FAILED:
                self._pending[-1] = Observation(at=last.at, outcome=means, failures=last.failures + 1)
            return
        self._pending.append(Observation(at=wall, outcome=means))
        if len(self._pending) > _MOST_PENDING:
            self._settle_locked(wall)
        elif self._pending[0].at < wall - 2 * _LATE:
            self._settle_locked(wall - _LATE)

    def _settle_locked(self, horizon: float) -> None:
        watch = list(self._watch)
        for span in self._account.settle(uptime.excused(self._pending, watch), horizon):
            self._spans.append(span)
        self._pending = [seen for seen in self._pending if seen.at >= horizon]

    def watch_from(self, state: TargetState | None, wall: float) -> None:
        """From *wall* on it is ``PAUSED``, in ``MAINTENANCE``, ``UNKNOWN`` (no network here), or, if None, watched."""
        with self._lock:
            if self._watch and self._watch[-1].ended == inf:
                last = self._watch.pop()
                if last.began < wall:
                    self._watch.append(Span(began=last.began, ended=wall, state=last.state))
            if state is not None:
                self._watch.append(Span(began=wall, ended=inf, state=state))

    def forget(self, wall: float) -> None:
        """Nothing is known since *wall*: the machine was asleep, or its clock was set."""
        with self._lock:
            self._recent.clear()
            self._streak, self._heard_at, self._excused = 0, None, ""
            self._pending.append(Observation(at=wall, outcome=uptime.Outcome.EXCUSED))

    def lately(self, steady: float) -> Lately:
        """What was seen in the window before *steady*."""
        with self._lock:
            recent = [(outcome, took) for at, outcome, took in self._recent if at > steady - self._window]
            streak, heard_at, excused = self._streak, self._heard_at, self._excused
        latencies = sorted(took for outcome, took in recent if outcome is Outcome.ANSWERED)
        return Lately(
            answered=len(latencies),
            failed=sum(outcome is Outcome.FAILED for outcome, _ in recent),
            p95_ms=latencies[ceil(0.95 * len(latencies)) - 1] if latencies else None,
            streak=streak,
            heard_at=heard_at,
            excused=excused,
        )

    def spans(self, began: float, ended: float) -> list[Span]:
        """How the provider was at each moment of a window (seconds since 1970), without a gap."""
        with self._lock:
            account = Account(self._rule, self._account.progress)
            watch = list(self._watch)
            later = account.settle(uptime.excused(self._pending, watch), ended + _JUST_NOW)
            observed = [*self._spans, *later, *account.so_far(ended)]
        return uptime.tiled(uptime.merged(observed), watch, began, ended)

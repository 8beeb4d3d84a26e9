"""
How much of a time a provider was up, from what was observed of it.

The rule: what is observed holds until the next observation, and no longer than it can be relied on
(:attr:`UptimeRule.hold`); a time that nothing covers is unknown. A provider is down once it has failed
:attr:`UptimeRule.confirm` times in a row, from the first of those failures on, until it answers. Fewer failures change
nothing: what was known before them goes on to hold for as long as it would have. What says nothing about the provider
(a rejected key, this machine offline) leaves the time unknown. Times of pause, of maintenance, and without a network
come before all that.

``uptime = (up + degraded) / (up + degraded + down)``, by time. Pure functions of their arguments: no I/O and no clock.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum
from itertools import pairwise

import msgspec

from failsafe.monitoring_config import MonitorConfig
from failsafe.telemetry.views import ErrorBudget, Span, TargetState, Uptime

UP, DEGRADED, DOWN = TargetState.UP, TargetState.DEGRADED, TargetState.DOWN
PAUSED, MAINTENANCE, UNKNOWN = TargetState.PAUSED, TargetState.MAINTENANCE, TargetState.UNKNOWN

SAME_DOWNTIME = 3600.0
"""Seconds of which nothing is known, and that still lie within one downtime."""

_LEAST_COVERAGE = 0.01
_HOUR = 3600.0


class Outcome(StrEnum):
    """What one observation says about a provider."""

    ANSWERED = "answered"
    DEGRADED = "degraded"
    """It answered, but slowly or not always."""
    FAILED = "failed"
    EXCUSED = "excused"
    """It failed for a reason that is not the provider's: nobody knows how it is."""


class Observation(msgspec.Struct, frozen=True, kw_only=True):
    """
    What was seen of a provider at one time.

    Attributes:
        at: When, seconds since 1970-01-01 UTC.
        outcome: What.
        failures: For ``FAILED``, how many failures in a row it stands for.
    """

    at: float
    outcome: Outcome
    failures: int = 1


class UptimeRule(msgspec.Struct, frozen=True, kw_only=True):
    """
    How observations are read.

    Attributes:
        hold: Seconds for which an observation holds when no other follows.
        confirm: Failures in a row that make a provider ``DOWN``.
        degraded: The share of failures among answers from which it is ``DEGRADED``.
    """

    hold: float = 75.0
    confirm: int = 3
    degraded: float = 0.05

    @classmethod
    def of(cls, config: MonitorConfig, interval: float | None = None) -> UptimeRule:
        """What a monitor's settings mean for a provider probed every *interval* seconds (None: the monitor's)."""
        return cls(
            hold=config.validity * (config.interval if interval is None else interval),
            confirm=config.confirm,
            degraded=config.degraded_error_rate,
        )


class Progress(msgspec.Struct, frozen=True, kw_only=True):
    """
    Where an :class:`Account` stands, so that another can go on from there; goes through JSON unchanged.

    Attributes:
        horizon: What lies before it is settled; later news of it come too late.
        given: Up to where spans have been given; before ``horizon`` while there are doubts.
        state: What was known last, for the time from ``given`` on,
        until: up to here.
        streak: Failures since the last answer.
        doubts: Times that were down if enough failures follow.
    """

    horizon: float = 0.0
    given: float = 0.0
    state: TargetState = UNKNOWN
    until: float = 0.0
    streak: int = 0
    doubts: tuple[tuple[float, float], ...] = ()


class Account:
    """
    Turns observations into spans, step by step. Not thread-safe.

    However the observations are divided into steps, the spans of all steps together are the same.

    Args:
        rule: How observations are read.
        progress: Where to go on from; None: nothing is known yet.
    """

    __slots__ = ("_doubts", "_given", "_horizon", "_rule", "_spans", "_state", "_streak", "_until")

    def __init__(self, rule: UptimeRule, progress: Progress | None = None) -> None:
        start = progress or Progress()
        self._rule = rule
        self._horizon, self._given = start.horizon, start.given
        self._state, self._until = start.state, start.until
        self._streak = start.streak
        self._doubts = [list(doubt) for doubt in start.doubts]
        self._spans: list[Span] = []

    @property
    def progress(self) -> Progress:
        """Where this account stands."""
        return Progress(
            horizon=self._horizon, given=self._given, state=self._state, until=self._until, streak=self._streak,
            doubts=tuple((began, ended) for began, ended in self._doubts),
        )  # fmt: skip

    def settle(self, observations: Iterable[Observation], horizon: float) -> list[Span]:
        """
        Take in what was observed before *horizon*, in any order; the spans that no later observation can change.

        An observation of a time that is settled already comes too late and is left out, as is one from *horizon* on.
        """
        for seen in _in_order(observations):
            if self._horizon <= seen.at < horizon:
                self._take(seen)
        self._horizon = max(self._horizon, horizon)
        self._give(min(horizon, self._doubts[0][0]) if self._doubts else horizon)
        return self._handed_over()

    def so_far(self, end: float) -> list[Span]:
        """What follows the spans given, up to *end*, if nothing more were observed. Changes nothing."""
        ended = min(self._until, end)
        return (
            [Span(began=self._given, ended=ended, state=self._state)]
            if self._is_known() and self._given < ended
            else []
        )

    def _take(self, seen: Observation) -> None:
        if seen.outcome is Outcome.FAILED:
            self._fail(seen)
            return
        if seen.outcome is Outcome.EXCUSED:
            self._lose_sight(seen.at)
            return
        self._give(seen.at)
        self._doubts.clear()
        self._streak = 0
        self._know(UP if seen.outcome is Outcome.ANSWERED else DEGRADED, seen.at)

    def _fail(self, seen: Observation) -> None:
        self._streak += max(1, seen.failures)
        if self._streak < self._rule.confirm:
            self._doubt(seen.at)
            return
        self._give(self._doubts[0][0] if self._doubts else seen.at)
        for began, ended in self._doubts:
            self._add(began, min(ended, seen.at), DOWN)
        self._doubts.clear()
        self._given = max(self._given, seen.at)
        self._know(DOWN, seen.at)

    def _doubt(self, at: float) -> None:
        ended = at + self._rule.hold
        if self._doubts and self._doubts[-1][1] >= at:
            self._doubts[-1][1] = max(self._doubts[-1][1], ended)
        else:
            self._doubts.append([at, ended])

    def _lose_sight(self, at: float) -> None:
        """Nothing is known from *at* on."""
        if self._doubts:
            self._doubts[-1][1] = min(self._doubts[-1][1], at)
        else:
            self._give(at)
        self._until = min(self._until, at)

    def _know(self, state: TargetState, at: float) -> None:
        self._state, self._until = state, at + self._rule.hold

    def _is_known(self) -> bool:
        return self._state is not UNKNOWN

    def _give(self, end: float) -> None:
        """Hand over what is known up to *end*."""
        if self._is_known():
            self._add(self._given, min(end, self._until), self._state)
        self._given = max(self._given, end)

    def _add(self, began: float, ended: float, state: TargetState) -> None:
        if began < ended:
            self._spans.append(Span(began=began, ended=ended, state=state))

    def _handed_over(self) -> list[Span]:
        spans, self._spans = self._spans, []
        return merged(spans)


_LAST_WORD = {Outcome.EXCUSED: 0, Outcome.FAILED: 1, Outcome.DEGRADED: 2, Outcome.ANSWERED: 3}
"""Which of several observations of one and the same moment counts in the end: the highest."""


def _in_order(observations: Iterable[Observation]) -> list[Observation]:
    """By time; what was told twice counts once."""
    return sorted(set(observations), key=lambda seen: (seen.at, _LAST_WORD[seen.outcome], seen.failures))


def excused(observations: Iterable[Observation], watch: Iterable[Span]) -> list[Observation]:
    """*observations*, of which those in times that come before what is observed say nothing; see :func:`tiled`."""
    times = list(watch)
    return [
        Observation(at=seen.at, outcome=Outcome.EXCUSED)
        if any(span.began <= seen.at < span.ended for span in times)
        else seen
        for seen in observations
    ]


def merged(spans: Iterable[Span]) -> list[Span]:
    """*spans*, in order, with neighbours of one state made into one."""
    result: list[Span] = []
    for span in spans:
        last = result[-1] if result else None
        if last is not None and last.state is span.state and last.ended == span.began:
            result[-1] = Span(began=last.began, ended=span.ended, state=span.state)
        else:
            result.append(span)
    return result


_LAYERS: Mapping[TargetState, int] = {UNKNOWN: 0, UP: 1, DEGRADED: 2, DOWN: 3, PAUSED: 5, MAINTENANCE: 6}
_OFFLINE = 4
_SHOWN = (UNKNOWN, UP, DEGRADED, DOWN, UNKNOWN, PAUSED, MAINTENANCE)
"""By layer: of several that cover a time, the highest is shown."""


def tiled(observed: Iterable[Span], watch: Iterable[Span], began: float, ended: float) -> list[Span]:
    """
    How a provider was at each moment of a window, without a gap: in order, next to each other, from end to end.

    Args:
        observed: What was observed, in order and none over another.
        watch: Times that come before that: ``PAUSED``, ``MAINTENANCE``, and ``UNKNOWN`` for those in which this
            machine had no network. In any order; they may overlap.
        began: The window's begin.
        ended: Its end.
    """
    if not began < ended:
        return []
    watched = [span for span in watch if span.began < ended and span.ended > began]
    inside = clipped(observed, began, ended)
    return _overlaid(inside, watched, began, ended) if watched else _filled(inside, began, ended)


def _filled(spans: Iterable[Span], began: float, ended: float) -> list[Span]:
    """*spans*, in order and within the window, with what is unknown between them."""
    found: list[Span] = []
    at = began
    for span in spans:
        if at < span.began:
            found.append(Span(began=at, ended=span.began, state=UNKNOWN))
        found.append(span)
        at = span.ended
    if at < ended:
        found.append(Span(began=at, ended=ended, state=UNKNOWN))
    return merged(found)


def _overlaid(observed: Iterable[Span], watch: Iterable[Span], began: float, ended: float) -> list[Span]:
    turns: list[tuple[float, int, int]] = [(began, 0, 1), (ended, 0, -1)]
    layered = [(_LAYERS[span.state], span) for span in observed]
    layered += [(_LAYERS[span.state] or _OFFLINE, span) for span in watch]
    for layer, span in layered:
        first, last = max(span.began, began), min(span.ended, ended)
        if first < last:
            turns += ((first, layer, 1), (last, layer, -1))
    turns.sort()
    active = [0] * len(_SHOWN)
    spans: list[Span] = []
    for (at, layer, change), (until, _, _) in pairwise(turns):
        active[layer] += change
        if at < until:
            top = max(layer for layer, count in enumerate(active) if count > 0)
            spans.append(Span(began=at, ended=until, state=_SHOWN[top]))
    return merged(spans)


def summed_up(spans: Sequence[Span], began: float, ended: float) -> Uptime:
    """
    The uptime of a window.

    Args:
        spans: How the provider was, in order; what they leave open in the window is unknown.
        began: The window's begin.
        ended: Its end.
    """
    inside = clipped(spans, began, ended)
    seconds = dict.fromkeys(TargetState, 0.0)
    for span in inside:
        seconds[span.state] += span.ended - span.began
    length = max(0.0, ended - began)
    seconds[UNKNOWN] = max(0.0, length - sum(spent for state, spent in seconds.items() if state is not UNKNOWN))
    known = seconds[UP] + seconds[DEGRADED] + seconds[DOWN]
    counted = length - seconds[PAUSED] - seconds[MAINTENANCE]
    coverage = min(1.0, known / counted) if known > 0 and counted > 0 else 0.0
    return Uptime(
        began=began,
        ended=ended,
        percentage=None if coverage < _LEAST_COVERAGE else percentage(seconds[UP] + seconds[DEGRADED], seconds[DOWN]),
        coverage=coverage,
        seconds=seconds,
        downtimes=len(downtimes(inside)),
    )


def percentage(answering: float, down: float) -> float:
    """
    The share of *answering* in both, in per cent, rounded down to two decimals; 100 only if *down* is 0.

    Args:
        answering: Seconds; not both may be 0.
        down: Seconds.
    """
    if down <= 0:
        return 100.0
    # Whole microseconds: 99.99 / 100 in binary fractions is below 0.9999 and would be rounded down once too often.
    good, bad = round(answering * 1e6), max(1, round(down * 1e6))
    return 10_000 * good // (good + bad) / 100


def clipped(spans: Iterable[Span], began: float, ended: float) -> list[Span]:
    """The parts of *spans* that lie in a window."""
    if not began < ended:
        return []
    return [
        span
        if span.began >= began and span.ended <= ended
        else Span(began=max(span.began, began), ended=min(span.ended, ended), state=span.state)
        for span in spans
        if span.began < ended and span.ended > began
    ]


def downtimes(spans: Iterable[Span]) -> list[Span]:
    """
    The times that a provider was down, from *spans* in order.

    Two of them are one if it has not answered between, was not paused, and no more than :data:`SAME_DOWNTIME` seconds
    of which nothing is known lie there.
    """
    found: list[Span] = []
    goes_on = False
    for span in spans:
        if span.state is DOWN:
            if goes_on and span.began - found[-1].ended <= SAME_DOWNTIME:
                found[-1] = Span(began=found[-1].began, ended=span.ended, state=DOWN)
            else:
                found.append(span)
            goes_on = True
        elif span.state is not UNKNOWN:
            goes_on = False
    return found


def error_budget(sla: float, window: Uptime, last_hour: Uptime) -> ErrorBudget:
    """
    What is left of the time that a provider may be down.

    Args:
        sla: The percentage of time it is expected to be up, below 100.
        window: Its uptime in the window that the budget is for.
        last_hour: Its uptime in the last hour.
    """
    share = 1 - sla / 100
    allowed = share * (window.ended - window.began)
    used = window.seconds[DOWN]
    known = last_hour.seconds[UP] + last_hour.seconds[DEGRADED] + last_hour.seconds[DOWN]
    burning = None if last_hour.percentage is None else last_hour.seconds[DOWN] / known / share
    return ErrorBudget(sla=sla, allowed=allowed, used=used, left=allowed - used, burn_rate=burning)


def days(spans: Sequence[Span], boundaries: Sequence[float]) -> list[Uptime]:
    """
    The uptime of each day, however long it is: the days on which clocks change have 23 or 25 hours.

    Args:
        spans: How the provider was, in order and none over another.
        boundaries: The begin of each day and the end of the last, ascending.
    """
    begins, ends = [span.began for span in spans], [span.ended for span in spans]
    return [
        summed_up(spans[bisect_right(ends, began) : bisect_left(begins, ended)], began, ended)
        for began, ended in pairwise(boundaries)
    ]


class _Saved(msgspec.Struct):
    progress: Progress
    rule: UptimeRule


def encode(progress: Progress, rule: UptimeRule) -> str:
    """*progress* as JSON, with the rule that led there."""
    return msgspec.json.encode(_Saved(progress, rule)).decode()


def decode(text: str) -> tuple[Progress, UptimeRule]:
    """
    What :func:`encode` has made.

    Raises:
        msgspec.DecodeError: *text* is something else.
    """
    saved = msgspec.json.decode(text, type=_Saved)
    return saved.progress, saved.rule

"""
When who is told what: a pure state machine, given the time.

What an alert is about is its *subject*: a rule, a provider, and the key, model, breaker or period meant. Of each
subject is kept how it is and what was told of it last; whenever the two differ, something waits to be told. So what
changes while it waits, is muted or held back for the night is told once, as it is then: nothing piles up.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator
from datetime import tzinfo
from typing import NamedTuple

import msgspec

from failsafe.alerts.quiet import QuietHours
from failsafe.alerts.severity import CRITICAL, INFO, highest, rank
from failsafe.alerts.wording import LONGEST_MESSAGE, LONGEST_TITLE
from failsafe.durations import in_words
from failsafe.events import Alert
from failsafe.masking import shorten
from failsafe.monitoring_config import AlertConfig

FLAPPING_WINDOW = 600.0
"""Seconds over which it is counted how often something begins anew."""

FLAPPING_FROM = 3
"""That often within the window it flaps, and is told of once in a window instead of each time."""

MOST_SUBJECTS = 1000
"""More subjects than this are not kept at once."""

MOST_IN_A_GROUP = 100
"""More alerts than this go into the next group."""

LONGEST_OFFLINE = 600.0
"""Seconds for which alerts wait for this machine's network; then they are sent into it whatever comes of that."""

_HOUR = 3600.0
_MOST_MUTED = 1000
_REMEMBERED_OPENINGS = 100
_ABOUT = ("key", "model", "breaker", "period")


class Moment(NamedTuple):
    """One moment on both scales: ``steady`` seconds of a monotonic clock, ``wall`` seconds since 1970-01-01 UTC."""

    steady: float
    wall: float


class Group(msgspec.Struct, frozen=True, kw_only=True):
    """
    Alerts that are sent together, the most urgent first.

    Attributes:
        at: When they were put together, seconds since 1970-01-01 UTC.
        alerts: What is told.
        withheld: How many came while no more groups could be sent in the hour, or no more be kept.
    """

    at: float
    alerts: tuple[Alert, ...]
    withheld: int = 0

    @property
    def severity(self) -> str:
        """That of the most urgent."""
        return highest(self.alerts)


class _Subject:
    """How something is, and what was told of it."""

    __slots__ = (
        "alarm", "held_until", "holds", "opened", "openings", "reminders", "resolution", "since", "told", "told_at",
        "told_severity", "waiting",
    )  # fmt: skip

    def __init__(self, alarm: Alert) -> None:
        self.alarm = alarm
        self.resolution: Alert | None = None
        self.since = alarm.at
        self.holds = False
        self.opened = 0  # times it began since something was told
        self.openings: deque[float] = deque(maxlen=_REMEMBERED_OPENINGS)  # steady
        self.waiting: float | None = None  # since when something waits to be told, steady
        self.held_until = -math.inf  # it flaps: nothing is told before, steady
        self.told = False  # whether what was told last is that it holds
        self.told_at = -math.inf  # steady
        self.told_severity = INFO
        self.reminders = True

    @property
    def provider(self) -> str:
        return self.alarm.provider

    @property
    def urgent(self) -> bool:
        """Whether it is told in quiet hours: what is critical now, or was told at once and is over."""
        if self.holds:
            return self.alarm.severity == CRITICAL
        return self.told and self.told_severity == CRITICAL

    def begins(self, alert: Alert, now: Moment) -> None:
        self.alarm, self.since, self.holds = alert, alert.at, True
        self.opened += 1
        self.openings.append(now.steady)

    def begins_silently(self, alert: Alert, now: Moment) -> None:
        """As :meth:`begins`, where only the end is to be told."""
        if not self.holds:
            self.begins(alert, now)
        self.told, self.told_severity, self.reminders = True, alert.severity, False
        self.opened, self.waiting = 0, None

    def lately(self, now: Moment) -> int:
        """How often it has begun in the window over which flapping is judged."""
        return sum(now.steady - opening < FLAPPING_WINDOW for opening in self.openings)

    def settled(self, now: Moment) -> bool:
        """Whether there is nothing left to remember of it."""
        remembered = bool(self.openings) and now.steady - self.openings[-1] < FLAPPING_WINDOW
        return not (self.holds or self.told or self.waiting is not None or remembered)


class Grouping:
    """
    Decides when which alerts are sent. Not thread-safe; no I/O, no clock.

    The steady scale decides about waiting, the wall's about quiet hours alone, so that a clock that is set does no
    harm. At most 1000 subjects are kept; beyond, those that nobody waits for go first, then new ones are
    only counted.

    Args:
        config: What is reported, and how often.
        zone: Whose local time the quiet hours mean; None: this machine's.
    """

    def __init__(self, config: AlertConfig, zone: tzinfo | None = None) -> None:
        self._config = config
        self._on = frozenset(config.on)
        self._quiet = None if config.quiet is None else QuietHours(config.quiet, zone)
        self._subjects: dict[tuple[object, ...], _Subject] = {}
        self._muted: dict[str, float] = dict.fromkeys(config.mute, math.inf)  # until when, steady
        self._suspended: set[str] = set()
        self._offline_until = -math.inf  # steady
        self._sent: deque[float] = deque(maxlen=config.max_per_hour)  # steady
        self._withheld = 0

    def consider(self, alert: Alert, now: Moment) -> bool:
        """
        Take note of *alert*.

        Returns:
            Whether it is news: something has begun, got worse, or is over.
        """
        wanted = alert.rule in self._on
        if alert.resolves:
            return self._consider_end(alert, now, wanted)
        if not wanted and not (alert.rule == "down" and "recovered" in self._on):
            return False
        subject = self._subject(alert, now)
        if subject is None:
            return False
        if not wanted:
            subject.begins_silently(alert, now)
            return False
        subject.reminders = True
        if subject.holds:
            return self._consider_again(subject, alert, now)
        subject.begins(alert, now)
        self._wait(subject, now)
        return True

    def _consider_again(self, subject: _Subject, alert: Alert, now: Moment) -> bool:
        worse = rank(alert.severity) > rank(subject.alarm.severity)
        subject.alarm = alert
        if worse:
            self._wait(subject, now)
        return worse

    def _consider_end(self, alert: Alert, now: Moment, wanted: bool) -> bool:
        subject = self._subjects.get(_about(alert))
        if subject is None or not subject.holds:
            return False
        subject.holds, subject.resolution = False, alert
        muted = self._muted_until(subject.provider, now) > now.steady
        if not wanted or (muted and not subject.told):
            if subject.told or muted:  # nothing is left to tell
                subject.told, subject.waiting, subject.opened = False, None, 0
            return wanted
        self._wait(subject, now)
        return True

    def _wait(self, subject: _Subject, now: Moment) -> None:
        if self._slot(now) > now.steady + self._config.group:
            self._withheld += 1
        if subject.waiting is None:
            subject.waiting = now.steady

    def _subject(self, alert: Alert, now: Moment) -> _Subject | None:
        about = _about(alert)
        subject = self._subjects.get(about)
        if subject is None:
            if len(self._subjects) >= MOST_SUBJECTS and not self._make_room(now):
                self._withheld += 1
                return None
            subject = self._subjects[about] = _Subject(alert)
        return subject

    def _make_room(self, now: Moment) -> bool:
        self._forget_settled(now)
        if len(self._subjects) >= MOST_SUBJECTS:
            for about, subject in self._subjects.items():
                if subject.waiting is None:
                    del self._subjects[about]
                    break
        return len(self._subjects) < MOST_SUBJECTS

    def _forget_settled(self, now: Moment) -> None:
        self._subjects = {about: each for about, each in self._subjects.items() if not each.settled(now)}

    def pause(self, provider: str) -> None:
        """Nobody looks at *provider* any more: do not repeat that it is down, until that is found again."""
        subject = self._subjects.get(("down", provider, *(None for _ in _ABOUT)))
        if subject is not None:
            subject.reminders = False

    def mute(self, provider: str, seconds: float | None, now: Moment) -> None:
        """Tell nothing of *provider* for *seconds*; None: until :meth:`unmute`."""
        if provider not in self._muted and len(self._muted) >= _MOST_MUTED:
            over = [name for name, until in self._muted.items() if until <= now.steady]
            for name in over or [next(iter(self._muted))]:
                del self._muted[name]
        self._muted[provider] = math.inf if seconds is None else now.steady + seconds

    def unmute(self, provider: str) -> None:
        """Tell of *provider* again, and what holds; also where the settings mute it."""
        self._muted.pop(provider, None)

    def suspend(self, provider: str) -> None:
        """Tell nothing of *provider*, which is in maintenance, until :meth:`resume`, whatever is unmuted meanwhile."""
        if len(self._suspended) < _MOST_MUTED:
            self._suspended.add(provider)

    def resume(self, provider: str) -> None:
        """End :meth:`suspend`."""
        self._suspended.discard(provider)

    def offline(self, now: Moment) -> None:
        """This machine's network is gone: nobody could be told. Wait for :meth:`online`, for ten minutes at most."""
        self._offline_until = now.steady + LONGEST_OFFLINE

    def online(self) -> None:
        """The network is back."""
        self._offline_until = -math.inf

    def _muted_until(self, provider: str, now: Moment) -> float:
        if provider in self._suspended:
            return math.inf
        return self._muted.get(provider, now.steady)

    def due(self, now: Moment) -> list[Group]:
        """What is to be sent now: one group, or none."""
        self._remind(now)
        ready = [each for each in self._subjects.values() if self._ready_at(each, now) <= now.steady]
        if not ready or self._slot(now) > now.steady or min(map(_waiting, ready)) + self._config.group > now.steady:
            return []
        return [self._group(ready, now)]

    def last(self, now: Moment) -> tuple[Group | None, Group | None]:
        """Everything that waits, as the program ends: what is sent, and what quiet hours hold back; or None."""
        ready = [each for each in self._subjects.values() if self._ready_at(each, now) <= now.steady]
        held = [
            each
            for each in self._subjects.values()
            if each not in ready and each.waiting is not None and self._muted_until(each.provider, now) <= now.steady
        ]
        if self._slot(now) > now.steady:
            ready, held = [], ready + held
        sent = self._group(ready, now) if ready else None
        return sent, self._group(held, now) if held else None

    def _group(self, ready: list[_Subject], now: Moment) -> Group:
        ready.sort(key=lambda each: (not each.urgent, _waiting(each)))
        alerts = tuple(self._tell(each, now) for each in ready[:MOST_IN_A_GROUP])
        group = Group(at=now.wall, alerts=alerts, withheld=self._withheld)
        self._sent.append(now.steady)
        self._withheld = 0
        self._forget_settled(now)
        return group

    def next_due(self, now: Moment) -> float | None:
        """When :meth:`due` may have something, on the steady scale; None: not before something happens."""
        moments = [*self._waits(now), *self._reminders()]
        if not moments:
            return None
        first = max(min(moments), self._slot(now))
        return None if first == math.inf else first

    def _waits(self, now: Moment) -> Iterator[float]:
        for each in self._subjects.values():
            if each.waiting is not None:
                yield max(each.waiting + self._config.group, self._ready_at(each, now))

    def _reminders(self) -> Iterator[float]:
        for each in self._subjects.values():
            if self._reminds(each):
                yield each.told_at + self._config.repeat + self._config.group

    def _reminds(self, subject: _Subject) -> bool:
        return subject.holds and subject.told and subject.reminders and subject.waiting is None

    def _remind(self, now: Moment) -> None:
        for each in self._subjects.values():
            if self._reminds(each) and each.told_at + self._config.repeat <= now.steady:
                each.waiting = each.told_at + self._config.repeat

    def _ready_at(self, subject: _Subject, now: Moment) -> float:
        """From when on *subject* may be told, on the steady scale; gathering apart."""
        if subject.waiting is None:
            return math.inf
        at = max(now.steady, subject.held_until, self._offline_until, self._muted_until(subject.provider, now))
        if self._quiet is not None and not subject.urgent:
            # The difference first: a small number beside a large one loses its last digits.
            at = max(at, now.steady + (self._quiet.end_after(now.wall) - now.wall))
        return at

    def _slot(self, now: Moment) -> float:
        """From when on another group may be sent in this hour, on the steady scale."""
        full = len(self._sent) == self._config.max_per_hour
        return self._sent[0] + _HOUR if full else now.steady

    def _tell(self, subject: _Subject, now: Moment) -> Alert:
        """What is told of *subject*, which counts as told from now on."""
        alert = _told(subject, now)
        if subject.lately(now) >= FLAPPING_FROM:
            subject.held_until = now.steady + FLAPPING_WINDOW
        subject.told, subject.told_at, subject.told_severity = subject.holds, now.steady, subject.alarm.severity
        subject.waiting, subject.opened = None, 0
        return alert


def _about(alert: Alert) -> tuple[object, ...]:
    rule = "down" if alert.rule == "recovered" else alert.rule
    return (rule, alert.provider, *(alert.details.get(name) for name in _ABOUT))


def _waiting(subject: _Subject) -> float:
    return math.inf if subject.waiting is None else subject.waiting


def _told(subject: _Subject, now: Moment) -> Alert:
    alarm, resolution = subject.alarm, subject.resolution
    lately = subject.lately(now)
    times = max(subject.opened, lately if lately >= FLAPPING_FROM and subject.opened else 0)
    if subject.holds and times > 1:
        return _changed(alarm, title=f"{alarm.title} {_times(subject, times)}", since=subject.since, times=times)
    if subject.holds and not (subject.told and rank(alarm.severity) <= rank(subject.told_severity) and not times):
        return alarm
    if subject.holds:
        return _reminder(subject, now)
    assert resolution is not None  # noqa: S101 -- what does not hold any more has ended
    if not times:
        lasted = _roughly(resolution.at - subject.since)
        return _changed(resolution, message=f"{resolution.message} It lasted for {lasted}.", since=subject.since)
    often = f" {_times(subject, times)}" if times > 1 else ""
    over = msgspec.structs.replace(alarm, at=resolution.at, severity=INFO, resolves=True)
    return _changed(over, title=f"{alarm.title}{often}, and it is over", since=subject.since, times=times)


def _reminder(subject: _Subject, now: Moment) -> Alert:
    alarm = subject.alarm
    ago = _roughly(now.wall - subject.since)
    return _changed(alarm, at=now.wall, title=f"still: {alarm.title} ({ago} ago)", since=subject.since)


def _roughly(seconds: float) -> str:
    """In words, to a tenth of an hour where it is hours; a clock that was set back makes nothing negative."""
    return in_words(max(0.0, seconds) if seconds < 2 * _HOUR else 360 * round(seconds / 360))


def _times(subject: _Subject, times: int) -> str:
    openings = subject.openings
    took = openings[-1] - openings[-min(times, len(openings))]
    return f"{times} times in {in_words(took)}" if took else f"{times} times"


def _changed(
    alert: Alert, *, title: str | None = None, message: str | None = None, at: float | None = None, **details: float
) -> Alert:
    return msgspec.structs.replace(
        alert,
        at=alert.at if at is None else at,
        title=alert.title if title is None else shorten(title, LONGEST_TITLE),
        message=alert.message if message is None else shorten(message.strip(), LONGEST_MESSAGE),
        details={**alert.details, **details},
    )

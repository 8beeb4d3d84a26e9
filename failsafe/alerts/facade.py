"""Alerts in one object: fed with events and figures, it tells whom the settings name."""

from __future__ import annotations

import atexit
import contextlib
import logging
import math
import socket
import threading
import weakref
from collections.abc import Callable, Iterable, Sequence
from datetime import tzinfo
from decimal import Decimal
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Self

from failsafe import forking
from failsafe.alerts.formats import as_json, as_slack
from failsafe.alerts.grouping import Group, Grouping, Moment
from failsafe.alerts.rules import Rules
from failsafe.alerts.sinks import Log, Sink
from failsafe.clock import SYSTEM_CLOCK, Clock, Random, new_random
from failsafe.events import Alert, AttemptFinished, CallFinished, Event, NetworkChanged, StatusChanged, WatchChanged
from failsafe.monitoring_config import AlertConfig, SpendConfig
from failsafe.secret import Secret
from failsafe.telemetry.bus import EventBus
from failsafe.telemetry.views import ErrorBudget, TargetState, Uptime
from failsafe.workers import Workers

if TYPE_CHECKING:
    from failsafe.router import Router

_logger = logging.getLogger("failsafe.alerts")

_LOOK_AGAIN = 60.0  # seconds: while something waits, the wall's clock is looked at that often, as it may be set
_SPENDING_EVERY = 10.0
_CALLBACKS = 1000  # alerts that wait for listeners
_AT_EXIT = 2.0
_CLOSING = 1.0


class Alerts:
    """
    Tells people what they should know of: gathered, once, and not in the night.

    It is fed from any thread and costs whoever feeds it some microseconds; one thread of its own, which exists only
    while something waits, sends groups to the log, the webhook and the command, another one calls listeners. What
    cannot be sent is dropped and counted. Thread-safe. A forked child begins afresh: its parent tells what it knows.

    ::

        with Alerts(AlertConfig(webhook="env:ALERT_WEBHOOK", webhook_format="slack")) as alerts:
            alerts.watch(router)

    A monitor owns one, hands it each event that it emits (:meth:`consider`), now and then the figures that no event
    carries (:meth:`consider_budget`, :meth:`consider_spend`), and closes it. It need not call :meth:`tick`.

    Args:
        config: What is reported, and to whom.
        clock: The source of time.
        random: The source of chance.
        emit: Is given each alert as an event when it begins, gets worse and ends, muted or not and before any
            gathering: a router's reporter, or what records it. Must not block.
        secrets: Keys that no text may show, and no command may find in its environment.
        zone: Whose local time quiet hours mean; None: this machine's.
        sinks: Where groups go in place of what *config* says.

    Raises:
        ConfigError: The webhook's address cannot be used.
    """

    def __init__(
        self,
        config: AlertConfig | None = None,
        *,
        clock: Clock = SYSTEM_CLOCK,
        random: Random | None = None,
        emit: Callable[[Event], object] | None = None,
        secrets: Iterable[Secret] = (),
        zone: tzinfo | None = None,
        sinks: Sequence[Sink] | None = None,
    ) -> None:
        self.config = config or AlertConfig()
        self._clock = clock
        self._random = random or new_random()
        self._emit = emit
        self._secrets = tuple(secrets)
        self._zone = zone
        self._sinks = _sinks(self.config, clock, self._random, self._secrets) if sinks is None else tuple(sinks)
        self._workers = Workers("failsafe-alerts", 1, clock=clock)
        self._listeners = EventBus(_CALLBACKS)
        self._watched: list[Callable[[], None]] = []
        self._closed = False
        self.sent = 0
        """Groups that were handed to the sinks."""
        self._start_afresh()
        forking.register(self)
        _open.add(self)

    def _start_afresh(self) -> None:
        self._lock = threading.RLock()  # a signal handler may mute while this thread holds it
        self._rules = Rules(self._secrets)  # guarded by _lock
        self._grouping = Grouping(self.config, self._zone)  # guarded by _lock
        self._looks_at: float | None = None  # when the thread looks, on the clock's steady scale; guarded by _lock
        self._delivering: threading.Thread | None = None

    _after_fork = _start_afresh

    def watch(self, router: Router) -> Callable[[], None]:
        """
        Consider every event of *router* from now on, and now and then what it has spent.

        Returns:
            A function that ends this; :meth:`close` does, too.
        """
        end = router.on_event(_Watch(self, router))
        self._watched.append(end)
        return end

    def consider(self, event: Event) -> None:
        """Report *event* if it is one to be reported; all others are passed over at once."""
        now = self._now()
        with self._lock:
            self._note(event, now)
            news = self._news(self._rules.of(event), now)
        self._tell_of(news)
        if isinstance(event, WatchChanged | NetworkChanged):  # what was held back may be told now
            self._plan()

    def _note(self, event: Event, now: Moment) -> None:
        """What an event says about whom to tell of, and when."""
        if isinstance(event, WatchChanged):
            if event.state == TargetState.MAINTENANCE:
                self._grouping.suspend(event.provider)
            else:
                self._grouping.resume(event.provider)
            if event.state != "watched":
                self._grouping.pause(event.provider)
        elif isinstance(event, StatusChanged) and event.new == TargetState.UNKNOWN:
            self._grouping.pause(event.provider)
        elif isinstance(event, NetworkChanged):
            if event.up:
                self._grouping.online()
            else:
                self._grouping.offline(now)

    def consider_budget(
        self,
        provider: str,
        budget: ErrorBudget,
        now: float | None = None,
        *,
        last_six_hours: Uptime | None = None,
    ) -> None:
        """
        Report it if the time that *provider* may be down runs out fast, and that it no longer does.

        Args:
            provider: Its name.
            budget: Its budget, with the burn rate of the last hour.
            now: When that was read, seconds since 1970-01-01 UTC; None: now.
            last_six_hours: How it was in them; None: what goes on slowly is not reported.
        """
        moment = self._now()
        with self._lock:
            alert = self._rules.budget(provider, budget, moment.wall if now is None else now, last_six_hours)
            news = self._news([] if alert is None else [alert], moment)
        self._tell_of(news)

    def consider_spend(
        self,
        provider: str,
        caps: SpendConfig,
        *,
        day: Decimal | float,
        month: Decimal | float,
        now: float | None = None,
    ) -> None:
        """
        Report it if *provider* has spent most or all of what it may, and when a new day or month has begun.

        Args:
            provider: Its name; "" for all together.
            caps: What may be spent.
            day: USD spent on this day (UTC).
            month: USD spent in this month (UTC).
            now: When that was read, seconds since 1970-01-01 UTC; None: now.
        """
        moment = self._now()
        with self._lock:
            alerts = self._rules.spend(provider, caps, day=day, month=month, at=moment.wall if now is None else now)
            news = self._news(alerts, moment)
        self._tell_of(news)

    def _news(self, alerts: list[Alert], now: Moment) -> list[Alert]:
        return [] if self._closed else [alert for alert in alerts if self._grouping.consider(alert, now)]

    def _tell_of(self, news: list[Alert]) -> None:
        if not news:
            return
        if self._emit is not None:
            for alert in news:
                try:
                    self._emit(alert)
                except Exception:
                    _logger.exception("an alert could not be recorded")
        self._plan(after=self.config.group)

    def on_alert(self, listener: Callable[[Alert], object]) -> Callable[[], None]:
        """
        Call *listener* with each alert that is sent, repetitions and summaries included, on a thread of its own.

        Returns:
            A function that ends this.
        """

        def deliver(event: Event) -> None:
            if isinstance(event, Alert):
                listener(event)

        return self._listeners.subscribe(deliver)

    def mute(self, provider: str, seconds: float | None = None) -> None:
        """
        Tell nothing of *provider* for *seconds*; None: until :meth:`unmute`.

        What still holds then is told then; what has come and gone is not.
        """
        now = self._now()
        with self._lock:
            self._grouping.mute(provider, seconds, now)

    def unmute(self, provider: str) -> None:
        """Tell of *provider* again, also where the settings mute it."""
        with self._lock:
            self._grouping.unmute(provider)
        self._plan()

    def _now(self, wall: float | None = None) -> Moment:
        return Moment(self._clock.monotonic(), self._clock.time() if wall is None else wall)

    def tick(self, now: float | None = None) -> None:
        """
        Look at once whether something is to be sent. Returns at once; only needed with a clock that is set by hand.

        Args:
            now: Seconds since 1970-01-01 UTC, by which quiet hours are judged; None: as the clock says.
        """
        self._workers.later(0.0, partial(_look, weakref.ref(self), now))

    def _plan(self, after: float = 0.0) -> None:
        """See that somebody looks when something is due, which is not within *after* seconds from now."""
        now = self._now()
        with self._lock:
            if self._looks_at is not None and now.steady <= self._looks_at <= now.steady + after:
                return
            due = self._grouping.next_due(now)
            if due is None or self._closed:
                return
            due = min(max(due, now.steady), now.steady + _LOOK_AGAIN)
            if self._looks_at is not None and now.steady <= self._looks_at <= due:
                return
            self._looks_at = due
        # The job holds this object weakly: one that is forgotten while it waits goes away.
        self._workers.later(due - now.steady, partial(_look, weakref.ref(self)))

    def look(self, wall: float | None = None) -> None:
        """Send what is due, in this thread. For the thread that delivers."""
        while groups := self._due(wall):
            for group in groups:
                self._deliver(group, self._sinks)
        self._plan()

    def _due(self, wall: float | None) -> list[Group]:
        now = self._now(wall)
        with self._lock:
            self._looks_at = None
            return [] if self._closed else self._grouping.due(now)

    def _deliver(self, group: Group, sinks: Iterable[Sink]) -> None:
        name = f"{self._random.getrandbits(64):016x}"
        self._delivering = threading.current_thread()
        try:
            self.sent += 1
            for alert in group.alerts:
                self._listeners.emit(alert)
            for sink in sinks:
                try:
                    sink.deliver(group, name)
                except Exception:
                    _logger.exception("alerts could not be delivered")
        finally:
            self._delivering = None

    @property
    def dropped(self) -> int:
        """Groups that a sink could not deliver, and alerts that listeners were too slow for."""
        return sum(sink.dropped for sink in self._sinks) + self._listeners.dropped

    def flush(self, timeout: float = 5.0) -> bool:
        """
        Wait until what is due by now was sent and the listeners were called; for tests.

        Returns:
            Whether that was so within *timeout* seconds (of real time).
        """
        end = SYSTEM_CLOCK.monotonic() + timeout
        done = threading.Event()
        self.tick()
        self._workers.later(0.0, done.set)
        sent = self._closed or done.wait(timeout)
        return sent and self._await_listeners(max(0.0, end - SYSTEM_CLOCK.monotonic()))

    def _await_listeners(self, timeout: float) -> bool:
        if not self._listeners.active:
            return True
        done = threading.Event()
        end = self._listeners.subscribe(lambda _: done.set())
        try:
            self._listeners.emit(Event(at=self._clock.time()))
            return done.wait(timeout)
        finally:
            end()

    def close(self, timeout: float = 5.0) -> bool:
        """
        Send what waits, for at most *timeout* seconds, and end the threads. Idempotent.

        What is held back for the night goes to the log, if that is on. What is not sent by then is given up: a
        webhook at once, a command within a second or so.

        Returns:
            Whether everything was sent.
        """
        with self._lock:
            if self._closed:
                return True
            self._closed = True
        end = SYSTEM_CLOCK.monotonic() + timeout
        try:
            for unsubscribe in self._watched:
                unsubscribe()
            return self._send_the_last(timeout)
        finally:
            for sink in self._sinks:
                sink.stop()
            self._workers.close(max(_CLOSING, end - SYSTEM_CLOCK.monotonic()))
            self._listeners.close(max(0.0, end - SYSTEM_CLOCK.monotonic()))
            _open.discard(self)

    def _send_the_last(self, timeout: float) -> bool:
        now = self._now()
        with self._lock:
            sent, held = self._grouping.last(now)
        if sent is None and held is None and not self._workers.threads:
            return True
        done = threading.Event()
        self._workers.later(0.0, partial(self._deliver_last, sent, held, done))
        # Closed by what it delivers to, it cannot wait for itself.
        return self._delivering is not threading.current_thread() and done.wait(timeout)

    def _deliver_last(self, sent: Group | None, held: Group | None, done: threading.Event) -> None:
        try:
            if sent is not None:
                self._deliver(sent, self._sinks)
            if held is not None:
                self._deliver(held, [sink for sink in self._sinks if isinstance(sink, Log)])
        finally:
            done.set()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<Alerts {self.sent} groups sent, {self.dropped} dropped>"


class _Watch:
    """The listener of a router: its events, and what it spends, which is looked at when something was sent."""

    __slots__ = ("_alerts", "_looked_at", "_router")

    def __init__(self, alerts: Alerts, router: Router) -> None:
        self._alerts = alerts
        self._router = weakref.ref(router)
        self._looked_at = -math.inf

    def __call__(self, event: Event) -> None:
        self._alerts.consider(event)
        if isinstance(event, AttemptFinished | CallFinished) and abs(event.at - self._looked_at) >= _SPENDING_EVERY:
            self._looked_at = event.at
            router = self._router()
            for each in () if router is None else router.spend():
                self._alerts.consider_spend(each.provider, each.caps, day=each.day, month=each.month)


def _look(alerts: weakref.ref[Alerts], wall: float | None = None) -> None:
    found = alerts()
    if found is not None:
        found.look(wall)


def _sinks(config: AlertConfig, clock: Clock, random: Random, secrets: tuple[Secret, ...]) -> tuple[Sink, ...]:
    """What *config* names; the log first, which waits for nobody."""
    found: list[Sink] = [Log()] if config.log else []
    host = socket.gethostname()
    if config.webhook is not None:
        from failsafe.alerts.webhook import Webhook  # what imports the transport is for those who have one

        assert isinstance(config.webhook, Secret)  # noqa: S101 -- as the settings make it
        render = partial(as_slack if config.webhook_format == "slack" else as_json, host=host)
        found.append(Webhook(config.webhook, render, clock=clock, random=random))
        secrets = (*secrets, config.webhook)
    if config.command is not None:
        from failsafe.alerts.command import Command

        found.append(Command(config.command, partial(as_json, host=host), secrets=secrets))
    return tuple(found)


_open: weakref.WeakSet[Alerts] = weakref.WeakSet()


@atexit.register
def _close_all(within: float = _AT_EXIT) -> None:
    """Let a program that ends send what waits, all of it within two seconds."""
    end = SYSTEM_CLOCK.monotonic() + within
    for alerts in list(_open):
        with contextlib.suppress(Exception):
            alerts.close(max(0.0, end - SYSTEM_CLOCK.monotonic()))

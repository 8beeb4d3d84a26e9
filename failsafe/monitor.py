"""
Watches the providers of a router: probes them, judges them, and says when that changes.

::

    with HealthMonitor(router) as monitor:
        monitor.status()                                 # {"openai": ProviderStatus.HEALTHY, ...}
        monitor.describe("openai").reasons               # why, in words
        monitor.get_uptime_percentage("openai")          # of the last 24 hours

The guide is ``docs/health.md``.
"""

from __future__ import annotations

import logging
import math
import threading
import weakref
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import msgspec

from failsafe import checks, forking, turns
from failsafe.alerts import Alerts
from failsafe.clock import Clock, Random
from failsafe.deadline import CancelToken, Deadline
from failsafe.durations import in_words
from failsafe.errors import BulkheadFull, ConfigError, RateLimitReached, RouterClosed, StoreUnavailable
from failsafe.events import (
    Alert,
    AttemptFinished,
    CircuitState,
    Event,
    NetworkChanged,
    ProbeFinished,
    PutOff,
    StateChanged,
    StatusChanged,
    WatchChanged,
)
from failsafe.faults import Fault
from failsafe.health import Health, ProviderStatus, Signs, assess
from failsafe.masking import mask
from failsafe.models import Attempt
from failsafe.monitoring_config import MonitorConfig
from failsafe.network_guard import NetworkGuard, host_of, silent
from failsafe.probing import COMPLETION, Prober
from failsafe.sightings import Lately, Sightings
from failsafe.signal_safe import SignalSafeEvent
from failsafe.telemetry.outcomes import Outcome, outcome_of
from failsafe.telemetry.uptime import UptimeRule, summed_up
from failsafe.telemetry.views import LastOutcomes, Span, TargetState
from failsafe.transport.base import Limits
from failsafe.turns import MAINTENANCE, PAUSED, WATCHED, Place, Watch
from failsafe.weakly import weakly
from failsafe.workers import Handle, Workers

if TYPE_CHECKING:
    from failsafe.router import Router

_DAY = 86_400.0
_LOOK_AGAIN = 5.0
"""Seconds between two looks at what is due, at the most: a clock that was set, or a night's sleep, shows then."""
_STEP = 5.0
"""Seconds by which the two clocks may drift apart between two looks."""
_SOON = 5.0
"""Seconds over which the first probes after a gap are spread."""
_BUDGETS = 60.0
"""Seconds between two looks at the error budgets."""
_SIX_HOURS = 6 * 3600.0
_YEARS = 3660 * _DAY
_STOPPING = 5.0
_FLUSH = 1.0
_ADDRESS_LIMIT = 5.0
_SHUT = frozenset({CircuitState.OPEN, CircuitState.FORCED_OPEN})

_STATES = {PAUSED: TargetState.PAUSED, MAINTENANCE: TargetState.MAINTENANCE}

_logger = logging.getLogger("failsafe.monitor")


class _Visit:
    """A probe under way, and what it found; None: it could not be made."""

    def __init__(self) -> None:
        self.done = SignalSafeEvent()
        self.found: ProbeFinished | None = None


class _Watched:
    """One provider, and what the monitor knows of it."""

    def __init__(self, prober: Prober, config: MonitorConfig) -> None:
        self.prober = prober
        self.name = prober.endpoint.name
        self.interval = prober.settings.interval or config.interval
        self.limit = prober.settings.latency_limit_ms
        self.sightings = Sightings(UptimeRule.of(config, self.interval), config.window, self.limit)
        self.due = -math.inf  # on the monotonic scale
        self.called_at = -math.inf  # likewise; when a call has told about it
        self.watch = Watch()  # replaced as a whole
        self.others: tuple[float, LastOutcomes] | None = None  # when the store was asked, and what it said
        self.place = Place(self.name, prober.endpoint.config.base_url, self.interval)
        self.host = host_of(self.place.base_url)
        self.leased = False
        self.told = ProviderStatus.UNKNOWN
        self.visit: _Visit | None = None  # guarded by the monitor's lock for writing


class HealthMonitor:
    """
    Probes the providers of a router at intervals and judges how they are doing. Thread-safe.

    Calls of the router count as well, so that a busy provider is not probed. Threads are daemons, named
    ``failsafe-monitor...``, and end with :meth:`stop`, with the monitor when nobody has it any more, and with the
    program. A forked child does not watch until it starts a monitor; the copy of its parent's may be started there.

    Args:
        router: Whose providers.
        config: How; None: as the router's settings say.
        clock: The source of time; None: the router's.
        random: The source of chance; None: the router's.

    Attributes:
        config: How it watches.
        alerts: Who is told what.

    Raises:
        ConfigError: A provider cannot be probed as its settings say.
    """

    def __init__(
        self,
        router: Router,
        config: MonitorConfig | None = None,
        *,
        clock: Clock | None = None,
        random: Random | None = None,
    ) -> None:
        self.config = config or router.config.monitor
        self._router = router
        shared = router._shared  # noqa: SLF001 -- a monitor is a part of its router that most do without
        self._clock = clock or shared.clock
        self._random = random or shared.random
        self._providers = {name: _Watched(router._prober(name), self.config) for name in router.providers}  # noqa: SLF001
        for each in self._providers.values():
            if each.prober.kind != "off":
                each.prober.check()
        self._guard = NetworkGuard(
            {each.name: each.host for each in self._providers.values()},
            self.config.network_check,
            weakly(self._reaches, otherwise=False),
            _reaches_address,
            timeout=self.config.timeout,
        )
        self._alert_listeners: list[Callable[[Alert], object]] = []
        self._running = False
        self._begin_afresh()
        self._start_afresh()
        forking.register(self)
        for end in (
            router.on_event(weakly(self._hear, otherwise=None), sync=True),
            router.on_event(weakly(self._pass_on, otherwise=None)),
        ):
            weakref.finalize(self, end).atexit = False

    def _begin_afresh(self) -> None:
        """Make what :meth:`stop` has used up."""
        self._probes = Workers("failsafe-monitor-probe", self.config.workers, clock=self._clock)
        self._schedule = Workers("failsafe-monitor", 1, clock=self._clock)
        self._cancel = CancelToken()
        self._budgets_due = -math.inf
        self._clocks = self._clock.monotonic(), self._clock.time()
        keys = [key for each in self._router.config.providers for key in each.keys]
        self.alerts = Alerts(
            self._router.config.alerts,
            clock=self._clock,
            random=self._random,
            emit=self._router._report,  # noqa: SLF001 -- as above
            secrets=keys,
        )
        for listener in self._alert_listeners:
            self.alerts.on_alert(listener)

    def _start_afresh(self) -> None:
        self._lock = threading.RLock()  # a signal handler may stop it while this thread holds it
        self._telling = threading.Lock()
        self._tell_again = False
        self._planned: tuple[float, Handle] | None = None  # the next look at what is due; guarded by _lock

    def _after_fork(self) -> None:
        self._start_afresh()
        self._running = False
        for each in self._providers.values():
            each.visit, each.leased = None, False

    # Watching.

    def start(self) -> None:
        """
        Begin to watch; does nothing while it watches already. Every provider is probed at once.

        Raises:
            RouterClosed: The router is closed.
        """
        if self._router._no_probes.cancelled:  # noqa: SLF001 -- as above
            raise RouterClosed("this router is closed; make a new one, and a monitor for it")
        with self._lock:
            if self._running:
                return
            self._running = True
            if self._cancel.cancelled:
                self._begin_afresh()
            self._clocks = self._clock.monotonic(), self._clock.time()
            for each in self._providers.values():
                each.due = -math.inf
        recording = self._router._recording  # noqa: SLF001 -- as above
        if recording is not None:
            recording.watched(self.config, {name: each.interval for name, each in self._providers.items()})
        if turns.is_offline(self._router.store):
            self._guard.note_down()  # the first answer ends that, for all programs
        self._wake()

    def stop(self, timeout: float = _STOPPING) -> bool:
        """
        End watching: probes under way are given up, and other processes may probe at once. Idempotent.

        Args:
            timeout: Seconds to wait at most.

        Returns:
            Whether all threads have ended by then.
        """
        with self._lock:
            self._running = False
            if self._cancel.cancelled:
                return True
        deadline = Deadline.after(max(timeout, 0.001))
        self._cancel.cancel()
        ended = self._schedule.close(deadline.left)
        ended = self._probes.close(deadline.left) and ended
        self._give_leases_back()
        self.alerts.close(deadline.left)
        return ended

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def running(self) -> bool:
        """Whether it watches."""
        return self._running

    def check(self, provider: str) -> ProbeFinished:
        """
        Probe *provider* now, on this thread, paused or not; a probe of it that is under way is waited for instead.

        Raises:
            ConfigError: There is no such provider, or its probe is off.
            BulkheadFull: As many calls are under way to it as it may have, so that no completion was asked.
            RateLimitReached: A rate limit, or the provider itself, allows no completion now.
            RouterClosed: The router is closed.
        """
        each = self._named(provider)
        each.prober.check()
        while True:
            mine = _Visit()
            try:
                visit = self._begin_visit(each, mine)
                if visit is mine:
                    mine.found = self._probe(each, None)
            finally:
                self._end_visit(each, mine)
            if mine.found is not None:
                break
            visit.done.wait(each.prober.timeout)
            if visit.found is not None:
                return visit.found
        each.due = self._after(each, self._clock.monotonic())
        self._tell_changes()
        return mine.found

    def check_all(self) -> dict[str, ProbeFinished]:
        """
        Probe every provider now that is not paused and whose probe is not off, several at once; what was found.

        Left out are those of which a limit allows no completion now.

        Raises:
            RouterClosed: The router is closed.
        """
        asked = [each.name for each in self._providers.values() if self._is_probed(each)]
        found: dict[str, ProbeFinished] = {}
        helpers = [_Helper(self, asked, found) for _ in range(min(self.config.workers, len(asked)) - 1)]
        try:
            for helper in helpers:
                helper.engage(self._probes)
            _check_each(self, asked, found)
            for helper in helpers:
                helper.done.wait()  # for a probe at the most, which its deadline bounds
        finally:
            asked.clear()  # whoever is interrupted wants no more
        return found

    # What is known.

    def status(self) -> dict[str, ProviderStatus]:
        """How each provider is doing, by name."""
        return {each.name: self._health(each).status for each in self._providers.values()}

    def describe(self, provider: str) -> Health:
        """
        How *provider* is doing, and why, in words.

        Raises:
            ConfigError: There is no such provider.
        """
        return self._health(self._named(provider))

    def get_uptime_percentage(self, provider: str, window: float = _DAY) -> float | None:
        """
        How much of the last *window* seconds *provider* was up, in per cent; None: less than a hundredth is known.

        Times of pause and maintenance, and those of which nothing is known, do not count (``docs/health.md``).

        Raises:
            ConfigError: There is no such provider.
        """
        ended = self._clock.time()
        return summed_up(self._spans(self._named(provider), ended - window, ended), ended - window, ended).percentage

    def history(self, provider: str, window: float = _DAY) -> list[Span]:
        """
        How *provider* was at each moment of the last *window* seconds: spans next to each other, in order.

        Out of the store if there is one, with what other programs have seen; else of what this monitor has seen.

        Raises:
            ConfigError: There is no such provider.
        """
        ended = self._clock.time()
        return self._spans(self._named(provider), ended - window, ended)

    def _spans(self, each: _Watched, began: float, ended: float) -> list[Span]:
        store = self._router.store
        if store is not None:
            with suppress(StoreUnavailable):
                store.flush(_FLUSH)
                with store.reader() as reader:
                    target = reader.target(each.name, each.place.base_url)
                    if target is not None:
                        return reader.spans(target.id, began, ended)
        return each.sightings.spans(began, ended)

    def on_status(self, listener: Callable[[StatusChanged], object]) -> Callable[[], None]:
        """
        Call *listener* with each change of a status, on the thread of the router's listeners.

        Returns:
            A function that ends this.
        """

        def deliver(event: Event) -> None:
            if isinstance(event, StatusChanged):
                listener(event)

        return self._router.on_event(deliver)

    def on_alert(self, listener: Callable[[Alert], object]) -> Callable[[], None]:
        """
        Call *listener* with each alert that is sent; see :meth:`failsafe.alerts.Alerts.on_alert`.

        Returns:
            A function that ends this.
        """
        self._alert_listeners.append(listener)
        end = self.alerts.on_alert(listener)

        def forget() -> None:
            end()
            with suppress(ValueError):
                self._alert_listeners.remove(listener)

        return forget

    # How it is watched.

    def pause(self, provider: str, note: str = "") -> None:
        """
        Do not probe *provider*, and count the time neither for nor against it, until :meth:`resume`.

        With a store that goes for the monitors of all programs. Calls go to it as ever.

        Args:
            provider: Its name.
            note: Why.

        Raises:
            ConfigError: There is no such provider.
        """
        self._set_watch(self._named(provider), PAUSED, note)

    def maintenance(
        self, provider: str, note: str = "", *, seconds: float | None = None, until: float | None = None
    ) -> None:
        """
        As :meth:`pause`, for work on *provider* that was announced; no alert tells of it meanwhile.

        Args:
            provider: Its name.
            note: Why.
            seconds: For how long; None: until :meth:`resume`.
            until: In place of that, until when (seconds since 1970-01-01 UTC). This process has to be there then.

        Raises:
            ConfigError: There is no such provider, or the time is not in the future.
        """
        each = self._named(provider)
        now = self._clock.time()
        if seconds is not None and until is not None:
            raise ConfigError("maintenance: give seconds or until, not both")
        if seconds is not None:
            until = now + checks.number("seconds", seconds, above=0, most=_YEARS)
        elif until is not None:
            checks.number("until", until, above=now, most=now + _YEARS)
        self._set_watch(each, MAINTENANCE, note, until)

    def resume(self, provider: str, note: str = "") -> None:
        """
        End :meth:`pause` or :meth:`maintenance`: *provider* is probed at once.

        Raises:
            ConfigError: There is no such provider.
        """
        self._set_watch(self._named(provider), WATCHED, note)

    def _set_watch(self, each: _Watched, state: str, note: str, until: float | None = None) -> None:
        now = self._clock.time()
        note = mask(note)
        each.watch = Watch(state, note, now, until)
        each.sightings.watch_from(self._covered_by(each), now)
        if state == WATCHED:
            each.due = -math.inf
        self._report(WatchChanged(at=now, provider=each.name, state=state, note=note))
        self._tell_changes()
        self._wake()

    def _covered_by(self, each: _Watched) -> TargetState | None:
        """What comes before all that is observed of a provider now."""
        return _STATES.get(each.watch.state) or (None if self._guard.up else TargetState.UNKNOWN)

    def _named(self, provider: str) -> _Watched:
        each = self._providers.get(provider)
        if each is None:
            raise ConfigError(f"provider = {provider!r}: one of {', '.join(self._providers)} is needed")
        return each

    # What is due.

    def _wake(self, delay: float = 0.0) -> None:
        """Look at what is due in *delay* seconds, unless that is done sooner anyway."""
        at = self._clock.monotonic() + delay
        with self._lock:
            if not self._running:
                return
            if self._planned is not None:
                planned_at, handle = self._planned
                if planned_at <= at and handle.pending:
                    return
                handle.cancel()
            self._planned = at, self._schedule.later(delay, weakly(self._tick, otherwise=None))

    def _tick(self) -> None:
        """Begin the probes that are due, and say what has changed. Runs on the scheduler's thread."""
        with self._lock:
            self._planned = None
        try:
            self._look_at_all(self._clock.monotonic())
        finally:  # a defect must not end the watching
            steady = self._clock.monotonic()
            self._wake(min(self._next_due(steady) - steady, _LOOK_AGAIN))

    def _look_at_all(self, steady: float) -> None:
        self._notice_gap(steady)
        for each in sorted(self._providers.values(), key=lambda one: one.due):
            self._end_maintenance(each)
            if each.due <= steady and self._is_probed(each) and not self._begin(each, steady):
                break  # every worker is busy: the one that is done looks again
        self._tell_changes()
        if steady >= self._budgets_due:
            self._budgets_due = steady + _BUDGETS
            self._probes.later(0.0, weakly(self._look_at_budgets, otherwise=None))

    def _next_due(self, steady: float) -> float:
        """When something is due next; what is due already and could not be begun is looked at when a worker is done."""
        later = (each.due for each in self._providers.values() if each.due > steady and self._is_probed(each))
        return min(later, default=math.inf)

    def _is_probed(self, each: _Watched) -> bool:
        return each.prober.kind != "off" and each.watch.state == WATCHED

    def _begin(self, each: _Watched, steady: float) -> bool:
        """Have a worker see to *each*; False: none is free."""
        if each.visit is not None:  # hanging, or checked by somebody
            each.due = self._after(each, steady)
            return True
        if self._probes.start(partial(weakly(self._see_to, otherwise=None), each)) is None:
            return False
        each.due = self._after(each, steady)
        return True

    def _after(self, each: _Watched, steady: float) -> float:
        """When *each* is due next: an interval from now, more or less; as soon as its breaker lets a probe pass."""
        share = 1.0 + self.config.jitter * (2.0 * self._random.random() - 1.0)
        due = steady + each.interval * share
        waits = each.prober.breaker_waits() if each.prober.kind == COMPLETION else None
        return due if waits is None or waits <= 0 else min(due, steady + waits)

    def _notice_gap(self, steady: float) -> None:
        """If the clocks went apart, the machine slept or its clock was set: what was known is known no more."""
        then_steady, then_wall = self._clocks
        wall = self._clock.time()
        self._clocks = steady, wall
        drift = (wall - then_wall) - (steady - then_steady)
        if abs(drift) <= _STEP:
            return
        _logger.info("this machine slept, or its clock was set (by %.0f s): nothing is known at present", drift)
        for each in self._providers.values():
            each.sightings.forget(min(then_wall, wall))
            each.others = None
            each.called_at = -math.inf
            each.due = self._soon(each, steady)

    def _soon(self, each: _Watched, steady: float) -> float:
        """When *each* is due after a time without knowledge: not all of them in one burst."""
        return steady + self._random.random() * min(_SOON, each.interval)

    def _end_maintenance(self, each: _Watched) -> None:
        until = each.watch.until
        if until is not None and self._clock.time() >= until:
            self._set_watch(each, WATCHED, "the announced time is over")

    # Probing.

    def _see_to(self, each: _Watched) -> None:
        """Probe *each*, unless somebody else does or its calls tell enough. Runs on a worker."""
        mine = _Visit()
        try:
            if self._begin_visit(each, mine) is mine and self._may_probe(each):
                probed = self._probe(each, self._cancel)
                mine.found = None if probed.fault is Fault.CANCELLED else probed
        except (BulkheadFull, RateLimitReached):
            pass  # a completion has to wait its turn as a call does
        except RouterClosed:
            self._running = False
        finally:
            if self._end_visit(each, mine):
                self._wake()

    def _begin_visit(self, each: _Watched, visit: _Visit) -> _Visit:
        """The visit under way: *visit*, if there was none."""
        with self._lock:
            each.visit = each.visit or visit
            return each.visit

    def _end_visit(self, each: _Watched, visit: _Visit) -> bool:
        """End *visit*, whether or not an interrupt let it begin; whether it was the one under way."""
        with self._lock:
            mine = each.visit is visit
            if mine:
                each.visit = None
        visit.done.set()
        return mine

    def _may_probe(self, each: _Watched) -> bool:
        mine = self._consult(each)
        if not mine or not self._is_probed(each):
            return False
        if each.prober.kind == COMPLETION:
            state, waits = each.prober.breaker_state, each.prober.breaker_waits()
            if waits == 0.0:
                return True  # a success brings it back, and no caller has to try
            if state in _SHUT and not self.config.probe_open:
                return False
        return not (self.config.skip_busy and self._is_busy(each))

    def _is_busy(self, each: _Watched) -> bool:
        """Whether calls have told about it within its interval, those of other programs included."""
        if self._clock.monotonic() - each.called_at < each.interval:
            return True
        called_at = each.others[1].called_at if each.others is not None else None
        return called_at is not None and 0 <= self._clock.time() - called_at < each.interval

    def _probe(self, each: _Watched, cancel: CancelToken | None) -> ProbeFinished:
        """Probe *each*, judge whether it was this machine's network, and report."""
        began, at = self._clock.monotonic(), self._clock.time()
        limit = each.prober.settings.timeout or self.config.timeout
        probed = self._router._probe(each.name, None, limit, cancel)  # noqa: SLF001 -- as above
        if probed.fault is Fault.CANCELLED:
            return probed
        if probed.blamed and silent(probed) and self._guard.is_own_failure(each.name, began):
            probed = msgspec.structs.replace(probed, blamed=False)
            if self._guard.note_down():
                self._network_changed(at, up=False, reason=f"no provider can be reached, {each.name} included")
        self._report(probed)
        return probed

    def _reaches(self, name: str) -> bool:
        """Whether a connection to the provider of this name can be made."""
        config = self._providers[name].prober.endpoint.config
        limits = Limits(
            deadline=Deadline.after(self.config.timeout, self._clock),
            connect_timeout=min(config.connect_timeout, self.config.timeout),
            cancel=self._cancel,
        )
        return self._providers[name].prober.endpoint.transport.connect(limits) is None

    # What other programs know.

    def _consult(self, each: _Watched) -> bool:
        """Ask the store what others know; whether it is this process that probes. Without a store each one does."""
        turn = turns.take(self._router.store, each.place, self.config.window, self._clock.time())
        each.others = None if turn.others is None else (self._clock.monotonic(), turn.others)
        each.leased = turn.mine
        self._adopt(each, turn.watch)
        return turn.mine

    def _adopt(self, each: _Watched, newest: Watch | None) -> None:
        """Take over how *each* is watched, if another program has changed that since this one did."""
        watch = each.watch
        if newest is None or newest.since < watch.since or newest.state == watch.state:
            return
        each.watch = newest._replace(since=watch.since if newest.state == WATCHED else newest.since)
        each.sightings.watch_from(self._covered_by(each), self._clock.time())

    def _give_leases_back(self) -> None:
        leased = [each for each in self._providers.values() if each.leased]
        for each in leased:
            each.leased = False
        turns.give_back(self._router.store, *(each.place for each in leased))

    # What was seen.

    def _hear(self, event: Event) -> None:
        """Take in what happened. Runs in the thread of a call: no waiting here."""
        match event:
            case AttemptFinished():
                attempt = event.attempt
                took = attempt.latency_ms if attempt.first_content_ms is None else attempt.first_content_ms
                called = self._saw(attempt.provider, event.at, attempt, took)
                if called is not None:
                    called.called_at = self._clock.monotonic()
            case ProbeFinished():
                self._saw(event.provider, event.at, event, event.latency_ms)
            case StateChanged() | PutOff():
                self._wake()

    def _pass_on(self, event: Event) -> None:
        """Let those know who are to be told. Runs on the thread of the router's listeners."""
        if self._running:
            self.alerts.consider(event)

    def _saw(self, provider: str, at: float, seen: Attempt | ProbeFinished, took: float) -> _Watched | None:
        """Note one outcome; the provider, if it says something about that."""
        each = self._providers.get(provider)
        outcome = outcome_of(seen.fault, blamed=seen.blamed)
        if each is None or outcome is None:
            return None
        steady = self._clock.monotonic()
        why = f"{seen.fault}: {seen.message}"
        if seen.fault is None or seen.status is not None:
            if self._guard.heard(provider, steady):
                self._network_changed(at, up=True, reason=f"{provider} has answered")
        elif outcome is Outcome.FAILED and not self._guard.up and each.host is not None:
            outcome, why = Outcome.EXCUSED, "this machine's network is down"
        each.sightings.add(outcome, steady=steady, wall=at, latency_ms=took, why=why)
        return None if outcome is Outcome.EXCUSED else each

    def _network_changed(self, at: float, *, up: bool, reason: str) -> None:
        self._report(NetworkChanged(at=at, up=up, reason=reason))
        steady = self._clock.monotonic()
        for each in self._providers.values():
            each.sightings.watch_from(self._covered_by(each), at)
            if up:
                each.due = min(each.due, self._soon(each, steady))
        self._wake()

    def _report(self, event: Event) -> None:
        self._router._report(event)  # noqa: SLF001 -- as above

    # What that means.

    def _health(self, each: _Watched) -> Health:
        return assess(self._signs(each), self.config)

    def _signs(self, each: _Watched) -> Signs:
        steady = self._clock.monotonic()
        seen = self._with_others(each, each.sightings.lately(steady), steady)
        endpoint = each.prober.endpoint
        stats = [breaker.stats() for breaker in endpoint.admission.all_breakers]
        return Signs(
            watch=each.watch.state,
            note=each.watch.note,
            offline=not self._guard.up and each.host is not None,
            breakers=tuple(each.state for each in stats),
            breaker_reason=next((each.reason for each in stats if each.reason), ""),
            put_off=tuple(_put_off_in_words(row) for row in endpoint.cooldowns.listing()),
            silent_for=None if seen.heard_at is None else max(0.0, steady - seen.heard_at),
            valid_for=self.config.validity * each.interval,
            excused=seen.excused,
            streak=seen.streak,
            answered=seen.answered,
            failed=seen.failed,
            p95_ms=seen.p95_ms,
            latency_limit_ms=each.limit,
            interval=each.interval,
        )

    def _with_others(self, each: _Watched, seen: Lately, steady: float) -> Lately:
        """*seen*, with what other programs have seen, as far as that is more or later."""
        if each.others is None:
            return seen
        asked_at, others = each.others
        counts = others.counts
        last = others.last_seen
        if last is None or steady - asked_at > self.config.validity * each.interval:
            return seen
        if counts.answered + counts.failed > seen.answered + seen.failed:
            seen = seen._replace(answered=counts.answered, failed=counts.failed, p95_ms=others.latency.p95)
        heard_at = steady - max(0.0, self._clock.time() - last)
        later = seen.heard_at is None or heard_at > seen.heard_at + 1.0
        if later and counts.answered + counts.failed + counts.other:
            seen = seen._replace(heard_at=heard_at, streak=others.streak, excused="")
        return seen

    def _tell_changes(self) -> None:
        """Report each status that has changed; one thread at a time, so that they come in order."""
        self._tell_again = True
        while self._tell_again and self._telling.acquire(blocking=False):
            try:
                self._tell_again = False
                for each in self._providers.values():
                    self._tell_change(each)
            finally:
                self._telling.release()

    def _tell_change(self, each: _Watched) -> None:
        health = self._health(each)
        old, new = each.told, health.status
        if old is new:
            return
        each.told = new
        self._report(
            StatusChanged(
                at=self._clock.time(),
                provider=each.name,
                old=old.value,
                new=new.value,
                reason=mask("; ".join(health.reasons)),
            )
        )

    def _look_at_budgets(self) -> None:
        """Tell who is to be told that a provider's time to be down runs out. Runs on a worker."""
        store = self._router.store
        if store is None:
            return
        now = self._clock.time()
        with suppress(StoreUnavailable), store.reader() as reader:
            for each in self._providers.values():
                target = None if each.prober.settings.sla is None else reader.target(each.name, each.place.base_url)
                budget = None if target is None else reader.error_budget(target.id, now)
                if target is not None and budget is not None:
                    last_hours = reader.uptime(target.id, now - _SIX_HOURS, now)
                    self.alerts.consider_budget(each.name, budget, now, last_six_hours=last_hours)

    def __repr__(self) -> str:
        states = ", ".join(f"{name} {status}" for name, status in self.status().items())
        return f"<HealthMonitor [{states}] {'watching' if self._running else 'stopped'}>"


class _Helper:
    """A worker that takes part in checking all providers."""

    def __init__(self, monitor: HealthMonitor, asked: list[str], found: dict[str, ProbeFinished]) -> None:
        self._work = monitor, asked, found
        self.done = threading.Event()

    def engage(self, workers: Workers) -> None:
        """Begin, if a thread is free."""
        if workers.start(self._run) is None:
            self.done.set()

    def _run(self) -> None:
        try:
            _check_each(*self._work)
        except RouterClosed:
            pass  # whoever asked hears of it
        finally:
            self.done.set()


def _check_each(monitor: HealthMonitor, asked: list[str], found: dict[str, ProbeFinished]) -> None:
    """Check those of *asked* that nobody else has taken."""
    while True:
        try:
            name = asked.pop()
        except IndexError:
            return
        with suppress(BulkheadFull, RateLimitReached):
            found[name] = monitor.check(name)


def _put_off_in_words(row: dict[str, Any]) -> str:
    what = " ".join(filter(None, (row["key"] and f"key {row['key']}", row["model"] and f"model {row['model']}")))
    why = f"{row['fault']}: {row['message']}" if row["message"] else row["fault"]
    return f"{what or 'it'} is left alone for another {in_words(row['retry_after'])} ({why})"


def _reaches_address(address: str) -> bool:
    """Whether ``host:port`` takes a connection, straight and without a word."""
    from failsafe.transport.requests_transport import RequestsTransport  # imports requests

    transport = RequestsTransport(f"http://{address}", environ={}, pool_size=1)
    try:
        return transport.connect(Limits(deadline=Deadline.after(_ADDRESS_LIMIT))) is None
    finally:
        transport.close()

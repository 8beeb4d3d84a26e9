"""The breaker against a model of it: any order of calls, outcomes, waits and manual moves gives the same answers."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from failsafe import errors
from failsafe.breaker import CircuitBreaker, Permit
from failsafe.events import CircuitState, StateChanged
from failsafe.policy_config import CircuitBreakerConfig
from failsafe.testing import FakeClock
from tests.chance import Chance

CLOSED, OPEN, HALF_OPEN = CircuitState.CLOSED, CircuitState.OPEN, CircuitState.HALF_OPEN
FORCED_OPEN, DISABLED = CircuitState.FORCED_OPEN, CircuitState.DISABLED

CHANCE = 0.5


@dataclass
class Ticket:
    """The model's permit: the period it belongs to, and when it was granted."""

    period: int
    granted_at: float


@dataclass
class Ended:
    """One call that ended in the present closed period."""

    at: float
    failed: bool
    slow: bool


@dataclass
class Model:
    """
    What a breaker should do, written for reading: it keeps every call and counts anew each time; no shared code.

    ``reasons`` are the beginnings of the breaker's own.
    """

    config: CircuitBreakerConfig
    state: CircuitState = CLOSED
    reason: str = ""
    period: int = 0
    streak: int = 0
    ended: list[Ended] = field(default_factory=list)
    probes: list[bool] = field(default_factory=list)
    in_flight: list[Ticket] = field(default_factory=list)
    reopens_at: float = 0.0
    failed_half_opens: int = 0
    moves: list[tuple[CircuitState, CircuitState, str]] = field(default_factory=list)
    open_times: list[float] = field(default_factory=list)
    recorded: list[str] = field(default_factory=list)
    rejected: int = 0

    def move(self, new: CircuitState, why: str) -> None:
        if new is not self.state:
            self.moves.append((self.state, new, why))
        if new is not HALF_OPEN:
            self.reason = why if new in (OPEN, FORCED_OPEN) else ""
        self.state = new
        self.period += 1
        self.streak = 0
        self.ended, self.probes, self.in_flight = [], [], []
        if new in (CLOSED, FORCED_OPEN, DISABLED):
            self.failed_half_opens = 0

    def open(self, now: float, why: str, asked: float = 0.0) -> None:
        if self.state is HALF_OPEN:
            self.failed_half_opens += 1
        self.move(OPEN, why)
        config = self.config
        longest, at_most = config.max_timeout or 300.0, 1.0 + config.timeout_jitter
        grown = min(longest / at_most, config.timeout * config.timeout_multiplier**self.failed_half_opens)
        open_for = min(longest, max(grown, asked) * (1.0 + config.timeout_jitter * CHANCE))
        self.open_times.append(open_for)
        self.reopens_at = now + open_for

    def acquire(self, now: float) -> Ticket | None:
        ticket = self.admit(now)
        self.rejected += ticket is None
        return ticket

    def admit(self, now: float) -> Ticket | None:
        if self.state is OPEN and now >= self.reopens_at:
            self.move(HALF_OPEN, "the open time of")
        if self.state in (OPEN, FORCED_OPEN):
            return None
        if self.state is HALF_OPEN and len(self.in_flight) == self.config.half_open_max_calls:
            if now - self.in_flight[0].granted_at >= (self.config.half_open_max_wait or 60.0):
                self.open(now, "a probe has not answered for")
            return None
        ticket = Ticket(self.period, now)
        if self.state is HALF_OPEN:
            self.in_flight.append(ticket)
        return ticket

    def settle(self, ticket: Ticket, outcome: str, now: float, asked: float, duration: float | None) -> None:
        if ticket.period != self.period or self.state is DISABLED:
            return
        self.in_flight = [other for other in self.in_flight if other is not ticket]
        if outcome == "release":
            return
        self.recorded.append(outcome)
        if outcome == "success":
            asked = 0.0  # only a failure can ask for time
        limit = self.config.slow_call_duration
        took = now - ticket.granted_at if duration is None else duration
        slow = limit is not None and took > limit
        if self.state is HALF_OPEN:
            self.probe_answered(outcome, now, asked, slow=slow)
        else:
            self.streak = {"success": 0, "soft": self.streak, "failure": self.streak + 1}[outcome]
            self.ended.append(Ended(now, outcome != "success", slow))
            why = self.broken_rule(now)
            if why:
                self.open(now, why, asked)

    def probe_answered(self, outcome: str, now: float, asked: float, *, slow: bool) -> None:
        if outcome != "success":
            self.open(now, "a probe failed" if outcome == "failure" else "a probe was put off", asked)
            return
        self.probes.append(slow)
        if len(self.probes) < self.config.success_threshold:
            return
        if any(self.probes) and sum(self.probes) / len(self.probes) >= self.config.slow_call_rate_threshold:
            counted = f"{sum(self.probes)} of {len(self.probes)} probes" if len(self.probes) > 1 else "a probe"
            self.open(now, f"{counted} took longer than 5 s")
        else:
            self.move(CLOSED, f"{len(self.probes)} probes succeeded" if len(self.probes) > 1 else "a probe succeeded")

    def window(self, now: float) -> list[Ended]:
        if self.config.window_size:
            return self.ended[-self.config.window_size :]
        tenth = (self.config.window_seconds or 60.0) / 10
        return [call for call in self.ended if now // tenth - call.at // tenth < 10]

    def rates(self, now: float) -> tuple[int | None, float | None, float | None]:
        window = self.window(now)
        if self.state is not CLOSED or not self.config.judges_rates:
            return None, None, None
        failed = sum(call.failed for call in window) / len(window) if window else None
        slow = sum(call.slow for call in window) / len(window) if window else None
        if self.config.failure_rate_threshold is None:
            failed = None
        if self.config.slow_call_duration is None:
            slow = None
        return len(window), failed, slow

    def broken_rule(self, now: float) -> str:
        """The beginning of the reason to open, or nothing."""
        if self.config.failure_threshold and self.streak >= self.config.failure_threshold:
            return f"{self.streak} failures in a row" if self.streak > 1 else "a failure"
        calls, failed, slow = self.rates(now)
        if calls is None or calls < min(self.config.minimum_calls, self.config.window_size or 1000):
            return ""
        if failed is not None and failed >= (self.config.failure_rate_threshold or 0):
            return f"{round(failed * calls)} of {calls} calls failed ("
        if slow is not None and slow >= self.config.slow_call_rate_threshold:
            return f"{round(slow * calls)} of {calls} calls took longer than 5 s ("
        return ""


STREAK_ONLY = st.fixed_dictionaries({"failure_threshold": st.integers(1, 3)})
RATES = st.fixed_dictionaries(
    {
        "failure_threshold": st.sampled_from([None, 3, 4]),
        "minimum_calls": st.integers(1, 6),
        "slow_call_rate_threshold": st.sampled_from([0.25, 0.5, 1.0]),
    }
)
RULES = st.sampled_from(
    [
        {"failure_rate_threshold": 0.5},
        {"failure_rate_threshold": 1.0},
        {"slow_call_duration": 5.0},
        {"failure_rate_threshold": 0.6, "slow_call_duration": 5.0},
    ]
)
WINDOWS = st.sampled_from([{}, {"window_size": 1}, {"window_size": 4}, {"window_size": 9}, {"window_seconds": 5.0}])
OPENING = st.one_of(STREAK_ONLY, st.builds(lambda *parts: parts[0] | parts[1] | parts[2], RATES, RULES, WINDOWS))


@st.composite
def configs(draw: st.DrawFn) -> CircuitBreakerConfig:
    """Settings of every kind."""
    return CircuitBreakerConfig(
        **draw(OPENING),
        success_threshold=draw(st.integers(1, 3)),
        timeout=60.0,
        half_open_max_calls=draw(st.integers(1, 3)),
        half_open_max_wait=draw(st.sampled_from([90.0, None])),
        timeout_multiplier=draw(st.sampled_from([1.0, 2.0])),
        timeout_jitter=draw(st.sampled_from([0.0, 0.0, 0.5])),
        max_timeout=draw(st.sampled_from([256.0, None])),
    )


OUTCOMES = st.sampled_from(["success", "success", "success", "failure", "failure", "soft", "release"])
DURATIONS = st.sampled_from([None, None, 0.0, 5.0, 5.125])
RAISED: dict[str, type[BaseException]] = {
    "failure": OSError,
    "soft": errors.RateLimited,
    "release": KeyboardInterrupt,
}


class BreakerAgainstModel(RuleBasedStateMachine):
    """Keeps the two side by side. Times are multiples of an eighth of a second, so that floats are exact."""

    @initialize(config=configs())
    def start(self, config: CircuitBreakerConfig) -> None:
        self.clock = FakeClock()
        self.model = Model(config)
        self.events: list[StateChanged] = []
        self.breaker = CircuitBreaker(
            "modelled", config, clock=self.clock, random=Chance(CHANCE), listeners=[self.events.append]
        )
        self.held: list[tuple[Permit, Ticket]] = []
        self.settled: list[Permit] = []

    def ask(self) -> tuple[Permit, Ticket] | None:
        """Ask both; what they grant is held."""
        permit, ticket = self.breaker.try_acquire(), self.model.acquire(self.clock.monotonic())
        assert (permit is None) == (ticket is None)
        if permit is None or ticket is None:
            return None
        self.held.append((permit, ticket))
        return permit, ticket

    def tell(
        self, held: tuple[Permit, Ticket], outcome: str, asked: float = 0.0, duration: float | None = None
    ) -> None:
        """Settle in both."""
        self.held.remove(held)
        permit, ticket = held
        self.model.settle(ticket, outcome, self.clock.monotonic(), asked, duration)
        if outcome == "success":
            permit.success(duration)
        elif outcome == "release":
            permit.release()
        else:
            permit.failure(soft=outcome == "soft", retry_after=asked, duration=duration)
        self.settled.append(permit)

    @rule(times=st.integers(1, 4))
    def acquire(self, times: int) -> None:
        for _ in range(times):
            self.ask()

    @rule(outcomes=st.lists(OUTCOMES, min_size=1, max_size=6), duration=DURATIONS)
    def acquire_and_settle(self, outcomes: list[str], duration: float | None) -> None:
        for outcome in outcomes:
            held = self.ask()
            if held:
                self.tell(held, outcome, duration=duration)

    @rule(outcome=OUTCOMES, seconds=st.sampled_from([0.0, 0.125, 5.0, 6.0]), decorated=st.booleans())
    def call(self, outcome: str, seconds: float, *, decorated: bool) -> None:
        ticket = self.model.acquire(self.clock.monotonic())

        def called() -> str:
            self.clock.advance(seconds)
            if outcome != "success":
                raise RAISED[outcome](outcome)
            return outcome

        expected = RAISED.get(outcome) if ticket else errors.CircuitOpenError
        guarded = self.breaker(called) if decorated else lambda: self.breaker.call(called)
        if expected is None:
            assert guarded() == outcome
        else:
            with pytest.raises(expected) as caught:
                guarded()
            if isinstance(caught.value, errors.CircuitOpenError):
                assert caught.value.reason == self.breaker.stats().reason
                assert (caught.value.state, caught.value.retry_after) == (self.breaker.state, self.breaker.retry_after)
        if ticket:
            self.model.settle(ticket, outcome, self.clock.monotonic(), 0.0, None)

    @precondition(lambda self: self.held)
    @rule(
        pick=st.integers(0, 1000),
        outcome=OUTCOMES,
        asked=st.sampled_from([0.0, 0.0, 100.0, 1000.0]),
        duration=DURATIONS,
    )
    def settle(self, pick: int, outcome: str, asked: float, duration: float | None) -> None:
        self.tell(self.held[pick % len(self.held)], outcome, asked, duration)

    @precondition(lambda self: self.settled)
    @rule(back=st.integers(1, 4), again=st.sampled_from([Permit.success, Permit.failure, Permit.release]))
    def settle_again(self, back: int, again: Callable[[Permit], None]) -> None:
        again(self.settled[-min(back, len(self.settled))])

    @rule(seconds=st.sampled_from([0.125, 0.5, 4.5, 30.0, 60.0, 90.0, 300.0]))
    def advance(self, seconds: float) -> None:
        self.clock.advance(seconds)

    @precondition(lambda self: self.model.state is OPEN)
    @rule(short_by=st.sampled_from([0.0, 0.0, 0.125]))
    def ask_at_the_reopening(self, short_by: float) -> None:
        # Jitter may leave a time that is no multiple of an eighth.
        wait = max(0.0, self.model.reopens_at - short_by - self.clock.monotonic())
        self.clock.advance(-(-wait // 0.125) * 0.125)
        self.ask()

    @precondition(lambda self: self.model.state is CLOSED)
    @rule(outcome=st.sampled_from(["failure", "soft", "success"]), duration=DURATIONS)
    def go_on_until_it_opens(self, outcome: str, duration: float | None) -> None:
        for _ in range(12):
            held = self.ask() if self.model.state is CLOSED else None
            if held:
                self.tell(held, outcome, duration=duration)

    @rule(how=st.sampled_from(["trip", "force_open", "disable", "reset", "reset", "reset"]))
    def by_hand(self, how: str) -> None:
        getattr(self.breaker, how)()
        new = {"force_open": FORCED_OPEN, "disable": DISABLED, "reset": CLOSED}.get(how)
        why = {"force_open": "forced open by hand", "disable": "disabled by hand", "reset": "reset by hand"}.get(how)
        if new is None or why is None:
            if self.model.state in (CLOSED, HALF_OPEN):
                self.model.open(self.clock.monotonic(), "tripped by hand")
        elif new is CLOSED or new is not self.model.state:
            self.model.move(new, why)

    @invariant()
    def they_agree(self) -> None:
        stats, model, now = self.breaker.stats(), self.model, self.clock.monotonic()
        assert self.breaker.state is stats.state is model.state
        assert stats.reason.startswith(model.reason)
        assert bool(stats.reason) == bool(model.reason)
        assert (stats.streak, stats.half_open_successes) == (model.streak, len(model.probes))
        assert (stats.calls_in_window, stats.failure_rate, stats.slow_call_rate) == model.rates(now)
        assert stats.probes_in_flight == len(model.in_flight) <= model.config.half_open_max_calls
        assert stats.rejected == model.rejected
        for count, outcome in (
            (stats.successes, "success"),
            (stats.failures, "failure"),
            (stats.soft_failures, "soft"),
        ):
            assert count == model.recorded.count(outcome)

    @invariant()
    def they_tell_alike(self) -> None:
        model = self.model
        assert [(event.old, event.new) for event in self.events] == [(old, new) for old, new, _ in model.moves]
        for event, (_, _, why) in zip(self.events, model.moves, strict=True):
            assert re.match(re.escape(why), event.reason)
        told = [event.retry_after for event in self.events if event.new is OPEN]
        assert told == model.open_times
        assert self.breaker.stats().opened == len(told)

    @invariant()
    def they_wait_alike(self) -> None:
        model, now = self.model, self.clock.monotonic()
        expected: float | None = None
        if model.state is OPEN:
            expected = min(model.open_times[-1], max(0.0, model.reopens_at - now))
        elif model.state is HALF_OPEN:
            full = len(model.in_flight) == model.config.half_open_max_calls
            lease = model.config.half_open_max_wait or 60.0
            expected = min(1.0, max(0.0, model.in_flight[0].granted_at + lease - now)) if full else 0.0
        assert self.breaker.retry_after == self.breaker.stats().retry_after == expected


BreakerAgainstModel.TestCase.settings = settings(max_examples=300, stateful_step_count=50, deadline=None)
TestBreakerAgainstModel = BreakerAgainstModel.TestCase

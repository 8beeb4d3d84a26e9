"""The breaker against a model of it: any order of calls, outcomes, waits and manual moves gives the same answers."""

from __future__ import annotations

from dataclasses import dataclass, field

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from failsafe.breaker import CircuitBreaker, Permit
from failsafe.config import CircuitBreakerConfig
from failsafe.events import CircuitState, StateChanged
from failsafe.testing import FakeClock

CLOSED, OPEN, HALF_OPEN = CircuitState.CLOSED, CircuitState.OPEN, CircuitState.HALF_OPEN
FORCED_OPEN, DISABLED = CircuitState.FORCED_OPEN, CircuitState.DISABLED

LEASE = 90.0


@dataclass
class Ticket:
    """The model's permit: the period it belongs to, and when it was granted."""

    period: int
    granted_at: float


@dataclass
class Model:
    """What a breaker should do, written for reading: one variable a fact, no shared code."""

    config: CircuitBreakerConfig
    state: CircuitState = CLOSED
    period: int = 0
    streak: int = 0
    successes: int = 0
    in_flight: list[Ticket] = field(default_factory=list)
    reopens_at: float = 0.0
    failed_half_opens: int = 0
    moves: list[tuple[CircuitState, CircuitState]] = field(default_factory=list)

    def move(self, new: CircuitState) -> None:
        if new is not self.state:
            self.moves.append((self.state, new))
        self.state = new
        self.period += 1
        self.streak = self.successes = 0
        self.in_flight = []
        if new in (CLOSED, FORCED_OPEN, DISABLED):
            self.failed_half_opens = 0

    def open(self, now: float, asked: float = 0.0) -> None:
        if self.state is HALF_OPEN:
            self.failed_half_opens += 1
        self.move(OPEN)
        longest = self.config.max_timeout
        assert longest is not None
        grown = self.config.timeout * self.config.timeout_multiplier**self.failed_half_opens
        self.reopens_at = now + min(longest, max(grown, asked))

    def acquire(self, now: float) -> Ticket | None:
        if self.state is OPEN and now >= self.reopens_at:
            self.move(HALF_OPEN)
        if self.state in (OPEN, FORCED_OPEN):
            return None
        if self.state is HALF_OPEN and len(self.in_flight) == self.config.half_open_max_calls:
            if now - self.in_flight[0].granted_at >= LEASE:
                self.open(now)
            return None
        ticket = Ticket(self.period, now)
        if self.state is HALF_OPEN:
            self.in_flight.append(ticket)
        return ticket

    def settle(self, ticket: Ticket, outcome: str, now: float, asked: float) -> None:
        if ticket.period != self.period or self.state is DISABLED:
            return
        if self.state is HALF_OPEN:
            self.in_flight = [other for other in self.in_flight if other is not ticket]
        if outcome == "success":
            self.succeed()
        elif outcome == "failure" or (outcome == "soft" and self.state is HALF_OPEN):
            self.fail(now, asked)

    def succeed(self) -> None:
        self.streak = 0
        if self.state is HALF_OPEN:
            self.successes += 1
            if self.successes == self.config.success_threshold:
                self.move(CLOSED)

    def fail(self, now: float, asked: float) -> None:
        self.streak += 1
        if self.state is HALF_OPEN or self.streak == self.config.failure_threshold:
            self.open(now, asked)


CONFIGS = st.builds(
    CircuitBreakerConfig,
    failure_threshold=st.integers(1, 3),
    success_threshold=st.integers(1, 3),
    timeout=st.just(60.0),
    half_open_max_calls=st.integers(1, 3),
    half_open_max_wait=st.just(LEASE),
    timeout_multiplier=st.sampled_from([1.0, 2.0]),
    max_timeout=st.just(256.0),
)


class BreakerAgainstModel(RuleBasedStateMachine):
    """Keeps the two side by side. Times are multiples of an eighth of a second, so that floats are exact."""

    @initialize(config=CONFIGS)
    def start(self, config: CircuitBreakerConfig) -> None:
        self.clock = FakeClock()
        self.model = Model(config)
        self.events: list[StateChanged] = []
        self.breaker = CircuitBreaker("modelled", config, clock=self.clock, listeners=[self.events.append])
        self.held: list[tuple[Permit, Ticket]] = []
        self.settled: list[Permit] = []

    @rule()
    def acquire(self) -> None:
        permit, ticket = self.breaker.try_acquire(), self.model.acquire(self.clock.monotonic())
        assert (permit is None) == (ticket is None)
        if permit is not None and ticket is not None:
            self.held.append((permit, ticket))

    @precondition(lambda self: self.held)
    @rule(
        pick=st.integers(0, 1000),
        outcome=st.sampled_from(["success", "success", "failure", "failure", "soft", "release"]),
        asked=st.sampled_from([0.0, 0.0, 100.0, 1000.0]),
    )
    def settle(self, pick: int, outcome: str, asked: float) -> None:
        permit, ticket = self.held.pop(pick % len(self.held))
        self.model.settle(ticket, outcome, self.clock.monotonic(), asked)
        if outcome == "success":
            permit.success()
        elif outcome == "release":
            permit.release()
        else:
            permit.failure(soft=outcome == "soft", retry_after=asked)
        self.settled.append(permit)

    @precondition(lambda self: self.settled)
    @rule(pick=st.integers(0, 1000), again=st.sampled_from([Permit.success, Permit.failure, Permit.release]))
    def settle_again(self, pick: int, again: object) -> None:
        assert callable(again)
        again(self.settled[pick % len(self.settled)])

    @rule(seconds=st.sampled_from([0.125, 30.0, 60.0, 90.0, 300.0]))
    def advance(self, seconds: float) -> None:
        self.clock.advance(seconds)

    @precondition(lambda self: self.model.state is OPEN)
    @rule(short_by=st.sampled_from([0.0, 0.125]))
    def advance_to_the_reopening(self, short_by: float) -> None:
        self.clock.advance(max(0.0, self.model.reopens_at - short_by - self.clock.monotonic()))

    @rule()
    def trip(self) -> None:
        self.breaker.trip()
        if self.model.state in (CLOSED, HALF_OPEN):
            self.model.open(self.clock.monotonic())

    @rule()
    def force_open(self) -> None:
        self.breaker.force_open()
        if self.model.state is not FORCED_OPEN:
            self.model.move(FORCED_OPEN)

    @rule()
    def disable(self) -> None:
        self.breaker.disable()
        if self.model.state is not DISABLED:
            self.model.move(DISABLED)

    @rule()
    def reset(self) -> None:
        self.breaker.reset()
        self.model.move(CLOSED)

    @invariant()
    def they_agree(self) -> None:
        stats, model = self.breaker.stats(), self.model
        assert self.breaker.state is stats.state is model.state
        assert (stats.streak, stats.half_open_successes) == (model.streak, model.successes)
        assert stats.probes_in_flight == len(model.in_flight) <= model.config.half_open_max_calls
        assert [(event.old, event.new) for event in self.events] == model.moves
        assert stats.opened == sum(new is OPEN for _, new in model.moves)
        if model.state is OPEN:
            assert stats.retry_after == max(0.0, model.reopens_at - self.clock.monotonic())


BreakerAgainstModel.TestCase.settings = settings(max_examples=150, stateful_step_count=50, deadline=None)
TestBreakerAgainstModel = BreakerAgainstModel.TestCase

"""The breaker against a model of it: any order of calls, outcomes, waits and manual moves gives the same answers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from failsafe.breaker import CircuitBreaker, Permit
from failsafe.events import CircuitState, StateChanged
from failsafe.policy_config import CircuitBreakerConfig
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


OUTCOMES = st.sampled_from(["success", "success", "success", "failure", "failure", "soft", "release"])


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

    def ask(self) -> tuple[Permit, Ticket] | None:
        """Ask both; what they grant is held."""
        permit, ticket = self.breaker.try_acquire(), self.model.acquire(self.clock.monotonic())
        assert (permit is None) == (ticket is None)
        if permit is None or ticket is None:
            return None
        self.held.append((permit, ticket))
        return permit, ticket

    def tell(self, held: tuple[Permit, Ticket], outcome: str, asked: float = 0.0) -> None:
        """Settle in both."""
        self.held.remove(held)
        permit, ticket = held
        self.model.settle(ticket, outcome, self.clock.monotonic(), asked)
        if outcome == "success":
            permit.success()
        elif outcome == "release":
            permit.release()
        else:
            permit.failure(soft=outcome == "soft", retry_after=asked)
        self.settled.append(permit)

    @rule(times=st.integers(1, 4))
    def acquire(self, times: int) -> None:
        for _ in range(times):
            self.ask()

    @rule(outcomes=st.lists(OUTCOMES, min_size=1, max_size=4))
    def call(self, outcomes: list[str]) -> None:
        for outcome in outcomes:
            held = self.ask()
            if held:
                self.tell(held, outcome)

    @precondition(lambda self: self.held)
    @rule(pick=st.integers(0, 1000), outcome=OUTCOMES, asked=st.sampled_from([0.0, 0.0, 100.0, 1000.0]))
    def settle(self, pick: int, outcome: str, asked: float) -> None:
        self.tell(self.held[pick % len(self.held)], outcome, asked)

    @precondition(lambda self: self.settled)
    @rule(back=st.integers(1, 4), again=st.sampled_from([Permit.success, Permit.failure, Permit.release]))
    def settle_again(self, back: int, again: Callable[[Permit], None]) -> None:
        again(self.settled[-min(back, len(self.settled))])

    @rule(seconds=st.sampled_from([0.125, 30.0, 60.0, 90.0, 300.0]))
    def advance(self, seconds: float) -> None:
        self.clock.advance(seconds)

    @precondition(lambda self: self.model.state is OPEN)
    @rule(short_by=st.sampled_from([0.0, 0.0, 0.125]))
    def ask_at_the_reopening(self, short_by: float) -> None:
        self.clock.advance(max(0.0, self.model.reopens_at - short_by - self.clock.monotonic()))
        self.ask()

    @precondition(lambda self: self.model.state is CLOSED)
    @rule()
    def fail_until_it_opens(self) -> None:
        while self.model.state is CLOSED:
            held = self.ask()
            assert held
            self.tell(held, "failure")

    @rule(how=st.sampled_from(["trip", "force_open", "disable", "reset", "reset", "reset"]))
    def by_hand(self, how: str) -> None:
        getattr(self.breaker, how)()
        new = {"force_open": FORCED_OPEN, "disable": DISABLED, "reset": CLOSED}.get(how)
        if new is None:
            if self.model.state in (CLOSED, HALF_OPEN):
                self.model.open(self.clock.monotonic())
        elif new is CLOSED or new is not self.model.state:
            self.model.move(new)

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


BreakerAgainstModel.TestCase.settings = settings(max_examples=200, stateful_step_count=50, deadline=None)
TestBreakerAgainstModel = BreakerAgainstModel.TestCase

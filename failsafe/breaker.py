"""
A circuit breaker: leave a service alone that keeps failing, and come back to it carefully.

::

    breaker = CircuitBreaker("billing", CircuitBreakerConfig(failure_threshold=5, timeout=60.0))
    breaker.call(charge, order)          # raises CircuitOpenError while open

    permit = breaker.try_acquire()       # the primitive under it: a permit, or None
    if permit is not None:
        with permit:
            charge(order)

The guide is ``docs/breaker.md``.
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Iterable, Iterator
from types import TracebackType
from typing import Any, ParamSpec, TypeVar

from failsafe import checks, forking
from failsafe.circuit import BreakerStats, Circuit, Permit
from failsafe.clock import SYSTEM_CLOCK, Clock, Random, new_random
from failsafe.errors import CircuitOpenError
from failsafe.events import CircuitState
from failsafe.listeners import StateListener
from failsafe.outcome import refuse_lazy
from failsafe.policy_config import CircuitBreakerConfig

__all__ = ["BreakerStats", "CircuitBreaker", "CircuitBreakerRegistry", "Permit", "StateListener"]

P = ParamSpec("P")
R = TypeVar("R")

_DEFAULTS = CircuitBreakerConfig()


class _Entered(threading.local):
    """The permits of the ``with`` blocks that this thread is in, innermost last."""

    def __init__(self) -> None:
        self.permits: list[Permit] = []


class CircuitBreaker:
    """
    Admits calls to one service, or refuses them while the service fails.

    As a decorator, context manager or through :meth:`call` it judges exceptions as
    :func:`failsafe.outcome.breaker_effect` says; :meth:`try_acquire` leaves the judgement to the caller.
    Each ``with breaker:`` block has its own permit; blocks nest, and threads do not disturb each other
    (inside a generator that several threads may resume, use ``with breaker.acquire():``).
    Thread-safe: no lock is held while the protected function or a listener runs.

    Args:
        name: What errors, events and the repr call it.
        config: Thresholds and times.
        clock: Where it gets the time from.
        random: Where it gets chance from, for ``timeout_jitter``; None makes a source of its own.
        listeners: The first listeners, as for :meth:`on_state_change`.

    Raises:
        ConfigError: *name* is empty or not printable.
    """

    __slots__ = ("__weakref__", "_circuit", "_entered", "config")

    def __init__(
        self,
        name: str,
        config: CircuitBreakerConfig = _DEFAULTS,
        *,
        clock: Clock = SYSTEM_CLOCK,
        random: Random | None = None,
        listeners: Iterable[StateListener] = (),
    ) -> None:
        self.config = config
        self._circuit = Circuit(checks.text("name", name), config, clock, random or new_random())
        self._entered = _Entered()
        for listener in listeners:
            self._circuit.listeners.subscribe(listener)

    @property
    def name(self) -> str:
        """What errors, events and the repr call it."""
        return self._circuit.name

    @property
    def state(self) -> CircuitState:
        """The state. Reading changes nothing: an open breaker is ``OPEN`` until a call is admitted again."""
        return self._circuit.phase.state

    @property
    def retry_after(self) -> float | None:
        """
        Seconds until a call may be admitted.

        0 when one may be admitted at once though the breaker is not closed; a second at most while
        every probe's place is taken; None when there is nothing to wait for: closed, disabled, forced open.
        """
        return self._circuit.wait()

    def stats(self) -> BreakerStats:
        """All figures of one moment."""
        return self._circuit.stats()

    def try_acquire(self) -> Permit | None:
        """Return a permit, which must be settled, or None: do not make the call. Never blocks."""
        return self._circuit.admit()

    def bystander(self) -> Permit:
        """Return a permit that is settled already: whatever becomes of its call, the breaker learns nothing of it."""
        permit = Permit(self._circuit, self._circuit.phase)
        permit.claim()
        return permit

    def acquire(self) -> Permit:
        """
        Return a permit, which must be settled. Never blocks.

        Raises:
            CircuitOpenError: Do not make the call.
        """
        while True:
            permit = self._circuit.admit()
            if permit is not None:
                return permit
            phase = self._circuit.phase
            if not phase.admits_all:  # else another thread has closed the breaker in the meantime
                raise CircuitOpenError(self.name, phase.state.value, self._circuit.wait(), phase.reason)

    def call(self, fn: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R:
        """
        Return ``fn(*args, **kwargs)``, and record how it ends.

        Raises:
            CircuitOpenError: *fn* was not called.
            Exception: Whatever *fn* raises, unchanged.
        """
        return self._guard(fn, args, kwargs)

    def __call__(self, fn: Callable[P, R]) -> Callable[P, R]:
        """
        Decorate *fn*, so that every call of it goes through :meth:`call`.

        Raises:
            TypeError: *fn* is a coroutine or generator function, whose work comes after it has returned.
        """
        refuse_lazy(fn, f"circuit breaker {self.name!r}")
        guard = self._guard

        @functools.wraps(fn)
        def guarded(*args: P.args, **kwargs: P.kwargs) -> R:
            return guard(fn, args, kwargs)

        return guarded

    def _guard(self, fn: Callable[..., R], args: tuple[Any, ...], kwargs: dict[str, Any]) -> R:
        circuit = self._circuit
        phase = circuit.phase
        if not phase.admits_all:
            with self.acquire():
                return fn(*args, **kwargs)
        # A permit would be nothing but this phase and this time, so it is made when an error needs one.
        acquired_at = circuit.acquisition_time()
        try:
            result = fn(*args, **kwargs)
        except Exception as error:  # anything else proves nothing, and there is no probe's place to give back
            Permit(circuit, phase, acquired_at).settle(error)
            raise
        circuit.pass_by(phase, acquired_at)
        return result

    def __enter__(self) -> Permit:
        permit = self.acquire()
        self._entered.permits.append(permit)
        return permit

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        # Empty only if the block is left in another thread than it was entered in; the probe's lease ends that one.
        if self._entered.permits:
            self._entered.permits.pop().settle(error)

    def trip(self, reason: str = "tripped by hand") -> None:
        """Open now, for the usual time, as if a failure had done it; does nothing unless closed or half-open."""
        self._circuit.trip(reason)

    def force_open(self, reason: str = "forced open by hand") -> None:
        """Refuse every call until :meth:`reset` or :meth:`disable`."""
        self._circuit.put(CircuitState.FORCED_OPEN, reason)

    def disable(self) -> None:
        """Admit every call and record nothing until :meth:`reset` or :meth:`force_open`."""
        self._circuit.put(CircuitState.DISABLED, "disabled by hand")

    def reset(self) -> None:
        """Close, and forget the streak and the growth of the open time; calls under way no longer count."""
        self._circuit.put(CircuitState.CLOSED, "reset by hand")

    def on_state_change(self, listener: StateListener) -> Callable[[], None]:
        """
        Call *listener* with a :class:`failsafe.StateChanged` after every transition.

        It runs in a thread that uses the breaker, with no lock held, and may use the breaker itself.
        Transitions arrive one at a time, in order; an exception is logged (``failsafe.breaker``) and goes
        no further. Returns a function that ends the subscription.
        """
        return self._circuit.listeners.subscribe(listener)

    def __repr__(self) -> str:
        return f"<CircuitBreaker {self.name} {_in_words(self.stats(), self.config)}>"


def _in_words(stats: BreakerStats, config: CircuitBreakerConfig) -> str:
    match stats.state:
        case CircuitState.CLOSED:
            return f"closed {', '.join(_rules_in_words(stats, config))}"
        case CircuitState.OPEN:
            return f"open retry in {stats.retry_after:.1f} s"
        case CircuitState.HALF_OPEN:
            return (
                f"half_open {stats.half_open_successes}/{config.success_threshold} successes,"
                f" {stats.probes_in_flight}/{config.half_open_max_calls} in flight"
            )
    return stats.state.value


def _rules_in_words(stats: BreakerStats, config: CircuitBreakerConfig) -> Iterator[str]:
    """How near each rule is to opening the breaker."""
    if config.failure_threshold is not None:
        yield f"{stats.streak}/{config.failure_threshold} failures"
    if stats.calls_in_window is not None:
        yield f"{stats.calls_in_window} calls in the window"
    if stats.failure_rate is not None:
        yield f"{100 * stats.failure_rate:.3g}/{100 * (config.failure_rate_threshold or 1):.3g} % failed"
    if stats.slow_call_rate is not None:
        yield f"{100 * stats.slow_call_rate:.3g}/{100 * config.slow_call_rate_threshold:.3g} % slow"


class CircuitBreakerRegistry:
    """
    Breakers by name: the same name gives the same breaker. Thread-safe.

    Args:
        config: The settings of every breaker it makes.
        clock: Where they get the time from.
        random: Where they get chance from; None makes one source for all.
    """

    def __init__(
        self,
        config: CircuitBreakerConfig = _DEFAULTS,
        *,
        clock: Clock = SYSTEM_CLOCK,
        random: Random | None = None,
    ) -> None:
        self._config = config
        self._clock = clock
        self._random = random or new_random()
        self._lock = threading.Lock()
        self._breakers: dict[str, CircuitBreaker] = {}  # guarded by _lock for writing
        self._listeners: dict[object, StateListener] = {}  # guarded by _lock
        self._endings: dict[object, list[Callable[[], None]]] = {}  # guarded by _lock
        forking.register(self)

    def get(self, name: str, config: CircuitBreakerConfig | None = None) -> CircuitBreaker:
        """
        Return the breaker of this name, made when it is first asked for.

        Args:
            name: Its name.
            config: Its settings if it is made now, instead of the registry's; else ignored.

        Raises:
            ConfigError: *name* is empty or not printable.
        """
        breaker = self._breakers.get(name)
        if breaker is None:
            with self._lock:
                breaker = self._breakers.get(name) or self._make_locked(name, config or self._config)
        return breaker

    def stats(self) -> dict[str, BreakerStats]:
        """The figures of every breaker by name, each of one moment."""
        with self._lock:
            breakers = list(self._breakers.values())
        return {breaker.name: breaker.stats() for breaker in breakers}

    def on_state_change(self, listener: StateListener) -> Callable[[], None]:
        """As :meth:`CircuitBreaker.on_state_change`, for every breaker there is and will be."""
        token = object()
        with self._lock:
            self._listeners[token] = listener
            self._endings[token] = [breaker.on_state_change(listener) for breaker in self._breakers.values()]
        return lambda: self._forget(token)

    def _make_locked(self, name: str, config: CircuitBreakerConfig) -> CircuitBreaker:
        breaker = CircuitBreaker(name, config, clock=self._clock, random=self._random)
        for token, listener in self._listeners.items():
            self._endings[token].append(breaker.on_state_change(listener))
        self._breakers[name] = breaker
        return breaker

    def _forget(self, token: object) -> None:
        with self._lock:
            self._listeners.pop(token, None)
            endings = self._endings.pop(token, [])
        for end in endings:
            end()

    def _after_fork(self) -> None:
        self._lock = threading.Lock()

    def __repr__(self) -> str:
        return f"<CircuitBreakerRegistry {len(self._breakers)} breakers>"

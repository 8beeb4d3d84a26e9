"""
What a router is made of, and what its operator does with it.

The calls are in :mod:`failsafe.router`. Here it is put together out of its settings, looked at, probed, reset, drained,
told what it has spent, and closed.
"""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from failsafe.admission import Admission
from failsafe.attempts import Shared
from failsafe.breaker import CircuitBreakerRegistry
from failsafe.clock import SYSTEM_CLOCK, Clock, Random
from failsafe.config import ProviderConfig, RouterConfig
from failsafe.deadline import CancelToken
from failsafe.embedding import VectorLengths
from failsafe.endpoint import Endpoint
from failsafe.errors import ConfigError
from failsafe.events import CircuitState, Event, ProbeFinished, StateChanged
from failsafe.failover import Failover
from failsafe.gate import Gate
from failsafe.health import ProviderStatus
from failsafe.hedge import hedge_budget
from failsafe.policy_config import HedgeConfig
from failsafe.price_lookup import LookUp
from failsafe.pricing import Rates
from failsafe.race import Hedges
from failsafe.recording import Recording, recording
from failsafe.stream import LeftBehind, called_amid_our_own_code
from failsafe.telemetry.bus import EventBus, Listener
from failsafe.telemetry.reporter import Reporter
from failsafe.transport.base import Transport
from failsafe.workers import Workers

if TYPE_CHECKING:
    from failsafe.ledger import Ledger
    from failsafe.probing import Prober
    from failsafe.spending import Spending, SpendStatus
    from failsafe.telemetry.store import Store
    from failsafe.telemetry.views import CostRow

_HEDGE_THREADS = 32
"""Most hedges of one router under way at once; those due beyond that begin late, or not at all."""

_CLOSING = 1.0
"""Seconds to wait for hedges that are being called off, and for calls whose deadline has passed."""

_LOOK_AGAIN = 0.5
"""Seconds between two looks at what the garbage collector has left behind, while the last calls are waited for."""

_router_numbers = itertools.count(1)


class Operations:
    """
    The parts of one router, and all that it does besides calls. Thread-safe.

    Args:
        config: The settings.
        clock: The source of time.
        random: The source of chance.
        transport: Makes the connection to one provider; None: over the network.
        bus: Carries its events.

    Raises:
        ConfigError: A setting is wrong.
    """

    def __init__(
        self,
        config: RouterConfig,
        clock: Clock,
        random: Random,
        transport: Callable[[ProviderConfig], Transport] | None,
        bus: EventBus,
    ) -> None:
        self.config = config
        self._clock = clock
        self.breakers = CircuitBreakerRegistry(config.breaker, clock=clock, random=random)
        """One breaker a provider, by the provider's name."""
        self._reporter = Reporter(bus)
        self._spending = _spending(config, clock)
        self._shared = Shared(config, clock, random, self._reporter, self._spending)
        self._endpoints = self._make_endpoints(transport or _over_requests())
        self._hedges = _hedges(config.hedge)
        self._left_behind: deque[LeftBehind] = deque()  # single operations, atomic under the GIL
        self._vector_lengths = VectorLengths()
        self._gate = Gate()
        self._probers: dict[str, Prober] = {}  # single operations, atomic under the GIL
        self._no_probes = CancelToken()
        self._number = next(_router_numbers)
        # What is scripted or has a time of its own is a test, and would tell lies to whoever looks into the store.
        real = transport is None and clock is SYSTEM_CLOCK
        self._recording = self._record() if real or config.store.path else None
        self._bookkeepers = self._share_caps()
        self._ledgers: dict[str, Ledger] = {}  # one at most; single operations, atomic under the GIL
        self.breakers.on_state_change(self._reporter.emit)
        self.breakers.on_state_change(self._notice_recovery)

    def _make_endpoints(self, transport: Callable[[ProviderConfig], Transport]) -> tuple[Endpoint, ...]:
        look_up_price = _price_lookup() if self.config.price_lookup else None
        return tuple(
            Endpoint(
                provider,
                rank=rank,
                admission=Admission(provider, self.config, self.breakers, self._clock),
                transport=transport(provider),
                clock=self._clock,
                random=self._shared.random,
                hedge=self.config.hedge,
                stream=self.config.stream,
                attempt_limit=self.config.attempt_limit,
                look_up_price=look_up_price,
            )
            for rank, provider in enumerate(self.config.providers)
            if provider.enabled
        )

    def _record(self) -> Recording | None:
        """Begin to record, if the settings say so."""
        return recording(self.config, self._endpoints, self._number, self._reporter, self._clock)

    def _share_caps(self) -> Workers | None:
        """Count against the caps what all programs spend that share the store; who looks it up now and then."""
        if self._spending is None or self._recording is None:
            return None
        from failsafe.shared_spending import SharedTotals  # only where there are caps

        addresses = {endpoint.name: endpoint.config.base_url for endpoint in self._endpoints}
        workers = Workers("failsafe-spend", 1)
        self._spending.read_from(SharedTotals(self._recording.store, addresses), partial(workers.later, 0.0))
        return workers

    def _notice_recovery(self, event: StateChanged) -> None:
        if event.old is CircuitState.HALF_OPEN and event.new is CircuitState.CLOSED:
            provider = event.name.partition(":")[0]  # the breaker of one model is called provider:model
            for endpoint in self._endpoints:
                if endpoint.name == provider:
                    endpoint.availability.came_back()

    def on_event(self, listener: Listener, *, sync: bool = False, starts: bool = False) -> Callable[[], None]:
        """
        Call *listener* with every event of this router from now on.

        Args:
            listener: Called with one :mod:`failsafe.events` value. It runs on the router's own
                thread, off a bounded queue; what it raises is logged and reaches no call.
            sync: Run it in the thread of the call instead; its time then counts as the caller's.
            starts: Call it with :class:`failsafe.CallStarted`, too.

        Returns:
            A function that ends the subscription.
        """
        return self._reporter.bus.subscribe(listener, sync=sync, starts=starts)

    @property
    def closed(self) -> bool:
        """Whether :meth:`close` was called: every further call is refused."""
        return self._gate.closed

    @property
    def dropped_events(self) -> int:
        """Events that no listener saw, because the listeners could not keep up or the router was closed."""
        return self._reporter.bus.dropped

    @property
    def store(self) -> Store | None:
        """Where what happens is recorded; None: nothing is."""
        return None if self._recording is None else self._recording.store

    @property
    def ledger(self) -> Ledger:
        """
        What this router's calls cost, in memory; it counts from the moment in which it is first asked for.

        What all programs have spent, since they record, is in the store: see :meth:`costs`.
        """
        ledger = self._ledgers.get("")
        return self._begin_ledger() if ledger is None else ledger

    def _begin_ledger(self) -> Ledger:
        from failsafe.ledger import Ledger  # most routers have none

        made = Ledger(self._rates)
        ledger = self._ledgers.setdefault("", made)
        if ledger is made:
            self._reporter.bus.subscribe(ledger.take, sync=True)
        return ledger

    def _rates(self, provider: str, model: str, at: float, prompt_tokens: int) -> Rates | None:
        return next((each.rates(model, at, prompt_tokens) for each in self._endpoints if each.name == provider), None)

    def costs(self, window: float | None = None, by: Sequence[str] = ("provider",)) -> list[CostRow]:
        """
        What was spent, the most expensive first.

        Out of the store, with what every program that shares it has recorded; of a router that records nothing, out of
        its :attr:`ledger`.

        Args:
            window: Seconds up to now; whole days of UTC are counted, that in which it begins included. None: all.
            by: What the rows are grouped by: of ``day``, ``provider``, ``model`` and ``tag``. None of them: one row.

        Raises:
            ConfigError: There is no such group, or *window* is not above 0.
            StoreUnavailable: The store cannot be read.
        """
        from failsafe.ledger import days_of, grouped_by

        first, last = days_of(window, self._clock.time())
        grouped_by(by)
        if self._recording is None:
            return self.ledger.rows(by, first_day=first, last_day=last)
        store = self._recording.store
        store.flush()
        with store.reader() as reader:
            return reader.costs(first, last, by)

    def spend(self) -> tuple[SpendStatus, ...]:
        """How much of each cap (``spend`` in the settings) is used up, all providers together first; () without any."""
        return () if self._spending is None else self._spending.status()

    @property
    def providers(self) -> tuple[str, ...]:
        """The names of the enabled providers, in the order of the settings."""
        return tuple(endpoint.name for endpoint in self._endpoints)

    def status(self) -> dict[str, ProviderStatus]:
        """How each provider is doing, by name."""
        self._settle_left_behind()
        return {endpoint.name: endpoint.status() for endpoint in self._endpoints}

    def stats(self) -> dict[str, dict[str, Any]]:
        """Counts, latency, breaker and cooldowns of each provider, by name (``docs/router.md`` lists the keys)."""
        self._settle_left_behind()
        return {endpoint.name: endpoint.stats() for endpoint in self._endpoints}

    def probe(
        self,
        provider: str,
        kind: str | None = None,
        timeout: float | None = None,
        *,
        cancel: CancelToken | None = None,
    ) -> ProbeFinished:
        """
        Find out whether *provider* works, now and without a call; listeners and the store hear of it, too.

        Args:
            provider: Its name.
            kind: ``models`` (the free list of models), ``completion`` (one token of an answer) or ``connect``; None:
                as configured, see :class:`failsafe.ProbeConfig`.
            timeout: Seconds, whatever the network does; None: as configured.
            cancel: Ends it from another thread.

        Raises:
            ConfigError: There is no such provider, or it cannot be probed like this.
            BulkheadFull: As many calls are under way to it as it may have, so that no completion was asked.
            RateLimitReached: A rate limit, or the provider itself, allows no completion now.
            RouterClosed: The router is closed.
        """
        probed = self._probe(provider, kind, timeout, cancel)
        self._report(probed)
        return probed

    def _probe(
        self, provider: str, kind: str | None, timeout: float | None, cancel: CancelToken | None
    ) -> ProbeFinished:
        """As :meth:`probe`, and tell nobody."""
        prober = self._prober(provider)
        visit = object()
        with (cancel or self._no_probes).child() as token:
            forget = self._no_probes.on_cancel(token.cancel)
            try:
                self._gate.enter(visit)
                return prober.probe(kind, timeout, token)
            finally:
                self._gate.leave(visit)
                forget()

    def _prober(self, provider: str) -> Prober:
        """What probes *provider*; raises ``ConfigError`` if there is none of that name."""
        prober = self._probers.get(provider)
        if prober is None:
            from failsafe.probing import Prober  # most routers never probe

            (endpoint,) = self._named(provider)
            prober = self._probers.setdefault(provider, Prober(endpoint, self.config, self._clock))
        return prober

    def _report(self, event: Event) -> None:
        """Tell the log, the store and the listeners."""
        if isinstance(event, ProbeFinished) and event.fault is None:
            tell = self._reporter.for_successes()
        else:
            tell = self._reporter.emit
        if tell is not None:
            tell(event)

    def reset(self, provider: str | None = None) -> None:
        """
        Forget what was learnt against *provider* (or all).

        That is its breaker's state, every cooldown, rejected keys, parameters it refused, and what is
        missing from its retry budget; for all of them also the length of each model's vectors.

        Raises:
            ConfigError: There is no such provider.
        """
        for endpoint in self._named(provider):
            endpoint.reset()
        if provider is None:
            self._vector_lengths.clear()

    def drain(self, provider: str) -> None:
        """
        Send *provider* no new calls until :meth:`resume`; those under way go on.

        Raises:
            ConfigError: There is no such provider.
        """
        for endpoint in self._named(provider):
            endpoint.availability.drain()

    def resume(self, provider: str) -> None:
        """
        End :meth:`drain`: *provider* takes calls again, its share growing over ``selection.slow_start`` seconds.

        Raises:
            ConfigError: There is no such provider.
        """
        for endpoint in self._named(provider):
            endpoint.availability.resume()

    def _named(self, provider: str | None) -> list[Endpoint]:
        chosen = [endpoint for endpoint in self._endpoints if provider in (None, endpoint.name)]
        if not chosen:
            raise ConfigError(f"provider = {provider!r}: one of {', '.join(self.providers)} is needed")
        return chosen

    def _settle_left_behind(self) -> None:
        """Return what is still held for streams that were collected, or interrupted, where that could not be done."""
        while self._left_behind:
            held: LeftBehind | None = None
            with suppress(IndexError):  # another thread was quicker
                held = self._left_behind.popleft()
            if held is not None:
                self._settle(held)

    def _settle(self, held: LeftBehind) -> None:
        try:
            held.settle()
        except BaseException:  # interrupted
            self._left_behind.append(held)
            raise

    def close(self, timeout: float | None = None) -> bool:
        """
        Refuse new calls, wait for those under way, then close every connection. Idempotent.

        A call of the same thread (closing from a signal handler, or from a ``sync`` listener) is not
        waited for, nor is a stream that this thread has opened, or one that was dropped.

        Args:
            timeout: Seconds to wait; None waits for the last call, which its own deadline bounds; a stream that nobody
                reads is waited for until its deadline.

        Returns:
            True when all calls had ended.
        """
        # What is closed by a signal handler may be in the middle of a step that holds a lock.
        forget = self._let_left_behind_go if called_amid_our_own_code() else self._settle_left_behind
        forget()
        self._no_probes.cancel()
        with ExitStack() as stack:  # one connection that fails to close keeps no other open
            if self._recording is not None:
                stack.callback(self._recording.close)
            stack.callback(self._reporter.bus.close)
            if self._hedges is not None:
                stack.callback(self._hedges.workers.close, _CLOSING)
            if self._bookkeepers is not None:
                stack.callback(self._bookkeepers.close, _CLOSING)
            for endpoint in self._endpoints:
                stack.callback(endpoint.transport.close)
            return self._wait_for_all(self._until_the_last_deadline() if timeout is None else timeout, forget)

    def _wait_for_all(self, left: float, forget: Callable[[], None]) -> bool:
        """Let nobody in any more, and wait for the others; what is left behind meanwhile is not waited for."""
        while not self._gate.close(min(left, _LOOK_AGAIN)):
            forget()
            if left <= _LOOK_AGAIN:
                return self._gate.close(0)
            left -= _LOOK_AGAIN
        return True

    def _let_left_behind_go(self) -> None:
        """Count those calls out, which takes no lock that this thread may hold; all else is left as it is."""
        for held in list(self._left_behind):
            self._gate.leave(held.passage.call)

    def _until_the_last_deadline(self) -> float:
        """Seconds until every call under way must have ended; infinite if one has no deadline."""
        return max((call.time_left for call in self._gate.calls if isinstance(call, Failover)), default=0.0) + _CLOSING

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


def _over_requests() -> Callable[[ProviderConfig], Transport]:
    from failsafe.transport.requests_transport import RequestsTransport  # what imports requests waits for a router

    return RequestsTransport.for_provider


def _price_lookup() -> LookUp:
    from failsafe.price_lookup import genai_prices  # only those who ask for it

    return genai_prices()


def _spending(config: RouterConfig, clock: Clock) -> Spending | None:
    if config.spend is None and not any(provider.spend for provider in config.providers):
        return None
    from failsafe.spending import Spending  # only where there are caps

    return Spending.of(config, clock)


def _hedges(config: HedgeConfig | None) -> Hedges | None:
    return None if config is None else Hedges(config, hedge_budget(config), Workers("failsafe-hedge", _HEDGE_THREADS))

"""
Ask a second time, or somebody else, while the first attempt is slow.

::

    hedge = Hedge(HedgeConfig(delay=0.2))
    hedge.call(look_up, key)                       # the same function again, when it takes longer than 0.2 s
    hedge.race(ask_primary, ask_replica)           # different back ends; each is given a CancelToken

The attempts run in threads, because a Python function cannot be stopped: the caller goes on with the
first result, and whoever lost is told by its token and left to end. The guide is ``docs/hedging.md``.
"""

from __future__ import annotations

import contextvars
import functools
import logging
import threading
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any, Generic, NoReturn, ParamSpec, Self, TypeVar

import msgspec

from failsafe import checks, forking
from failsafe.clock import SYSTEM_CLOCK, Clock
from failsafe.deadline import CancelToken
from failsafe.hedge import hedge_budget
from failsafe.hedge_delay import HedgeDelay
from failsafe.outcome import refuse_lazy
from failsafe.policy_config import HedgeConfig
from failsafe.workers import Workers

P = ParamSpec("P")
R = TypeVar("R")

_DEFAULTS = HedgeConfig()
_FOR_EVER = 86_400.0  # looked at again after this; nobody waits a day for one call

_logger = logging.getLogger("failsafe.hedge")


class HedgeStats(msgspec.Struct, frozen=True, kw_only=True):
    """
    A hedge policy at one moment.

    Attributes:
        calls: Calls made.
        hedges: Further attempts that were started.
        wins: Calls that a further attempt answered.
        refused: Hedges that the budget, or too many threads, did not allow.
        running: Attempts under way, those of calls that are over included.
        delay: Seconds after which an attempt counts as slow now; None while too few are known.
    """

    calls: int
    hedges: int
    wins: int
    refused: int
    running: int
    delay: float | None


class _Shared:
    """What the calls of one hedge policy have in common: threads, budget, experience and counts. Thread-safe."""

    def __init__(
        self, config: HedgeConfig, clock: Clock, max_threads: int, discard: Callable[[Any], object] | None
    ) -> None:
        self.config = config
        self.clock = clock
        self.max_threads = checks.whole("max_threads", max_threads, least=1, most=10_000)
        self.discard = discard
        self.delay = HedgeDelay(config)
        self.budget = hedge_budget(config)
        self.workers = Workers("failsafe-hedge", max_threads)
        self._closed = False
        self._start_afresh()
        forking.register(self)

    def _start_afresh(self) -> None:
        self._lock = threading.Lock()
        self._ended_all = threading.Condition(self._lock)
        self._running = 0  # guarded by _lock, as are the counts
        self._calls = self._hedges = self._wins = self._refused = 0

    _after_fork = _start_afresh

    def called(self) -> None:
        """Count a call."""
        with self._lock:
            self._calls += 1

    def claim_thread(self) -> bool:
        with self._lock:
            if self._closed or self._running >= self.max_threads:
                self._refused += 1
                return False
            self._running += 1
            return True

    def count(self, *, hedges: int = 0, wins: int = 0, refused: int = 0) -> None:
        with self._lock:
            self._hedges += hedges
            self._wins += wins
            self._refused += refused

    def ended(self, seconds: float, *, answered: bool) -> None:
        """An attempt has ended and its thread is free."""
        self.delay.observe(seconds, answered=answered)
        with self._lock:
            self._running -= 1
            self._ended_all.notify_all()

    def drop(self, result: object) -> None:
        if self.discard is None:
            return
        try:
            self.discard(result)
        except Exception:
            _logger.exception("discard failed")

    def stats(self) -> HedgeStats:
        """All figures of one moment."""
        delay = self.delay.seconds
        with self._lock:
            return HedgeStats(
                calls=self._calls,
                hedges=self._hedges,
                wins=self._wins,
                refused=self._refused,
                running=self._running,
                delay=delay,
            )

    def close(self, timeout: float | None = None) -> bool:
        """
        Wait for the attempts under way; later calls run in their own thread, unhedged.

        Args:
            timeout: Seconds to wait; None waits for the last.

        Returns:
            Whether all have ended.
        """
        with self._lock:
            self._closed = True
            # The pool drops what has not begun, so it is closed only when nobody counts on it.
            if not self._ended_all.wait_for(lambda: self._running == 0, timeout):
                return False
        return self.workers.close(timeout)


class Hedge:
    """
    Starts further attempts of a call that is slow; the first success wins. Thread-safe.

    Calls of one ``Hedge`` share its threads, its budget and what is known of how long attempts take. Where
    all threads are taken, a call runs in its own thread and is not hedged.

    Args:
        config: When an attempt is slow, and how many others may follow.
        clock: The source of time; the waiting is real.
        max_threads: Most attempts under way at once, late losers included (1 to 10,000).
        discard: Called with each result that came too late, in a worker; closes what must be closed.

    Raises:
        ConfigError: A number is out of range.
    """

    def __init__(
        self,
        config: HedgeConfig = _DEFAULTS,
        *,
        clock: Clock = SYSTEM_CLOCK,
        max_threads: int = 32,
        discard: Callable[[Any], object] | None = None,
    ) -> None:
        self.config = config
        self._shared = _Shared(config, clock, max_threads, discard)

    def call(self, fn: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R:
        """
        Return ``fn(*args, **kwargs)``, called again while it is slow.

        *fn* must be safe to run twice at once. Its failure is raised at once unless another attempt is
        under way, which may still succeed: to try again what failed is the business of a retry.

        Raises:
            Exception: Whatever the last attempt raised.
        """
        again = functools.partial(fn, *args, **kwargs)
        attempts = [lambda _token: again()] * (1 + self.config.max_hedges)
        return self._run(attempts, goes_on_after_failure=False)

    def race(self, *functions: Callable[[CancelToken], R]) -> R:
        """
        Return the first success of *functions*, asked in this order.

        The next one begins when the one before is slow, or at once when it fails. Each is given a token that is
        cancelled when another one has won, and should then end.

        Args:
            functions: At least one; of those after the first at most ``max_hedges`` begin before one has failed.

        Raises:
            ConfigError: No function is given.
            Exception: What the last of them raised, all having failed.
        """
        if not functions:
            checks.refuse("functions", functions, "at least one function is needed")
        return self._run(functions, goes_on_after_failure=True)

    def __call__(self, fn: Callable[P, R]) -> Callable[P, R]:
        """
        Decorate *fn*, so that every call of it goes through :meth:`call`.

        Raises:
            TypeError: *fn* is a coroutine or generator function, whose work comes after it has returned.
        """
        refuse_lazy(fn, "hedge")

        @functools.wraps(fn)
        def hedged(*args: P.args, **kwargs: P.kwargs) -> R:
            return self.call(fn, *args, **kwargs)

        return hedged

    def _run(self, functions: Sequence[Callable[[CancelToken], R]], *, goes_on_after_failure: bool) -> R:
        self._shared.called()
        if not self._shared.claim_thread():
            return self._alone(functions, goes_on_after_failure=goes_on_after_failure)
        contest = _Contest(self._shared, functions, goes_on_after_failure=goes_on_after_failure)
        try:
            return contest.run()
        finally:
            contest.call_off()

    def _alone(self, functions: Sequence[Callable[[CancelToken], R]], *, goes_on_after_failure: bool) -> R:
        """In the caller's thread, one after the other."""
        for function in functions[:-1] if goes_on_after_failure else ():
            try:
                return function(CancelToken())
            except Exception:
                _logger.debug("a function of a race failed; the next one is asked", exc_info=True)
        return functions[-1](CancelToken())

    def stats(self) -> HedgeStats:
        """All figures of one moment."""
        return self._shared.stats()

    def close(self, timeout: float | None = None) -> bool:
        """
        Wait for the attempts under way; later calls run in their own thread, unhedged.

        Args:
            timeout: Seconds to wait; None waits for the last.

        Returns:
            Whether all have ended.
        """
        return self._shared.close(timeout)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        stats = self.stats()
        return f"<Hedge {stats.calls} calls, {stats.hedges} hedges, {stats.wins} won>"


class _Contest(Generic[R]):
    """
    One call and its attempts. The caller waits; each attempt runs in a worker.

    Args:
        shared: Settings, threads and budget.
        functions: The attempts that may be made, in order.
        goes_on_after_failure: Whether a failure begins the next one at once.
    """

    def __init__(
        self, shared: _Shared, functions: Sequence[Callable[[CancelToken], R]], *, goes_on_after_failure: bool
    ) -> None:
        self._shared = shared
        self._functions = functions
        self._goes_on = goes_on_after_failure
        self._hedges_left = shared.config.max_hedges
        self._begun = 0
        self._news = threading.Event()  # an attempt has ended
        self._lock = threading.Lock()
        self._over = False  # guarded by _lock, as is all below
        self._winner: tuple[int, R] | None = None
        self._errors: list[BaseException] = []
        self._tokens: dict[int, CancelToken] = {}  # of the attempts under way

    def run(self) -> R:
        """Begin the first attempt, whose thread is claimed, and wait for a success."""
        self._begin()
        failures = 0
        while True:
            told = self._shared.clock.wait(self._news, self._patience())
            self._news.clear()
            with self._lock:
                winner, running, failed = self._winner, len(self._tokens), len(self._errors)
            if winner is not None:
                return self._answer(*winner)
            began = False
            if failed > failures:
                failures = failed
                began = self._goes_on and self._begin_if_there_is_room()
            elif not told:
                began = self._begin_hedge()
            if not running and not began:
                self._give_up()

    def _patience(self) -> float:
        """Seconds to wait for an attempt to end before another one is begun."""
        if self._hedges_left <= 0 or self._begun >= len(self._functions):
            return _FOR_EVER
        delay = self._shared.delay.seconds
        return _FOR_EVER if delay is None else delay

    def _answer(self, number: int, result: R) -> R:
        self._shared.budget.credit()
        if number:
            self._shared.count(wins=1)
        return result

    def _give_up(self) -> NoReturn:
        error = self._errors[-1]
        others = len(self._errors) - 1
        if others:
            error.add_note(f"failsafe: {others} other attempt{'s' if others > 1 else ''} failed before")
        self._errors.clear()
        try:
            raise error
        finally:
            del error  # its traceback leads to this frame: a cycle that only the collector would end

    def _begin_hedge(self) -> bool:
        if self._hedges_left <= 0 or self._begun >= len(self._functions):
            return False
        self._hedges_left -= 1
        if not self._shared.budget.try_spend():
            self._hedges_left = 0
            self._shared.count(refused=1)
            return False
        if not self._begin_if_there_is_room():
            self._shared.budget.give_back()
            return False
        self._shared.count(hedges=1)
        return True

    def _begin_if_there_is_room(self) -> bool:
        if self._begun >= len(self._functions) or not self._shared.claim_thread():
            return False
        self._begin()
        return True

    def _begin(self) -> None:
        """Begin the next attempt, in the thread that was claimed for it."""
        number, token = self._begun, CancelToken()
        self._begun += 1
        with self._lock:
            self._tokens[number] = token
        context = contextvars.copy_context()
        self._shared.workers.later(0.0, functools.partial(self._attempt, context, number, token))

    def _attempt(self, context: contextvars.Context, number: int, token: CancelToken) -> None:
        """In a worker: make one attempt."""
        clock = self._shared.clock
        began = clock.monotonic()
        try:
            result = context.run(self._functions[number], token)
        except BaseException as error:  # noqa: BLE001 -- the caller is who must hear of it
            self._shared.ended(clock.monotonic() - began, answered=False)
            self._failed(number, error)
        else:
            self._shared.ended(clock.monotonic() - began, answered=True)
            if not self._succeeded(number, result):
                self._shared.drop(result)

    def _succeeded(self, number: int, result: R) -> bool:
        """Whether this is the first success, and not too late."""
        with self._lock:
            self._tokens.pop(number, None)
            first = not self._over and self._winner is None
            if first:
                self._winner = number, result
        self._news.set()
        return first

    def _failed(self, number: int, error: BaseException) -> None:
        with self._lock:
            self._tokens.pop(number, None)
            heard = not self._over and self._winner is None
            if heard:
                self._errors.append(error)
        self._news.set()
        if not heard:
            _logger.debug("an attempt failed that nobody waited for: %s", type(error).__name__)

    def call_off(self) -> None:
        """The call is over: tell whoever is still at it."""
        with self._lock:
            self._over = True
            tokens = list(self._tokens.values())
        for token in tokens:
            token.cancel()

"""
Ask a second time, or somebody else, while the first attempt is slow.

::

    hedge = Hedge(HedgeConfig(delay=0.2))
    hedge.call(look_up, key)                       # the same function again, when it takes longer than 0.2 s
    hedge.race(ask_primary, ask_replica)           # different back ends; each is given a CancelToken

A Python function cannot be stopped from outside. So where a hedge may follow, every attempt runs in a worker
thread and the caller waits for the first result: it goes on with that, and whoever lost is told by its token
and left to end. Where none may follow, the function runs in the caller's thread. The guide is ``docs/hedging.md``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any, ParamSpec, Self, TypeVar

from failsafe import checks
from failsafe.clock import SYSTEM_CLOCK, Clock
from failsafe.deadline import CancelToken
from failsafe.outcome import guarded
from failsafe.policy_config import HedgeConfig
from failsafe.racing import HedgeStats, MayFollow, Race, Shared, may_fail_over, may_repeat
from failsafe.workers import Workers

__all__ = ["Hedge", "HedgeStats"]

P = ParamSpec("P")
R = TypeVar("R")

_DEFAULTS = HedgeConfig()


class Hedge:
    """
    Starts further attempts of a call that is slow; the first success wins. Thread-safe.

    Calls of one ``Hedge`` share its threads, its budget and what is known of how long attempts take, so make
    one for each kind of call. Where all threads are taken, or after :meth:`close`, a call runs in its own
    thread and is not hedged. Close it, or use ``with``; its threads are daemons, and end after a few idle seconds
    or with the object.

    Args:
        config: When an attempt is slow, and how many others may follow.
        clock: The source of time and of waiting.
        max_threads: Most attempts under way in threads at once, late losers included (1 to 10,000).
        workers: The threads to use instead of own ones, with their own limit; whoever made them closes them,
            after this.
        discard: Called with each result that came too late, in the thread that brought it; closes what must be
            closed. Without it such a result is dropped as it is. An exception is logged.

    Raises:
        ConfigError: A value is out of range.
    """

    __slots__ = ("__weakref__", "_owns_workers", "_shared", "config")

    def __init__(
        self,
        config: HedgeConfig = _DEFAULTS,
        *,
        clock: Clock = SYSTEM_CLOCK,
        max_threads: int = 32,
        workers: Workers | None = None,
        discard: Callable[[Any], object] | None = None,
    ) -> None:
        checks.instance("config", config, HedgeConfig)
        checks.whole("max_threads", max_threads, least=1, most=10_000)
        self.config = config
        self._owns_workers = workers is None
        self._shared = Shared(config, clock, workers or Workers("failsafe-hedge", max_threads), discard)

    def call(self, fn: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R:
        """
        Return ``fn(*args, **kwargs)``, called again while it is slow, or at once when it fails.

        *fn* must be safe to run twice, and twice at the same time. There are at most ``1 + max_hedges`` attempts.
        After a failure that may pass (:func:`failsafe.outcome.may_retry`) the next one costs a token of the budget,
        as after a slow one. A guard's refusal, such as :class:`failsafe.CircuitOpenError`, is not tried again. Each
        attempt in a thread has a copy of the caller's context variables, the deadline in force included.

        Raises:
            DeadlineExceeded: The deadline in force passed while the attempts ran in threads.
            Exception: Whatever the last attempt raised, once none is under way and none may follow.
        """

        def attempt(_token: CancelToken) -> R:
            return fn(*args, **kwargs)

        return self._run([attempt] * (1 + self.config.max_hedges), may_repeat)

    def race(self, *functions: Callable[[CancelToken], R]) -> R:
        """
        Return the first success of *functions*, which are started in this order.

        The next one is started when the last one is slow, at most ``max_hedges`` beside the first; or at once,
        and at no cost of budget, when one fails or is refused: that is failover, to somebody else. Each is given a
        token that is cancelled when another one has won, and should then end.

        Raises:
            TypeError: No function is given.
            DeadlineExceeded: The deadline in force passed while the attempts ran in threads.
            Exception: What the last one to fail raised, once none is under way and none may follow.
        """
        if not functions:
            raise TypeError("race() needs at least one function of one argument, a CancelToken")
        return self._run(functions, may_fail_over)

    def __call__(self, fn: Callable[P, R]) -> Callable[P, R]:
        """
        Decorate *fn*, so that every call of it goes through :meth:`call`.

        Raises:
            TypeError: *fn* is a coroutine or generator function, whose work comes after it has returned.
        """
        return guarded(self.call, fn, "hedge")

    def _run(self, functions: Sequence[Callable[[CancelToken], R]], may_follow: MayFollow) -> R:
        self._shared.called()
        race = Race(self._shared, functions, may_follow)
        try:
            return race.run()
        finally:
            race.call_off()

    def stats(self) -> HedgeStats:
        """All figures of one moment."""
        return self._shared.stats()

    def close(self, timeout: float | None = None) -> bool:
        """
        Wait for the attempts under way; later calls run in their own thread, unhedged. Idempotent.

        A function that is being hedged may call it: it then waits for all others but those that do the same.

        Args:
            timeout: Seconds to wait at most; None waits for the last.

        Returns:
            Whether all have ended.
        """
        return self._shared.close(timeout, workers_too=self._owns_workers)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        stats = self.stats()
        return f"<Hedge {stats.calls} calls, {stats.hedges} hedges, {stats.wins} won>"
